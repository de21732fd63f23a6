-- What the import writes. Rows come by COPY into temporary tables and are merged as sets.

-- name: claim_registry
INSERT INTO regctl.registries AS registry (name, root, epoch) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE SET root = excluded.root, epoch = excluded.epoch
WHERE registry.epoch <= excluded.epoch
RETURNING id, generation, dirty

-- name: fence
-- No row: another run, with a higher epoch, has taken over. The lock holds it off until we commit.
SELECT 1 FROM regctl.registries WHERE id = %s AND epoch = %s FOR UPDATE

-- name: mark_dirty
UPDATE regctl.registries SET dirty = true WHERE id = %s AND epoch = %s AND NOT dirty

-- name: begin_import
INSERT INTO regctl.imports (registry_id, run_id) VALUES (%s, %s)
ON CONFLICT (registry_id, run_id) DO UPDATE SET state = 'running', ended_at = NULL

-- name: abandon_imports
UPDATE regctl.imports SET state = 'failed', ended_at = now()
WHERE registry_id = %s AND run_id <> %s AND state = 'running'

-- name: complete_import
UPDATE regctl.imports SET state = 'complete', ended_at = now(), generation = %s, counts = %s::jsonb
WHERE registry_id = %s AND run_id = %s

-- name: complete_registry
UPDATE regctl.registries SET generation = %s, dirty = false, imported_at = now(), counts = %s::jsonb
WHERE id = %s AND epoch = %s

-- name: trim_imports
DELETE FROM regctl.imports WHERE registry_id = %s AND run_id IN (
    SELECT run_id FROM regctl.imports WHERE registry_id = %s ORDER BY started_at DESC OFFSET 100)

