"""What a pre-flight finds: one table of kinds, with the effect on GitLab's import and the remedy.

docs/reference/preflight-findings.md is compared with this table by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ctl.catalog.tree import printable


class Effect(StrEnum):
    """What the real import makes of a finding."""

    ABORT = "abort"  # it stops with an error, and nothing after it is imported
    DROP = "drop"  # a tag, an index's child or a referrer is not imported
    ALTER = "alter"  # it is imported, but does not serve what it seems to
    INFO = "info"  # nothing is lost


@dataclass(frozen=True)
class Kind:
    """One kind of finding. `moved`: whether a quarantine moves it aside."""

    effect: Effect
    meaning: str
    remedy: str
    moved: bool = False


_PUSH = "push the image again, or let the tag go"
_TAG_GONE = "delete the tag, or push it again"

KINDS: dict[str, Kind] = {
    # the tree
    "no-repositories": Kind(
        Effect.ABORT,
        "the storage holds no folder of repositories",
        "is the disk mounted? A registry that was never pushed to needs no import",
    ),
    "illegal-repository-name": Kind(
        Effect.ABORT,
        "a repository whose name the importer refuses, such as one with capitals",
        "rename the repository's folder, or move it aside",
        moved=True,
    ),
    "hiding-file": Kind(
        Effect.DROP,
        "a file whose name begins with `_`: the importer passes over all that sorts after it in its folder",
        "move the file aside",
        moved=True,
    ),
    "broken-folder": Kind(
        Effect.ABORT,
        "a folder of the registry that is a file, or a symbolic link that leads in a circle",
        "move it aside",
        moved=True,
    ),
    "unreadable": Kind(
        Effect.ABORT,
        "a folder or file that cannot be read",
        "give the registry's user the right to read it (chown, chmod), or mend the disk",
    ),
    "no-tags": Kind(Effect.INFO, "a repository without a folder for tags: nothing of it is imported", ""),
    # tags
    "stray-in-tags": Kind(
        Effect.ABORT,
        "a file where only tags' folders belong, such as .nfs* or .DS_Store",
        "move the file aside",
        moved=True,
    ),
    "illegal-tag-name": Kind(
        Effect.ABORT,
        "a tag's folder with a letter that no path in a registry may hold",
        "move the folder aside",
        moved=True,
    ),
    "odd-tag-name": Kind(
        Effect.INFO, "a tag whose name no client can ask for; it is imported all the same", _TAG_GONE
    ),
    "empty-tag-link": Kind(Effect.DROP, "a tag's link of 0 bytes: the tag is dropped", _TAG_GONE),
    "garbage-tag-link": Kind(Effect.DROP, "a tag's link that holds no digest: the tag is dropped", _TAG_GONE),
    "missing-tag-link": Kind(
        Effect.DROP, "a tag's folder without current/link: the tag is dropped", _TAG_GONE
    ),
    # links of any sort
    "bad-length-link": Kind(
        Effect.ABORT,
        "a link whose digest is too long or too short, such as one with a newline after it",
        "write the digest again without the newline, or move the link aside",
        moved=True,
    ),
    "broken-link-file": Kind(
        Effect.ABORT,
        "a link that is no plain file: a folder, a pipe or a symbolic link",
        "move it aside",
        moved=True,
    ),
    "unsupported-digest": Kind(
        Effect.ABORT,
        "a digest of a hash (sha384) that the metadata database has no number for",
        _PUSH,
        moved=True,
    ),
    "link-names-another": Kind(
        Effect.ALTER,
        "a link that names another digest: those bytes are imported under this one",
        _PUSH,
    ),
    # revisions and manifests
    "missing-revision": Kind(
        Effect.DROP, "a tag on a manifest that its repository does not link: the tag is dropped", _PUSH
    ),
    "broken-revision-link": Kind(
        Effect.DROP, "a manifest's link that is empty or no digest: tags on it are dropped", _PUSH
    ),
    "missing-manifest": Kind(
        Effect.DROP, "a manifest whose bytes are not stored: tags on it are dropped", _PUSH
    ),
    "empty-manifest": Kind(Effect.DROP, "a manifest of 0 bytes: tags on it are dropped", _PUSH),
    "unknown-schema-version": Kind(
        Effect.DROP, "a manifest of a schema version that is not 1 or 2: tags on it are dropped", _PUSH
    ),
    "schema1-manifest": Kind(
        Effect.DROP,
        "a manifest of schema version 1: tags on it are dropped",
        "pull it with an old client and push it with a new one",
    ),
    "bad-manifest": Kind(
        Effect.ABORT,
        "a manifest that is cut off, or no manifest's JSON",
        _PUSH,
        moved=True,
    ),
    "oversize-manifest": Kind(Effect.ABORT, "a manifest over 4 MiB", _PUSH, moved=True),
    "unknown-media-type": Kind(
        Effect.ABORT, "a manifest of a media type that the importer does not know", _PUSH, moved=True
    ),
    "bad-media-type": Kind(
        Effect.ABORT,
        "a config or layer without a media type, or with one that the database refuses",
        _PUSH,
        moved=True,
    ),
    "bad-descriptor": Kind(
        Effect.ABORT,
        "a manifest that names a digest of the wrong length, or of a hash that the database does not know",
        _PUSH,
        moved=True,
    ),
    "nested-index": Kind(
        Effect.ABORT,
        "an index with another index in it",
        "push the inner index under a tag of its own, and the outer one without it",
        moved=True,
    ),
    "mixed-cache-index": Kind(
        Effect.ABORT, "a build cache's index with manifests of images in it", _PUSH, moved=True
    ),
    "altered-manifest": Kind(
        Effect.ALTER,
        "a manifest whose bytes have another digest: the importer does not look, and serves them",
        _PUSH,
    ),
    # configs and layers
    "broken-descriptor": Kind(
        Effect.DROP, "a manifest that names something that is no digest: tags on it are dropped", _PUSH
    ),
    "config-unlinked": Kind(
        Effect.DROP, "an image whose repository does not link its config: tags on it are dropped", _PUSH
    ),
    "config-missing": Kind(Effect.DROP, "an image whose config is not stored: tags on it are dropped", _PUSH),
    "broken-config-link": Kind(
        Effect.DROP, "a config's link that is empty or no digest: tags on it are dropped", _PUSH
    ),
    "oversize-config": Kind(
        Effect.ABORT, "a config over 4 MiB that its manifest says is small", _PUSH, moved=True
    ),
    "bad-config": Kind(
        Effect.ALTER, "a config that is no JSON, or of another digest; imported as it is", _PUSH
    ),
    "broken-layer-link": Kind(
        Effect.DROP, "a layer's link that is empty or no digest: tags on its image are dropped", _PUSH
    ),
    "layer-unlinked": Kind(
        Effect.ALTER, "a layer that its repository does not link: the tag stays, pulling it fails", _PUSH
    ),
    "layer-missing": Kind(Effect.ALTER, "a layer that is not stored: the tag stays, pulling it fails", _PUSH),
    "wrong-size-layer": Kind(
        Effect.ALTER, "a layer of another size than its manifest says, such as 0 bytes", _PUSH
    ),
    # indexes
    "lost-child": Kind(
        Effect.ALTER, "an index's child that cannot be imported: the tag stays, the child is lost", _PUSH
    ),
    "lost-children": Kind(
        Effect.DROP,
        "an index's child with a bad config or layer: it is lost, and every child after it, healthy or not",
        "move the bad child's link aside, so that only it is lost; then push the index again",
        moved=True,
    ),
    # what nobody tagged
    "lost-referrer": Kind(
        Effect.DROP,
        "a signature or other referrer without a tag: the importer takes tagged manifests only",
        "give it a tag before the import, or attach it again afterwards",
    ),
    "unlinked-referrer": Kind(
        Effect.ALTER,
        "a tagged referrer: it is imported, but no longer found through what it refers to",
        "attach it again after the import",
    ),
    "untagged-manifests": Kind(
        Effect.INFO, "manifests without a tag that stay behind: nothing but their digests leads to them", ""
    ),
    # blobs
    "bad-blob-path": Kind(
        Effect.ABORT,
        "a file `data` below blobs/ whose path is no digest: step three stops at it",
        "move it aside",
        moved=True,
    ),
}


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """One entry, and what the import would make of it.

    `path` is the entry, relative to the storage root, printable. `move` is the path as it is on the disk
    that a quarantine moves aside, "" where it moves nothing. `hidden_by` is the path of a file that keeps
    the importer from getting there at all, until that file is moved.
    """

    path: str
    kind: str
    reason: str
    repository: str = ""
    tag: str = ""
    digest: str = ""
    move: str = ""
    hidden_by: str = ""
    lost: tuple[str, ...] = ()  # of "lost-children": digests; of "hiding-file": repositories
    count: int = 1  # of "untagged-manifests"

    @property
    def effect(self) -> Effect:
        """What the import makes of it."""
        return KINDS[self.kind].effect

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].remedy


def found(
    path: str, kind: str, reason: str, *, move: str = "", repository: str = "", **more: object
) -> PreflightFinding:
    """Return a finding, its words printable. `move` is left out where its kind is not one to be moved."""
    return PreflightFinding(
        printable(path),
        kind,
        printable(reason),
        repository=printable(repository),
        move=move if KINDS[kind].moved else "",
        **more,  # type: ignore[arg-type]
    )
