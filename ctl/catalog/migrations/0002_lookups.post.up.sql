-- Who uses this digest? Asked by verify for the few blobs that are missing, and by plans. Post-deployment:
-- everything works without them, only slower.
CREATE INDEX IF NOT EXISTS manifest_references_digest ON regctl.manifest_references (registry_id, digest);
CREATE INDEX IF NOT EXISTS manifest_links_digest ON regctl.manifest_links (registry_id, digest);
CREATE INDEX IF NOT EXISTS tags_digest ON regctl.tags (registry_id, digest);
