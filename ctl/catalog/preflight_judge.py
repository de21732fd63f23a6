"""Foretell what GitLab's importer makes of what a tag names: an image or an index. Pure."""

from __future__ import annotations

from dataclasses import replace

from ctl.catalog.digests import revision_path
from ctl.catalog.preflight_image import ImageJudge, Outcome
from ctl.catalog.preflight_json import Parsed, Reference
from ctl.catalog.preflight_names import LENGTH, digest_fault, storable
from ctl.catalog.preflight_read import Loaded
from ctl.catalog.preflight_words import KINDS, Effect, PreflightFinding, found


class Judge(ImageJudge):
    """Judges the manifests of one repository that its tags name."""

    def judge(self, digest: str) -> Outcome:
        """Say what becomes of a manifest that a tag names."""
        if not storable(digest):
            outcome = Outcome()
            path = revision_path(self.repository, digest)
            reason = "a hash that the database has no number for"
            outcome.stop(self.found("unsupported-digest", path, reason, digest), "skip")
            return outcome
        loaded = self.load(digest)
        outcome_of = self._faulty(loaded)
        if outcome_of is not None:
            return outcome_of
        parsed = loaded.parsed or Parsed("schema1")
        return self._index(loaded, parsed) if parsed.kind == "index" else self.image(loaded, parsed)

    def _faulty(self, loaded: Loaded) -> Outcome | None:
        """Say what becomes of a manifest that cannot be read; None where it can."""
        outcome = Outcome()
        if loaded.parsed is None:
            one = self.found(loaded.fault, loaded.path, loaded.reason, loaded.digest)
            if KINDS[loaded.fault].effect is Effect.ABORT:
                outcome.stop(one, "skip")
            else:
                outcome.skip(one)
            return outcome
        if loaded.parsed.kind == "schema1":
            outcome.skip(self.found("schema1-manifest", loaded.path, "schemaVersion is 1", loaded.digest))
            return outcome
        return None

    def _index(self, loaded: Loaded, parsed: Parsed) -> Outcome:
        outcome = Outcome()
        kept: list[str] = []
        hider = ""
        for position, child in enumerate(parsed.children):
            at = len(outcome.findings)
            status = self._child(loaded, child, outcome)
            if status == "nested":
                return outcome
            if hider:
                outcome.findings[at:] = [_hidden(one, hider) for one in outcome.findings[at:]]
                continue
            if status == "ok":
                kept.append(child.digest)
            elif status == "lost":
                later = tuple(one.digest for one in parsed.children[position + 1 :])
                hider = self._lose_later(outcome, loaded, child, later)
        outcome.children = tuple(dict.fromkeys(kept))
        self.mark(loaded, outcome)
        return outcome

    def _child(self, index: Loaded, child: Reference, outcome: Outcome) -> str:
        """Add what becomes of a child: "ok", "lost" with all after it, "gone" alone, "nested", or "abort"."""
        if fault := digest_fault(child.digest):
            reason = f"names {child.digest[:90]!a}"
            if fault == LENGTH:
                outcome.stop(self.found("bad-descriptor", index.path, reason, index.digest, own=True), "skip")
                return "nested"
            outcome.findings.append(self.found("lost-child", index.path, reason, index.digest))
            return "gone"
        loaded = self.load(child.digest)
        if loaded.parsed is not None and loaded.parsed.kind == "index":
            reason = f"its child {child.digest} is an index"
            outcome.stop(self.found("nested-index", index.path, reason, index.digest, own=True), "skip")
            return "nested"
        judged = self._faulty(loaded)
        taken = judged or self.image(loaded, loaded.parsed or Parsed("image"))
        outcome.findings += taken.findings
        if taken.cause is not None and KINDS[taken.cause.kind].effect is Effect.ABORT:
            outcome.findings.append(taken.cause)
        if taken.now == "abort":
            if outcome.now == "ok":
                outcome.now = "abort"
            # once its config's link is moved it is a child with a bad config, which costs those after it
            return "ok" if taken.after == "ok" else ("lost" if judged is None and not _own(taken) else "gone")
        if taken.now == "ok":
            return "ok"
        if judged is None:
            return "lost"
        reason = f"its child {child.digest} is not imported: {taken.cause.reason if taken.cause else ''}"
        outcome.findings.append(self.found("lost-child", index.path, reason, index.digest))
        return "gone"

    def _lose_later(self, outcome: Outcome, index: Loaded, child: Reference, later: tuple[str, ...]) -> str:
        """Note a child that is lost with all after it; return what has to be moved to save those."""
        path = revision_path(self.repository, child.digest)
        reason = f"a child of the index {index.digest}: its config or a layer cannot be imported"
        if not later:
            outcome.findings.append(self.found("lost-child", index.path, reason, index.digest))
            return path
        reason += f"; {len(later)} children after it are lost with it"
        one = found(
            path,
            "lost-children",
            reason,
            move=path,
            repository=self.repository,
            digest=index.digest,
            lost=(child.digest, *later),
        )
        outcome.findings.append(one)
        return path


def _own(outcome: Outcome) -> bool:
    """Say whether what is to be moved is the manifest's own link."""
    return outcome.cause is not None and "/_manifests/revisions/" in outcome.cause.move


def _hidden(one: PreflightFinding, by: str) -> PreflightFinding:
    return one if one.hidden_by else replace(one, hidden_by=by)
