-- Loses nothing but speed.
DROP INDEX regctl.tags_digest;
DROP INDEX regctl.manifest_links_digest;
DROP INDEX regctl.manifest_references_digest;
