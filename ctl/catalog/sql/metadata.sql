-- GitLab's own metadata database, read only. Everything comes sorted as bytes are compared, so that it can be
-- merged with what the storage says. Tables and columns: registry 4.32, PostgreSQL >= 15.

-- name: metadata_tables
SELECT name
FROM unnest(
    ARRAY['repositories', 'tags', 'manifests', 'layers', 'manifest_references', 'repository_blobs', 'blobs',
          'media_types', 'gc_blobs_layers', 'gc_blobs_configurations']
) AS name
WHERE to_regclass('public.' || name) IS NULL

-- name: metadata_counts
SELECT
    (SELECT count(*) FROM repositories AS r
     WHERE EXISTS (
         SELECT FROM manifests AS m
         WHERE m.top_level_namespace_id = r.top_level_namespace_id AND m.repository_id = r.id
     )),
    (SELECT count(*) FROM tags),
    (SELECT count(*) FROM manifests),
    (SELECT count(*) FROM repository_blobs),
    (SELECT count(*) FROM blobs),
    (SELECT coalesce(sum(size), 0)::bigint FROM blobs)

-- name: metadata_repositories
SELECT r.id, r.path, r.created_at, r.updated_at, r.last_published_at
FROM repositories AS r
ORDER BY r.path COLLATE "C"

-- name: metadata_tags
SELECT r.path, t.name, m.digest, t.created_at, t.updated_at
FROM tags AS t
JOIN repositories AS r ON r.top_level_namespace_id = t.top_level_namespace_id AND r.id = t.repository_id
JOIN manifests AS m
    ON m.top_level_namespace_id = t.top_level_namespace_id
    AND m.repository_id = t.repository_id
    AND m.id = t.manifest_id
ORDER BY r.path COLLATE "C", t.name COLLATE "C"

-- name: metadata_manifests
SELECT r.path, m.digest, m.created_at, mt.media_type, m.configuration_blob_digest, s.digest, m.payload
FROM manifests AS m
JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
JOIN media_types AS mt ON mt.id = m.media_type_id
LEFT JOIN manifests AS s
    ON m.subject_id IS NOT NULL
    AND s.top_level_namespace_id = m.top_level_namespace_id
    AND s.repository_id = m.repository_id
    AND s.id = m.subject_id
ORDER BY r.path COLLATE "C", m.digest

-- name: metadata_manifest_links
SELECT r.path, m.digest, m.created_at, length(m.payload)
FROM manifests AS m
JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
ORDER BY r.path COLLATE "C", m.digest

-- name: metadata_payload_sizes
SELECT m.digest, min(length(m.payload)) FROM manifests AS m GROUP BY m.digest ORDER BY m.digest

-- name: metadata_payloads_of
SELECT DISTINCT ON (m.digest) m.digest, m.payload
FROM manifests AS m
WHERE m.digest = ANY(%s)
ORDER BY
    m.digest,
    m.digest = CASE get_byte(m.digest, 0)
        WHEN 1 THEN '\x01'::bytea || sha256(m.payload)
        WHEN 2 THEN '\x02'::bytea || sha512(m.payload)
    END DESC,
    m.id

-- name: metadata_used_sizes
SELECT q.digest, b.size
FROM (
    SELECT digest FROM layers
    UNION
    SELECT configuration_blob_digest FROM manifests WHERE configuration_blob_digest IS NOT NULL
) AS q
JOIN blobs AS b ON b.digest = q.digest
ORDER BY q.digest

-- name: metadata_blob_links
SELECT r.path, l.blob_digest, l.created_at
FROM repository_blobs AS l
JOIN repositories AS r ON r.top_level_namespace_id = l.top_level_namespace_id AND r.id = l.repository_id
ORDER BY r.path COLLATE "C", l.blob_digest

-- name: metadata_references
SELECT q.path, q.parent, q.role, q.digest, q.size, q.media_type
FROM (
    SELECT r.path, m.digest AS parent, 'layer' AS role, l.digest, l.size, mt.media_type
    FROM layers AS l
    JOIN manifests AS m
        ON m.top_level_namespace_id = l.top_level_namespace_id
        AND m.repository_id = l.repository_id
        AND m.id = l.manifest_id
    JOIN media_types AS mt ON mt.id = l.media_type_id
    JOIN repositories AS r ON r.top_level_namespace_id = l.top_level_namespace_id AND r.id = l.repository_id
    UNION ALL
    SELECT r.path, p.digest, 'manifest', c.digest, length(c.payload), mt.media_type
    FROM manifest_references AS e
    JOIN manifests AS p
        ON p.top_level_namespace_id = e.top_level_namespace_id
        AND p.repository_id = e.repository_id
        AND p.id = e.parent_id
    JOIN manifests AS c
        ON c.top_level_namespace_id = e.top_level_namespace_id
        AND c.repository_id = e.repository_id
        AND c.id = e.child_id
    JOIN media_types AS mt ON mt.id = c.media_type_id
    JOIN repositories AS r ON r.top_level_namespace_id = e.top_level_namespace_id AND r.id = e.repository_id
    UNION ALL
    SELECT r.path, m.digest, 'config', m.configuration_blob_digest, b.size, mt.media_type
    FROM manifests AS m
    JOIN blobs AS b ON b.digest = m.configuration_blob_digest
    LEFT JOIN media_types AS mt ON mt.id = m.configuration_media_type_id
    JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
) AS q
ORDER BY q.path COLLATE "C", q.parent, q.role, q.digest

