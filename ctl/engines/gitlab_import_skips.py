"""Why GitLab's import passes something over: its log's words turned into stable ones, and what is lost.

Source: the program's own log at 4.32.0, every case made and measured; docs/reference/import-skips.md has
the table for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Effect = Literal["dropped", "incomplete", "altered", "none"]
# dropped: the tag, or what the record names, is not in the database
# incomplete: the tag is there, and part of what it needs is not
# altered: the tag is there and means something else than its link says
# none: nothing is lost


@dataclass(frozen=True)
class Skip:
    """One reason: what it says to people, and what it costs where the record names a tag's own manifest."""

    reason: str
    says: str
    effect: Effect = "dropped"


SKIPS: Mapping[str, Skip] = {
    skip.reason: skip
    for skip in (
        Skip("tag-link-missing", "the tag has no link to a manifest"),
        Skip("tag-link-broken", "the tag's link holds no digest"),
        Skip("manifest-link-broken", "the repository's link to the manifest holds no digest"),
        Skip("manifest-unknown", "the manifest is not stored, or the repository has no link to it"),
        Skip("manifest-empty", "the manifest is a file of 0 bytes"),
        Skip("manifest-schema-1", "the manifest is of schema 1, which is not supported any more"),
        Skip("manifest-schema-unknown", "the manifest is of a schema version that the program does not know"),
        Skip("manifest-skipped", "something that the manifest needs cannot be taken in"),
        Skip("digest-unsupported", "the digest's algorithm is not supported"),
        Skip("config-unknown", "the image's configuration is not stored, or not linked in the repository"),
        Skip("config-link-broken", "the repository's link to the configuration holds no digest"),
        Skip("layer-link-broken", "the repository's link to a layer holds no digest"),
        Skip("layer-unknown", "a layer is not stored, or not linked in the repository", "incomplete"),
        Skip("link-names-another", "a link names another digest than its own path does", "altered"),
        Skip("digest-aliased", "a blob is read through a link under another algorithm's digest", "none"),
        Skip("repository-unreadable", "the repository was gone or could not be listed when its turn came"),
        Skip("tag-not-written", "the database did not take the tag"),
        Skip("media-type-unchecked", "whether a layer's media type is known could not be asked", "altered"),
        Skip(
            "repository-not-marked",
            "the repository is not marked as done and will be read again",
            "none",
        ),
        Skip("other", "a warning that regctl does not know", "none"),
    )
}

# Several of the program's sentences mean one reason; whole sentences, as it writes them.
_REASONS = {
    "missing tag link, skipping": "tag-link-missing",
    "broken tag link, skipping": "tag-link-broken",
    "broken manifest link, skipping": "manifest-link-broken",
    "unknown manifest revision, skipping": "manifest-unknown",
    "empty manifest payload, skipping": "manifest-empty",
    "unsupported v1 manifest, skipping": "manifest-schema-1",
    "skipping v1 manifest import": "manifest-schema-1",
    "skipping v1 manifest": "manifest-schema-1",
    "unrecognized manifest schema version, ignoring manifest": "manifest-schema-unknown",
    "unsupported manifest digest algorithm, skipping": "digest-unsupported",
    "configuration blob not linked, skipping": "config-unknown",
    "broken configuration layer link, skipping": "config-link-broken",
    "broken configuration link, skipping": "config-link-broken",
    "broken layer link, skipping manifest import": "layer-link-broken",
    "blob is not linked to repository, skipping blob import": "layer-unknown",
    "skipping manifest import": "manifest-skipped",
    "pre importing tagged manifests": "repository-unreadable",
    "error importing repository": "repository-unreadable",
    "creating tag": "tag-not-written",
    "error checking for existence of layer media type": "media-type-unchecked",
    "error updating last published at": "repository-not-marked",
}
_REDIRECTED = "looking up blob with canonical target: "
NEW_MEDIA_TYPE = "creating new media type"
_CONSEQUENCES = frozenset({"manifest-skipped", "manifest-unknown"})


def reason_of(message: str) -> str:
    """Return the stable word for a warning's sentence; "other" where it is not known."""
    if message.startswith(_REDIRECTED):
        link, _, target = message[len(_REDIRECTED) :].partition(" -> ")
        same = link.partition(":")[0] == target.partition(":")[0]
        return "link-names-another" if same else "digest-aliased"
    return _REASONS.get(message, "other")


def redirected_digest(message: str) -> str:
    """Return the digest whose link names another one, "" if the sentence is not about that."""
    return message[len(_REDIRECTED) :].partition(" ")[0] if message.startswith(_REDIRECTED) else ""


def is_consequence(reason: str) -> bool:
    """Say whether a reason may only follow from a warning just before it, which then is the cause."""
    return reason in _CONSEQUENCES


def is_child(fields: Mapping[str, Any]) -> bool:
    """Say whether a record about a manifest means one inside an index: only those are counted by it."""
    return "tag_name" not in fields and "total" in fields and "digest" in fields
