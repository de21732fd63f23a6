-- What a plan of garbage asks of the catalog. "changed" are the repositories whose links the tree tells
-- anew; one with an entry that could not be read is always among them.

-- name: garbage_opaque
-- Repositories with an entry that could not be read, and those with a tag on what they do not hold.
SELECT r.id
FROM regctl.repositories r
JOIN regctl.findings f
  ON f.registry_id = r.registry_id
 AND f.scope IN ('revisions ' || r.name, 'tags ' || r.name, 'layers ' || r.name)
WHERE r.registry_id = %s AND f.kind = ANY (%s::text[])
UNION
SELECT t.repository_id
FROM regctl.tags t
LEFT JOIN regctl.manifest_links l
  ON l.registry_id = t.registry_id AND l.repository_id = t.repository_id AND l.digest = t.digest
WHERE t.registry_id = %s AND l.digest IS NULL

-- name: garbage_users
SELECT l.repository_id
FROM regctl.manifest_references r
JOIN regctl.manifest_links l ON l.registry_id = r.registry_id AND l.digest = r.manifest
WHERE r.registry_id = %s AND r.digest = ANY (%b::bytea[])
UNION
SELECT repository_id FROM regctl.manifest_links WHERE registry_id = %s AND digest = ANY (%b::bytea[])
UNION
SELECT repository_id FROM regctl.tags WHERE registry_id = %s AND digest = ANY (%b::bytea[])

-- name: garbage_unparsed
-- Manifests of which it is not known for sure what they need: never parsed, or doubtful when they were.
SELECT digest FROM regctl.manifests WHERE registry_id = %s AND (state <> 'parsed' OR kind = 'unknown')
UNION
SELECT l.digest
FROM regctl.manifest_links l
WHERE l.registry_id = %s
  AND NOT EXISTS (
      SELECT FROM regctl.manifests m WHERE m.registry_id = l.registry_id AND m.digest = l.digest
  )
UNION
SELECT r.digest
FROM regctl.manifest_references r
JOIN regctl.blobs b ON b.registry_id = r.registry_id AND b.digest = r.digest
WHERE r.registry_id = %s AND r.role = 'manifest'
  AND NOT EXISTS (
      SELECT FROM regctl.manifests m WHERE m.registry_id = r.registry_id AND m.digest = r.digest
  )
UNION
SELECT t.digest
FROM regctl.tags t
JOIN regctl.blobs b ON b.registry_id = t.registry_id AND b.digest = t.digest
WHERE t.registry_id = %s
  AND NOT EXISTS (
      SELECT FROM regctl.manifests m WHERE m.registry_id = t.registry_id AND m.digest = t.digest
  )

-- name: garbage_known_manifests
SELECT digest
FROM regctl.manifests
WHERE registry_id = %s AND digest = ANY (%b::bytea[]) AND state = 'parsed' AND kind <> 'unknown'

-- name: garbage_unlinked_children
-- Index children that no believed link keeps: few. The others need no walk from their parent.
SELECT r.manifest, r.digest
FROM regctl.manifest_references r
WHERE r.registry_id = %s AND r.role = 'manifest'
  AND NOT EXISTS (
      SELECT FROM regctl.manifest_links l
      WHERE l.registry_id = r.registry_id AND l.digest = r.digest AND l.repository_id <> ALL (%s::bigint[])
  )

-- name: garbage_linked
SELECT digest FROM regctl.manifest_links
WHERE registry_id = %s AND digest = ANY (%b::bytea[]) AND repository_id <> ALL (%s::bigint[])
UNION
SELECT digest FROM regctl.tags
WHERE registry_id = %s AND digest = ANY (%b::bytea[]) AND repository_id <> ALL (%s::bigint[])

-- name: garbage_blobs
-- Two anti-joins without a recursive part: the planner cannot know the size of one, and then hashes in
-- batches on disk.
WITH kept AS MATERIALIZED (
    SELECT digest FROM regctl.manifest_links WHERE registry_id = %s AND repository_id <> ALL (%s::bigint[])
    UNION
    SELECT digest FROM regctl.tags WHERE registry_id = %s AND repository_id <> ALL (%s::bigint[])
    UNION
    SELECT * FROM unnest(%b::bytea[])
),
stored AS (
    SELECT digest, size FROM regctl.blobs WHERE registry_id = %s
    UNION ALL
    SELECT * FROM unnest(%b::bytea[], %s::bigint[])
)
SELECT stored.digest, stored.size
FROM stored
WHERE NOT EXISTS (SELECT FROM kept WHERE kept.digest = stored.digest)
  AND NOT EXISTS (
      SELECT FROM regctl.manifest_references r
      WHERE r.registry_id = %s AND r.digest = stored.digest AND r.role IN ('config', 'layer', 'foreign')
        AND r.manifest IN (SELECT digest FROM kept)
  )

-- name: garbage_stored
SELECT count(*), coalesce(sum(size), 0)::bigint FROM regctl.blobs WHERE registry_id = %s

-- name: garbage_sizes
SELECT coalesce(sum(size), 0)::bigint FROM regctl.blobs WHERE registry_id = %s AND digest = ANY (%b::bytea[])

-- name: garbage_links
SELECT l.digest, r.name
FROM regctl.blob_links l
JOIN regctl.repositories r ON r.registry_id = l.registry_id AND r.id = l.repository_id
WHERE l.registry_id = %s AND l.digest = ANY (%b::bytea[]) AND l.repository_id <> ALL (%s::bigint[])

-- name: garbage_workload
SELECT (SELECT count(*) FROM regctl.manifest_links WHERE registry_id = %s),
       (SELECT count(*) FROM regctl.blob_links WHERE registry_id = %s),
       (SELECT coalesce(sum(m.n * t.n), 0)::bigint
        FROM (SELECT repository_id, count(*) AS n FROM regctl.manifest_links WHERE registry_id = %s GROUP BY 1) m
        JOIN (SELECT repository_id, count(*) AS n FROM regctl.tags WHERE registry_id = %s GROUP BY 1) t
          USING (repository_id))

-- name: garbage_all_revisions
SELECT r.name, l.digest FROM regctl.manifest_links l
JOIN regctl.repositories r ON r.registry_id = l.registry_id AND r.id = l.repository_id
WHERE l.registry_id = %s AND l.repository_id <> ALL (%s::bigint[])

-- name: garbage_all_tags
SELECT r.name, t.digest FROM regctl.tags t
JOIN regctl.repositories r ON r.registry_id = t.registry_id AND r.id = t.repository_id
WHERE t.registry_id = %s AND t.repository_id <> ALL (%s::bigint[])

-- name: garbage_all_layers
SELECT r.name, l.digest FROM regctl.blob_links l
JOIN regctl.repositories r ON r.registry_id = l.registry_id AND r.id = l.repository_id
WHERE l.registry_id = %s AND l.repository_id <> ALL (%s::bigint[])

-- name: garbage_all_references
SELECT manifest, digest, role FROM regctl.manifest_references WHERE registry_id = %s

-- name: garbage_all_blobs
SELECT digest, size FROM regctl.blobs WHERE registry_id = %s
