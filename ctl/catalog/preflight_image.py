"""Foretell what GitLab's importer makes of one image, from what was read. Pure.

It goes through a manifest in the importer's own order, since the first fault decides whether a tag is
dropped or the whole import stops. What a fault hides is looked at as well: it shows once the fault is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ctl.catalog.digests import blob_path, layer_path, revision_path
from ctl.catalog.preflight_blobs import ABSENT, SYMLINK, BlobIndex
from ctl.catalog.preflight_json import PAYLOAD_LIMIT, Parsed, Reference, media_type_fault
from ctl.catalog.preflight_names import LENGTH, digest_fault, storable
from ctl.catalog.preflight_read import MISSING, NOT_A_FILE, Key, Link, Loaded
from ctl.catalog.preflight_words import KINDS, Effect, PreflightFinding, found
from ctl.catalog.tree import BLOBS

CONFIG_LIMIT = 256_000  # bytes, as the manifest says: a larger config is not looked at

Now = Literal["ok", "skip", "abort"]


@dataclass(slots=True)
class Outcome:
    """What becomes of a manifest: as things stand, and once everything that is to be moved is moved."""

    now: Now = "ok"
    after: Now = "ok"
    cause: PreflightFinding | None = None  # why tags on it are lost
    findings: list[PreflightFinding] = field(default_factory=list)  # all else about it
    children: tuple[str, ...] = ()  # of an index: those that are imported with it as things stand

    def stop(self, one: PreflightFinding, after: Now) -> None:
        """Note what stops the import here, and what would become of the manifest once it is moved."""
        if self.now == "ok":
            self.now = "abort"
        if after == "skip":
            self.after, self.cause = "skip", one
        else:
            self.findings.append(one)

    def skip(self, one: PreflightFinding) -> None:
        """Note why the manifest is left out."""
        if self.now == "ok":
            self.now = "skip"
        self.after, self.cause = "skip", one


Links = Mapping[Key, Link]
Load = Callable[[str], Loaded]


class ImageJudge:
    """Judges the images of one repository. `links` are its layers' links, `load` gives its manifests."""

    def __init__(self, repository: str, blobs: BlobIndex, links: Links, load: Load) -> None:
        self.repository = repository
        self.blobs = blobs
        self.links = links
        self.load = load

    def image(self, loaded: Loaded, parsed: Parsed) -> Outcome:
        """Say what becomes of an image that could be parsed."""
        outcome = Outcome()
        config = parsed.config or Reference("", 0, "")
        if not self._config(loaded, config, outcome):
            return outcome
        stored = [one for one in parsed.layers if self._layer(loaded, one, outcome)]
        if outcome.after != "ok":
            return outcome
        for one in (config, *stored):
            if reason := media_type_fault(one.media_type):
                reason = f"{one.digest}: {reason}"
                outcome.stop(
                    self.found("bad-media-type", loaded.path, reason, loaded.digest, own=True), "skip"
                )
                return outcome
        if not storable(loaded.digest):
            path = revision_path(self.repository, loaded.digest)
            outcome.stop(self.found("unsupported-digest", path, loaded.digest, loaded.digest), "skip")
            return outcome
        self.mark(loaded, outcome)
        return outcome

    def _config(self, loaded: Loaded, config: Reference, outcome: Outcome) -> bool:
        """Look at an image's config; False where nothing after it is reached, now or later."""
        fault = digest_fault(config.digest)
        if (
            fault == LENGTH
            or (config.size > CONFIG_LIMIT and fault)
            or (not fault and not storable(config.digest))
        ):
            self._bad_descriptor(loaded, config, outcome)
            return False
        if fault:
            reason = f"its config is {config.digest[:90]!a}"
            outcome.skip(self.found("broken-descriptor", loaded.path, reason, loaded.digest))
            return False
        if config.size > CONFIG_LIMIT:
            if self.blobs.size(config.digest) == ABSENT:
                outcome.findings.append(self._missing(config, "config", loaded))
            return True
        path = layer_path(self.repository, config.digest)
        link = self.links[self.repository, config.digest]
        if link.fault:
            kind = _link_kind(link, "config-unlinked", "broken-config-link")
            one = self.found(kind, path, link.reason or "not linked in this repository", loaded.digest)
            if KINDS[kind].effect is Effect.ABORT:
                outcome.stop(one, "skip")
            else:
                outcome.skip(one)
            return False
        return self._config_blob(loaded, link.target, outcome)

    def _config_blob(self, loaded: Loaded, target: str, outcome: Outcome) -> bool:
        size, path = self.blobs.size(target), blob_path(target)
        if size == ABSENT:
            outcome.skip(self.found("config-missing", path, "linked, but not stored", loaded.digest))
        elif size == SYMLINK:
            outcome.stop(self.found("broken-link-file", path, "a symbolic link", loaded.digest), "skip")
        elif size > PAYLOAD_LIMIT:
            reason = f"{size} bytes"
            outcome.stop(self.found("oversize-config", path, reason, loaded.digest, own=True), "skip")
        else:
            return True
        return False

    def _layer(self, loaded: Loaded, layer: Reference, outcome: Outcome) -> bool:
        """Look at a layer; say whether it is imported. Nothing more is looked at once the image is lost."""
        if outcome.after != "ok":
            return False
        fault = digest_fault(layer.digest)
        if fault == LENGTH:
            self._bad_descriptor(loaded, layer, outcome)
            return False
        if fault:
            reason = f"a layer is {layer.digest[:90]!a}"
            outcome.skip(self.found("broken-descriptor", loaded.path, reason, loaded.digest))
            return False
        path = layer_path(self.repository, layer.digest)
        link = self.links[self.repository, layer.digest]
        if link.skipped:
            outcome.skip(self.found("broken-layer-link", path, link.reason, loaded.digest))
            return False
        if link.fault:
            kind = _link_kind(link, "layer-unlinked", "")
            one = self.found(kind, path, link.reason or "not linked in this repository", loaded.digest)
            if KINDS[kind].effect is Effect.ABORT:
                outcome.stop(one, "ok")  # moved, it is a layer that is not linked: the tag stays
            else:
                outcome.findings.append(one)
            return False
        size = self.blobs.size(link.target)
        if size == ABSENT:
            outcome.findings.append(self._missing(layer, "layer", loaded))
            return False
        if not storable(layer.digest):
            self._bad_descriptor(loaded, layer, outcome)
            return False
        if size >= 0 and layer.size != size:
            reason = f"{size} bytes, the manifest says {layer.size}"
            one = self.found("wrong-size-layer", blob_path(link.target), reason, loaded.digest)
            outcome.findings.append(one)
        return True

    def _bad_descriptor(self, loaded: Loaded, one: Reference, outcome: Outcome) -> None:
        reason = f"names {one.digest[:90]!a}"
        outcome.stop(self.found("bad-descriptor", loaded.path, reason, loaded.digest, own=True), "skip")

    def _missing(self, one: Reference, what: str, loaded: Loaded) -> PreflightFinding:
        reason = f"a {what} that is not stored"
        return self.found("layer-missing", blob_path(one.digest), reason, loaded.digest)

    def found(self, kind: str, path: str, reason: str, digest: str, *, own: bool = False) -> PreflightFinding:
        """Return a finding about a manifest. What stops the import by its bytes is moved by its own link.

        The bytes may be needed by other repositories; the link is what makes them this one's.
        """
        by_link = own or path.startswith(f"{BLOBS}/")
        move = revision_path(self.repository, digest) if by_link else path
        return found(path, kind, reason, move=move, repository=self.repository, digest=digest)

    def mark(self, loaded: Loaded, outcome: Outcome) -> None:
        """Add what is wrong with a manifest that is imported all the same."""
        if loaded.target != loaded.digest:
            path = revision_path(self.repository, loaded.digest)
            one = self.found("link-names-another", path, f"names {loaded.target}", loaded.digest)
            outcome.findings.append(one)
        if loaded.altered:
            reason = "its bytes have another digest"
            outcome.findings.append(self.found("altered-manifest", loaded.path, reason, loaded.digest))
        if loaded.parsed is not None and loaded.parsed.subject:
            reason = f"refers to {loaded.parsed.subject[:90]}"
            outcome.findings.append(self.found("unlinked-referrer", loaded.path, reason, loaded.digest))


def _link_kind(link: Link, missing: str, skipped: str) -> str:
    kinds = {MISSING: missing, LENGTH: "bad-length-link", NOT_A_FILE: "broken-link-file"}
    return skipped if link.skipped else kinds.get(link.fault, "unreadable")