-- name: staging
CREATE TEMP TABLE stage_revisions (
    repository_id bigint NOT NULL, digest bytea NOT NULL, size integer, mtime_ns bigint, gone boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_layers (
    repository_id bigint NOT NULL, digest bytea NOT NULL, target bytea, size integer, mtime_ns bigint,
    gone boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_tags (
    repository_id bigint NOT NULL, name text COLLATE "C" NOT NULL, digest bytea, size integer,
    mtime_ns bigint, gone boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_blobs (
    digest bytea NOT NULL, size bigint, mtime_ns bigint, gone boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_manifests (
    digest bytea NOT NULL, state text, kind text, media_type text, artifact_type text, size bigint,
    created text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_references (
    manifest bytea NOT NULL, position integer, role text, digest bytea, size bigint, media_type text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE stage_findings (
    scope text COLLATE "C" NOT NULL, path text COLLATE "C", kind text, reason text
) ON COMMIT DELETE ROWS

-- name: copy_revisions
COPY stage_revisions (repository_id, digest, size, mtime_ns, gone) FROM STDIN

-- name: copy_layers
COPY stage_layers (repository_id, digest, target, size, mtime_ns, gone) FROM STDIN

-- name: copy_tags
COPY stage_tags (repository_id, name, digest, size, mtime_ns, gone) FROM STDIN

-- name: copy_blobs
COPY stage_blobs (digest, size, mtime_ns, gone) FROM STDIN

-- name: copy_manifests
COPY stage_manifests (digest, state, kind, media_type, artifact_type, size, created) FROM STDIN

-- name: copy_references
COPY stage_references (manifest, position, role, digest, size, media_type) FROM STDIN

-- name: copy_findings
COPY stage_findings (scope, path, kind, reason) FROM STDIN

-- name: drop_revisions
DELETE FROM regctl.manifest_links AS link USING stage_revisions AS stage
WHERE stage.gone AND link.registry_id = %s AND link.repository_id = stage.repository_id
  AND link.digest = stage.digest

-- name: merge_revisions
INSERT INTO regctl.manifest_links (registry_id, repository_id, digest, size, mtime_ns)
SELECT %s, repository_id, digest, size, mtime_ns FROM stage_revisions WHERE NOT gone
ON CONFLICT (registry_id, repository_id, digest)
DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns

-- name: drop_layers
DELETE FROM regctl.blob_links AS link USING stage_layers AS stage
WHERE stage.gone AND link.registry_id = %s AND link.repository_id = stage.repository_id
  AND link.digest = stage.digest

-- name: merge_layers
INSERT INTO regctl.blob_links (registry_id, repository_id, digest, target, size, mtime_ns)
SELECT %s, repository_id, digest, target, size, mtime_ns FROM stage_layers WHERE NOT gone
ON CONFLICT (registry_id, repository_id, digest)
DO UPDATE SET target = excluded.target, size = excluded.size, mtime_ns = excluded.mtime_ns

-- name: drop_tags
DELETE FROM regctl.tags AS tag USING stage_tags AS stage
WHERE stage.gone AND tag.registry_id = %s AND tag.repository_id = stage.repository_id
  AND tag.name = stage.name

-- name: merge_tags
INSERT INTO regctl.tags (registry_id, repository_id, name, digest, size, mtime_ns)
SELECT %s, repository_id, name, digest, size, mtime_ns FROM stage_tags WHERE NOT gone
ON CONFLICT (registry_id, repository_id, name)
DO UPDATE SET digest = excluded.digest, size = excluded.size, mtime_ns = excluded.mtime_ns

-- name: drop_blobs
DELETE FROM regctl.blobs AS blob USING stage_blobs AS stage
WHERE stage.gone AND blob.registry_id = %s AND blob.digest = stage.digest

-- name: merge_blobs
INSERT INTO regctl.blobs (registry_id, digest, size, mtime_ns)
SELECT %s, digest, size, mtime_ns FROM stage_blobs WHERE NOT gone
ON CONFLICT (registry_id, digest) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns

-- name: any_manifest
SELECT 1 FROM regctl.manifests WHERE registry_id = %s LIMIT 1

-- name: new_manifests
SELECT DISTINCT stage.digest FROM stage_revisions AS stage
WHERE NOT stage.gone
  AND NOT EXISTS (SELECT FROM regctl.manifests AS manifest
                  WHERE manifest.registry_id = %s AND manifest.digest = stage.digest)

-- name: children_to_parse
SELECT DISTINCT reference.digest FROM regctl.manifest_references AS reference
WHERE reference.registry_id = %s AND reference.role = 'manifest'
  AND NOT EXISTS (SELECT FROM regctl.manifests AS manifest
                  WHERE manifest.registry_id = reference.registry_id
                    AND manifest.digest = reference.digest)
LIMIT %s

-- name: doubtful_manifests
SELECT digest, state FROM regctl.manifests
WHERE registry_id = %s AND state <> 'parsed' AND digest > %s ORDER BY digest LIMIT %s

-- name: drop_manifests
DELETE FROM regctl.manifests AS manifest USING stage_manifests AS stage
WHERE manifest.registry_id = %s AND manifest.digest = stage.digest

-- name: drop_references
DELETE FROM regctl.manifest_references AS reference USING stage_manifests AS stage
WHERE reference.registry_id = %s AND reference.manifest = stage.digest

-- name: merge_manifests
INSERT INTO regctl.manifests (registry_id, digest, state, kind, media_type, artifact_type, size, created)
SELECT %s, digest, state, kind, media_type, artifact_type, size, created FROM stage_manifests

-- name: merge_references
INSERT INTO regctl.manifest_references (registry_id, manifest, position, role, digest, size, media_type)
SELECT %s, manifest, position, role, digest, size, media_type FROM stage_references

-- name: drop_findings
DELETE FROM regctl.findings WHERE registry_id = %s AND scope = ANY (%s)

-- name: merge_findings
INSERT INTO regctl.findings (registry_id, scope, path, kind, reason, generation)
SELECT DISTINCT ON (scope, path, kind) %s::integer, scope, path, kind, reason, %s::bigint FROM stage_findings
ON CONFLICT (registry_id, scope, path, kind) DO UPDATE SET reason = excluded.reason

-- name: add_repositories
INSERT INTO regctl.repositories (registry_id, name) SELECT %s, unnest(%s::text[])
ON CONFLICT (registry_id, name) DO UPDATE SET name = excluded.name
RETURNING name, id

-- name: set_prints
UPDATE regctl.repositories SET
    revisions_print = CASE WHEN %s THEN %s ELSE revisions_print END,
    tags_print = CASE WHEN %s THEN %s ELSE tags_print END,
    layers_print = CASE WHEN %s THEN %s ELSE layers_print END,
    scanned_ns = %s
WHERE registry_id = %s AND id = %s

-- name: set_shard
INSERT INTO regctl.blob_shards (registry_id, shard, names_print, stats_print) VALUES (%s, %s, %s, %s)
ON CONFLICT (registry_id, shard)
DO UPDATE SET names_print = excluded.names_print, stats_print = excluded.stats_print

-- name: drop_shard
DELETE FROM regctl.blob_shards WHERE registry_id = %s AND shard = %s

-- name: stage_blobs_between
INSERT INTO stage_blobs (digest, gone)
SELECT digest, true FROM regctl.blobs WHERE registry_id = %s AND digest >= %s AND digest < %s

-- name: doubt_manifests
-- A blob that changed on disk: what was read from it must be read again, as a manifest or as its config.
UPDATE regctl.manifests AS manifest SET state = 'doubtful'
WHERE manifest.registry_id = %s AND manifest.state = 'parsed' AND manifest.digest IN (
    SELECT digest FROM stage_blobs
    UNION ALL
    SELECT reference.manifest FROM stage_blobs
    JOIN regctl.manifest_references AS reference ON reference.digest = stage_blobs.digest
    WHERE reference.registry_id = %s AND reference.role = 'config')

-- name: drop_repository_revisions
DELETE FROM regctl.manifest_links WHERE registry_id = %s AND repository_id = %s

-- name: drop_repository_layers
DELETE FROM regctl.blob_links WHERE registry_id = %s AND repository_id = %s

-- name: drop_repository_tags
DELETE FROM regctl.tags WHERE registry_id = %s AND repository_id = %s

-- name: drop_repository
DELETE FROM regctl.repositories WHERE registry_id = %s AND id = %s

-- name: prune_manifests
DELETE FROM regctl.manifests AS manifest
WHERE manifest.registry_id = %s
  AND NOT EXISTS (SELECT FROM regctl.manifest_links AS link
                  WHERE link.registry_id = manifest.registry_id AND link.digest = manifest.digest)
  AND NOT EXISTS (SELECT FROM regctl.manifest_references AS reference
                  WHERE reference.registry_id = manifest.registry_id
                    AND reference.digest = manifest.digest AND reference.role = 'manifest')

-- name: prune_references
DELETE FROM regctl.manifest_references AS reference
WHERE reference.registry_id = %s
  AND NOT EXISTS (SELECT FROM regctl.manifests AS manifest
                  WHERE manifest.registry_id = reference.registry_id
                    AND manifest.digest = reference.manifest)

-- name: prune_manifest_findings
DELETE FROM regctl.findings AS finding
WHERE finding.registry_id = %s AND finding.scope LIKE 'manifest %%'
  AND NOT EXISTS (SELECT FROM regctl.manifests AS manifest
                  WHERE manifest.registry_id = finding.registry_id
                    AND 'manifest ' || regctl.digest_text(manifest.digest) = finding.scope)

-- name: analyze
ANALYZE regctl.repositories, regctl.manifests, regctl.manifest_references, regctl.manifest_links,
    regctl.blob_links, regctl.tags, regctl.blobs

-- name: counts
SELECT
    (SELECT count(*) FROM regctl.repositories WHERE registry_id = %s),
    (SELECT count(*) FROM regctl.tags WHERE registry_id = %s),
    (SELECT count(DISTINCT digest) FROM regctl.manifest_links WHERE registry_id = %s),
    (SELECT count(*) FROM regctl.blobs WHERE registry_id = %s),
    (SELECT coalesce(sum(size), 0)::bigint FROM regctl.blobs WHERE registry_id = %s),
    (SELECT count(DISTINCT (path, kind)) FROM regctl.findings WHERE registry_id = %s)

-- name: recount
SELECT counts, (SELECT count(DISTINCT (path, kind)) FROM regctl.findings WHERE registry_id = %s)
FROM regctl.registries WHERE id = %s
