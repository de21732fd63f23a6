"""The kinds of findings: what each means, and what it does to the registry's own collector.

The table in docs/reference/findings.md is compared with this one by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What the registry's own garbage collector makes of it (2.8 unless said otherwise)."""

    STOPS = "stops the collector"
    STOPS_UNTAGGED = "stops the collector with --delete-untagged"
    STOPS_3 = "stops the 3.x collector"
    LOSES = "the collector deletes more than it should"
    NONE = "the collector does not notice"


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    meaning: str
    effect: Effect


KINDS: dict[str, Kind] = {
    "empty-link": Kind("a link file of 0 bytes, left by a crash or a full disk", Effect.STOPS),
    "bad-link": Kind("a link file that does not hold exactly one digest", Effect.STOPS),
    "link-mismatch": Kind("a link that names another digest than its own path", Effect.LOSES),
    "aliased-blob": Kind(
        "a blob used under sha512 (or sha384) and stored under sha256: nothing marks it as used",
        Effect.LOSES,
    ),
    "missing-link": Kind("a tag without a current link", Effect.STOPS_UNTAGGED),
    "unreadable-link": Kind("a link that cannot be read", Effect.STOPS),
    "dangling-tag": Kind("a tag on a manifest that its repository does not hold", Effect.LOSES),
    "unlinked-child": Kind("an index's child that its repository does not hold", Effect.LOSES),
    "no-tags-directory": Kind("a repository with manifests but no folder for tags", Effect.STOPS_UNTAGGED),
    "no-layers-directory": Kind("a repository that 2.8 does not see: it has no _layers", Effect.LOSES),
    "illegal-repository-name": Kind("a folder whose name no repository can have", Effect.STOPS),
    "illegal-tag-name": Kind("a folder whose name no tag can have", Effect.STOPS_UNTAGGED),
    "illegal-digest": Kind("a folder whose name is no digest", Effect.STOPS),
    "unknown-algorithm": Kind("a folder of a hash that registries do not use", Effect.STOPS),
    "stray-file": Kind("a file where only folders belong", Effect.STOPS_UNTAGGED),
    "stray-directory": Kind("a folder where none belongs", Effect.STOPS),
    "symlink": Kind("a symbolic link: never followed", Effect.NONE),
    "unreadable-directory": Kind("a folder that cannot be listed", Effect.STOPS),
    "missing-data": Kind("a blob's folder without its data", Effect.NONE),
    "misplaced-blob": Kind("a blob in the folder of another prefix", Effect.NONE),
    "missing-manifest": Kind("a linked manifest whose bytes are not stored", Effect.LOSES),
    "missing-blob": Kind("a config or layer that a manifest needs and nobody stores", Effect.NONE),
    "wrong-size": Kind("a stored blob of another size than the manifest says", Effect.NONE),
    "digest-mismatch": Kind("a stored blob whose bytes do not hash to its digest", Effect.NONE),
    "bad-manifest": Kind("a manifest that cannot be parsed", Effect.STOPS),
    "oversize-manifest": Kind("a manifest over 4 MiB", Effect.STOPS),
    "unknown-manifest": Kind("a manifest of a media type or schema version nobody knows", Effect.STOPS),
    "schema1-manifest": Kind("a manifest of schema version 1", Effect.STOPS_3),
    "bad-config": Kind("an image's config that is no JSON object", Effect.NONE),
    "changed-while-reading": Kind("an entry that went away or changed while it was read", Effect.NONE),
}
