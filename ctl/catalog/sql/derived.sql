-- Findings that follow from the catalog itself: scope "derived", replaced as a whole.

-- name: dangling_tags
SELECT repository.name, tag.name, tag.digest FROM regctl.tags AS tag
JOIN regctl.repositories AS repository
  ON repository.registry_id = tag.registry_id AND repository.id = tag.repository_id
WHERE tag.registry_id = %s
  AND NOT EXISTS (SELECT FROM regctl.manifest_links AS link
                  WHERE link.registry_id = tag.registry_id
                    AND link.repository_id = tag.repository_id AND link.digest = tag.digest)

-- name: unlinked_children
SELECT DISTINCT repository.name, reference.digest, reference.manifest
FROM regctl.manifest_references AS reference
JOIN regctl.manifest_links AS link
  ON link.registry_id = reference.registry_id AND link.digest = reference.manifest
JOIN regctl.repositories AS repository
  ON repository.registry_id = link.registry_id AND repository.id = link.repository_id
WHERE reference.registry_id = %s AND reference.role = 'manifest'
  AND NOT EXISTS (SELECT FROM regctl.manifest_links AS child
                  WHERE child.registry_id = link.registry_id
                    AND child.repository_id = link.repository_id AND child.digest = reference.digest)

-- name: missing_blobs
SELECT reference.digest, (array_agg(DISTINCT reference.manifest))[1], count(DISTINCT reference.manifest)
FROM regctl.manifest_references AS reference
WHERE reference.registry_id = %s AND reference.role IN ('config', 'layer')
  AND NOT EXISTS (SELECT FROM regctl.blobs AS blob
                  WHERE blob.registry_id = reference.registry_id AND blob.digest = reference.digest)
  AND reference.digest NOT IN (
      SELECT link.digest FROM regctl.blob_links AS link
      JOIN regctl.blobs AS blob ON blob.registry_id = link.registry_id AND blob.digest = link.target
      WHERE link.registry_id = %s AND link.target IS NOT NULL)
GROUP BY reference.digest

-- name: wrong_sizes
SELECT reference.digest, blob.size, min(reference.size), (array_agg(DISTINCT reference.manifest))[1]
FROM regctl.manifest_references AS reference
JOIN regctl.blobs AS blob
  ON blob.registry_id = reference.registry_id AND blob.digest = reference.digest
WHERE reference.registry_id = %s AND reference.role <> 'subject'
  AND reference.size >= 0 AND reference.size <> blob.size
GROUP BY reference.digest, blob.size
