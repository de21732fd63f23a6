-- What readers ask. Every key begins with registry_id.

-- name: registry
SELECT id, root, generation, epoch, imported_at, counts FROM regctl.registries WHERE name = %s

-- name: has_schema
SELECT to_regclass('regctl.findings') IS NOT NULL

-- name: repositories
SELECT name, id, revisions_print, tags_print, layers_print, scanned_ns
FROM regctl.repositories WHERE registry_id = %s ORDER BY name

-- name: shards
SELECT shard, names_print, stats_print FROM regctl.blob_shards WHERE registry_id = %s ORDER BY shard

-- name: revisions
SELECT digest, digest, size, mtime_ns FROM regctl.manifest_links
WHERE registry_id = %s AND repository_id = %s ORDER BY digest

-- name: layers
SELECT digest, coalesce(target, digest), size, mtime_ns FROM regctl.blob_links
WHERE registry_id = %s AND repository_id = %s ORDER BY digest

-- name: tags
SELECT name, digest, size, mtime_ns FROM regctl.tags
WHERE registry_id = %s AND repository_id = %s ORDER BY name

-- name: blobs_between
SELECT digest, size, mtime_ns FROM regctl.blobs
WHERE registry_id = %s AND digest >= %s AND digest < %s ORDER BY digest

-- name: findings
SELECT path, kind, min(reason) FROM regctl.findings WHERE registry_id = %s
GROUP BY path, kind ORDER BY path, kind LIMIT %s

-- name: findings_count
SELECT count(DISTINCT (path, kind)) FROM regctl.findings WHERE registry_id = %s

-- name: last_imports
SELECT run_id, started_at, ended_at, state, generation, counts FROM regctl.imports
WHERE registry_id = %s ORDER BY started_at DESC LIMIT %s

-- name: users_of
-- Who needs a digest: the repositories whose linked manifests refer to it or are it, with each manifest.
SELECT repository.name, link.digest
FROM (
    SELECT manifest FROM regctl.manifest_references
    WHERE registry_id = %s AND role IN ('config', 'layer') AND digest IN (
        SELECT %s::bytea
        UNION SELECT digest FROM regctl.blob_links WHERE registry_id = %s AND target = %s)
    UNION SELECT %s
) AS users
JOIN regctl.manifest_links AS link ON link.registry_id = %s AND link.digest = users.manifest
JOIN regctl.repositories AS repository
  ON repository.registry_id = link.registry_id AND repository.id = link.repository_id
ORDER BY repository.name, link.digest

-- name: tags_reaching
-- Tags of one repository on a manifest, or on an index (of an index) that has it as a child.
WITH RECURSIVE above (digest) AS (
    SELECT %s::bytea
    UNION
    SELECT reference.manifest FROM regctl.manifest_references AS reference
    JOIN above ON reference.digest = above.digest
    WHERE reference.registry_id = %s AND reference.role = 'manifest'
)
SELECT tag.name FROM regctl.tags AS tag
JOIN regctl.repositories AS repository
  ON repository.registry_id = tag.registry_id AND repository.id = tag.repository_id
WHERE tag.registry_id = %s AND repository.name = %s AND tag.digest IN (SELECT digest FROM above)
ORDER BY tag.name

-- name: needed_blobs
-- Every config, layer and manifest that a linked manifest needs to be stored, with the sizes claimed.
SELECT needed.digest, min(needed.size) FILTER (WHERE needed.size >= 0), max(needed.size)
FROM (
    SELECT coalesce(alias.target, reference.digest) AS digest, reference.size
    FROM regctl.manifest_references AS reference
    LEFT JOIN (SELECT DISTINCT digest, target FROM regctl.blob_links
               WHERE registry_id = %s AND target IS NOT NULL) AS alias ON alias.digest = reference.digest
    WHERE reference.registry_id = %s AND reference.role IN ('config', 'layer')
      AND EXISTS (SELECT FROM regctl.manifest_links AS link
                  WHERE link.registry_id = reference.registry_id AND link.digest = reference.manifest)
    UNION ALL
    SELECT link.digest, CASE WHEN manifest.state IN ('parsed', 'doubtful') THEN manifest.size ELSE -1 END
    FROM regctl.manifest_links AS link
    JOIN regctl.manifests AS manifest
      ON manifest.registry_id = link.registry_id AND manifest.digest = link.digest
    WHERE link.registry_id = %s
) AS needed
GROUP BY needed.digest ORDER BY needed.digest

-- name: unparsed_links
SELECT repository.name, link.digest FROM regctl.manifest_links AS link
JOIN regctl.repositories AS repository
  ON repository.registry_id = link.registry_id AND repository.id = link.repository_id
WHERE link.registry_id = %s
  AND NOT EXISTS (SELECT FROM regctl.manifests AS manifest
                  WHERE manifest.registry_id = link.registry_id AND manifest.digest = link.digest)
ORDER BY repository.name, link.digest LIMIT %s