-- name: metadata_blobs
SELECT b.digest, b.size, b.created_at
FROM blobs AS b
ORDER BY b.digest

-- name: metadata_needed_blobs
SELECT q.digest, max(q.users)
FROM (
    SELECT digest, count(*) AS users FROM gc_blobs_layers GROUP BY digest
    UNION ALL
    SELECT digest, count(*) FROM gc_blobs_configurations GROUP BY digest
) AS q
GROUP BY q.digest
ORDER BY q.digest

-- name: metadata_users_of_blob
SELECT r.path, m.digest
FROM (
    SELECT top_level_namespace_id, repository_id, manifest_id FROM layers WHERE digest = %s
    UNION
    SELECT top_level_namespace_id, repository_id, id FROM manifests WHERE configuration_blob_digest = %s
) AS q
JOIN manifests AS m
    ON m.top_level_namespace_id = q.top_level_namespace_id
    AND m.repository_id = q.repository_id
    AND m.id = q.manifest_id
JOIN repositories AS r ON r.top_level_namespace_id = q.top_level_namespace_id AND r.id = q.repository_id
ORDER BY r.path COLLATE "C", m.digest

-- name: metadata_tags_reaching
WITH RECURSIVE reached AS (
    SELECT m.top_level_namespace_id, m.repository_id, m.id
    FROM manifests AS m
    JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
    WHERE r.path = %s AND m.digest = %s
    UNION
    SELECT e.top_level_namespace_id, e.repository_id, e.parent_id
    FROM manifest_references AS e
    JOIN reached AS c
        ON e.top_level_namespace_id = c.top_level_namespace_id
        AND e.repository_id = c.repository_id
        AND e.child_id = c.id
)
SELECT t.name
FROM tags AS t
JOIN reached AS m
    ON t.top_level_namespace_id = m.top_level_namespace_id
    AND t.repository_id = m.repository_id
    AND t.manifest_id = m.id
ORDER BY t.name COLLATE "C"

-- name: metadata_used_blobs
SELECT r.path, q.digest
FROM (
    SELECT top_level_namespace_id, repository_id, digest FROM layers
    UNION
    SELECT top_level_namespace_id, repository_id, configuration_blob_digest FROM manifests
    WHERE configuration_blob_digest IS NOT NULL
) AS q
JOIN repositories AS r ON r.top_level_namespace_id = q.top_level_namespace_id AND r.id = q.repository_id
ORDER BY r.path COLLATE "C", q.digest

-- name: metadata_indexes
SELECT r.path, m.digest, m.payload
FROM manifests AS m
JOIN media_types AS mt ON mt.id = m.media_type_id
JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
WHERE mt.media_type LIKE '%index%' OR mt.media_type LIKE '%manifest.list%'
ORDER BY r.path COLLATE "C", m.digest

-- name: metadata_altered
SELECT r.path, m.digest, q.hashed
FROM manifests AS m
CROSS JOIN LATERAL (
    SELECT CASE get_byte(m.digest, 0)
        WHEN 1 THEN '\x01'::bytea || sha256(m.payload)
        WHEN 2 THEN '\x02'::bytea || sha512(m.payload)
    END AS hashed
) AS q
JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
WHERE q.hashed <> m.digest
ORDER BY r.path COLLATE "C", m.digest

-- name: metadata_digests
SELECT DISTINCT m.digest FROM manifests AS m ORDER BY m.digest

-- name: metadata_holders
SELECT r.path
FROM manifests AS m
JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
WHERE m.digest = %s
ORDER BY r.path COLLATE "C"

-- name: metadata_imports
SELECT tag_import, tag_import_started_at, tag_import_finished_at, tag_import_error,
    blob_import, blob_import_started_at, blob_import_finished_at, blob_import_error, tags_count
FROM import_statistics
WHERE finished_at IS NOT NULL
ORDER BY id DESC

-- name: metadata_listed
SELECT r.path
FROM repositories AS r
WHERE EXISTS (
    SELECT FROM manifests AS m
    WHERE m.top_level_namespace_id = r.top_level_namespace_id AND m.repository_id = r.id
)
ORDER BY r.path COLLATE "C"

-- name: metadata_incomplete
-- A manifest whose text names another number of digests than it has rows; whoever asks looks closer.
SELECT q.path, q.digest, q.payload, q.layers
FROM (
    SELECT
        r.path, m.digest, m.payload, m.configuration_blob_digest,
        ARRAY(
            SELECT l.digest FROM layers AS l
            WHERE l.top_level_namespace_id = m.top_level_namespace_id
                AND l.repository_id = m.repository_id
                AND l.manifest_id = m.id
        ) AS layers
    FROM manifests AS m
    JOIN media_types AS mt ON mt.id = m.media_type_id
    JOIN repositories AS r ON r.top_level_namespace_id = m.top_level_namespace_id AND r.id = m.repository_id
    WHERE mt.media_type NOT LIKE '%index%' AND mt.media_type NOT LIKE '%manifest.list%'
) AS q
WHERE array_length(string_to_array(encode(q.payload, 'escape'), '"digest"'), 1) - 1
    <> cardinality(q.layers) + (q.configuration_blob_digest IS NOT NULL)::int
ORDER BY q.path COLLATE "C", q.digest
