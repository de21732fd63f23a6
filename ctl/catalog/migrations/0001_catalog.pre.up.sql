-- The catalog database: regctl's own copy of what the registries hold. A cache with a generation,
-- never an authority. Every key starts with registry_id.
--
-- Digests are bytea: one byte for the algorithm (\x01 sha256, \x02 sha512,
-- \x03 sha384), then the raw hash. That is
-- 33 bytes instead of 71, in every key and every join. regctl.digest_text() prints one.

CREATE SCHEMA IF NOT EXISTS regctl;

CREATE FUNCTION regctl.digest_text(digest bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
    SELECT CASE get_byte(digest, 0) WHEN 1 THEN 'sha256:' WHEN 2 THEN 'sha512:' WHEN 3 THEN 'sha384:' ELSE 'unknown:' END
           || encode(substring(digest FROM 2), 'hex')
$$;

CREATE TABLE regctl.registries (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    root        text NOT NULL,                -- the root directory that was read
    generation  bigint NOT NULL DEFAULT 0,    -- one more at each complete import; 0: never complete
    epoch       bigint NOT NULL DEFAULT 0,    -- of the last run that wrote; a lower one may not write
    dirty       boolean NOT NULL DEFAULT true, -- rows were written since the last complete import
    imported_at timestamptz,                  -- end of the last complete import
    counts      jsonb NOT NULL DEFAULT '{}'   -- of the last complete import
);

CREATE TABLE regctl.imports (
    registry_id integer NOT NULL REFERENCES regctl.registries (id) ON DELETE CASCADE,
    run_id      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    state       text NOT NULL DEFAULT 'running',   -- running | complete | failed
    generation  bigint,                            -- that it completed
    counts      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (registry_id, run_id)
);

-- The three prints are what a no-change import compares: a hash over the sorted names, sizes and mtimes
-- of the links of one kind. NULL: never read to the end, or read while it was changing.
CREATE TABLE regctl.repositories (
    registry_id     integer NOT NULL REFERENCES regctl.registries (id) ON DELETE CASCADE,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    name            text COLLATE "C" NOT NULL,
    revisions_print bytea,
    tags_print      bytea,
    layers_print    bytea,
    scanned_ns      bigint NOT NULL DEFAULT 0,     -- when its links were last read, nanoseconds since 1970
    PRIMARY KEY (registry_id, id),
    UNIQUE (registry_id, name)
);

-- One row per folder `blobs/<algorithm>/<two digits>`. names_print covers the names alone (what a plan
-- looks at), stats_print names, sizes and mtimes (what an import looks at).
CREATE TABLE regctl.blob_shards (
    registry_id integer NOT NULL REFERENCES regctl.registries (id) ON DELETE CASCADE,
    shard       text COLLATE "C" NOT NULL,         -- "sha256/ab"
    names_print bytea,
    stats_print bytea,
    PRIMARY KEY (registry_id, shard)
);

CREATE TABLE regctl.blobs (
    registry_id integer NOT NULL,
    digest      bytea NOT NULL,
    size        bigint NOT NULL,                   -- of the stored file
    mtime_ns    bigint NOT NULL,
    PRIMARY KEY (registry_id, digest)
);

-- state: parsed, never read again; doubtful: it or its config is not what its digest says; opaque: it cannot
-- be parsed; missing: its bytes are not stored. All but the first are read again by every import.
CREATE TABLE regctl.manifests (
    registry_id   integer NOT NULL,
    digest        bytea NOT NULL,
    state         text NOT NULL,                   -- parsed | doubtful | opaque | missing, see below
    kind          text NOT NULL,                   -- image | index | schema1 | artifact | unknown
    media_type    text NOT NULL,
    artifact_type text NOT NULL DEFAULT '',
    size          bigint NOT NULL,                 -- of the payload
    created       text NOT NULL DEFAULT '',        -- as the config says, RFC 3339; '' where it says nothing usable
    PRIMARY KEY (registry_id, digest)
);

CREATE TABLE regctl.manifest_references (
    registry_id integer NOT NULL,
    manifest    bytea NOT NULL,
    position    integer NOT NULL,
    role        text NOT NULL,                     -- config | layer | manifest | subject | foreign
    digest      bytea NOT NULL,
    size        bigint NOT NULL,                   -- as the manifest claims; -1 where it says nothing
    media_type  text NOT NULL,
    PRIMARY KEY (registry_id, manifest, position)
);

-- The link tables have no foreign keys: the import is their only writer, and a check for each of a million
-- rows would double its time. A repository's rows go in the same transaction as the repository.
CREATE TABLE regctl.manifest_links (
    registry_id   integer NOT NULL,
    repository_id bigint NOT NULL,
    digest        bytea NOT NULL,
    size          integer NOT NULL,                -- of the link file
    mtime_ns      bigint NOT NULL,
    PRIMARY KEY (registry_id, repository_id, digest)
);

-- target: where the link names a digest of another algorithm. A blob that was pushed under sha512 is stored
-- under sha256, and only this link leads from one to the other. NULL: the digest itself.
CREATE TABLE regctl.blob_links (
    registry_id   integer NOT NULL,
    repository_id bigint NOT NULL,
    digest        bytea NOT NULL,
    target        bytea,
    size          integer NOT NULL,
    mtime_ns      bigint NOT NULL,
    PRIMARY KEY (registry_id, repository_id, digest)
);

CREATE INDEX blob_links_target ON regctl.blob_links (registry_id, target) WHERE target IS NOT NULL;

CREATE TABLE regctl.tags (
    registry_id   integer NOT NULL,
    repository_id bigint NOT NULL,
    name          text COLLATE "C" NOT NULL,
    digest        bytea NOT NULL,
    size          integer NOT NULL,
    mtime_ns      bigint NOT NULL,                 -- when it was last pushed
    PRIMARY KEY (registry_id, repository_id, name)
);

-- scope says what was read when it was found, so that reading that again replaces exactly its findings:
-- "tree", "repository <name>", "blobs <shard>", "manifest <digest>" or "derived" (from the catalog itself).
CREATE TABLE regctl.findings (
    registry_id integer NOT NULL REFERENCES regctl.registries (id) ON DELETE CASCADE,
    scope       text COLLATE "C" NOT NULL,
    path        text COLLATE "C" NOT NULL,         -- relative to the storage root; bytes that are not UTF-8 as \xNN
    kind        text NOT NULL,
    reason      text NOT NULL,
    generation  bigint NOT NULL,                   -- of the import that found it
    PRIMARY KEY (registry_id, scope, path, kind)
);
