-- Loses the copy of every registry's catalog; `regctl registry import` makes it again.
DROP TABLE regctl.findings;
DROP TABLE regctl.tags;
DROP TABLE regctl.blob_links;
DROP TABLE regctl.manifest_links;
DROP TABLE regctl.manifest_references;
DROP TABLE regctl.manifests;
DROP TABLE regctl.blobs;
DROP TABLE regctl.blob_shards;
DROP TABLE regctl.repositories;
DROP TABLE regctl.imports;
DROP TABLE regctl.registries;
DROP FUNCTION regctl.digest_text(bytea);
