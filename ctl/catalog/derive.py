"""Findings that follow from the catalog itself: what manifests and tags need and nobody holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.catalog.digests import blob_path, revision_path, tag_path, unpack
from ctl.catalog.model import Finding

if TYPE_CHECKING:
    from ctl.catalog.writer import CatalogWriter

SCOPE = "derived"


def derived_findings(writer: CatalogWriter) -> Iterator[Finding]:
    """Yield every finding of scope "derived", from what is in the database now."""
    for repository, tag, digest in writer.derived("dangling_tags"):
        reason = f"{unpack(bytes(digest))} is no manifest of this repository"
        yield Finding(tag_path(repository, tag), "dangling-tag", reason)
    for repository, child, parent in writer.derived("unlinked_children"):
        reason = f"a child of {unpack(bytes(parent))}"
        path = revision_path(repository, unpack(bytes(child)))
        yield Finding(path, "unlinked-child", reason)
    for digest, user, users in writer.derived("missing_blobs"):
        reason = f"needed by {unpack(bytes(user))}" + (f" and {users - 1} more" if users > 1 else "")
        yield Finding(blob_path(unpack(bytes(digest))), "missing-blob", reason)
    for digest, size, claimed, user in writer.derived("wrong_sizes"):
        reason = f"{size} bytes, but {unpack(bytes(user))} says {claimed}"
        yield Finding(blob_path(unpack(bytes(digest))), "wrong-size", reason)
