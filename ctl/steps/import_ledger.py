"""What an import took in and what it passed over, gathered from its log record by record. Pure.

The program warns once or several times for one thing: the cause, then what follows from it, in step one
and again in step two. The ledger makes one entry of that, with its cause, and says what it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from ctl.catalog.digests import revision_path, tag_path
from ctl.engines.gitlab_import_skips import SKIPS, Effect, is_child, is_consequence
from ctl.engines.metadata import ImportRecord, ImportStep

KEPT = 100_000  # entries that are kept one by one; beyond they are only counted
_MEDIA_TYPES = 100
_LISTS = frozenset({"pre-importing manifest list", "importing manifest list"})
_RETRY = "retrying pre import manifest"


@dataclass(frozen=True)
class Passed:
    """One thing that an import passed over, and what it costs: see docs/reference/import-skips.md."""

    repository: str
    tag: str
    digest: str
    reason: str
    effect: Effect
    step: str

    @property
    def path(self) -> str:
        """The entry in the storage tree that it is about."""
        if self.tag:
            return tag_path(self.repository, self.tag)
        return revision_path(self.repository, self.digest) if ":" in self.digest else self.repository

    def data(self) -> dict[str, str]:
        """Return it for a report: `kind` is the stable word, `reason` says it to people."""
        says = SKIPS[self.reason].says
        return {**asdict(self), "path": self.path, "kind": self.reason, "reason": says}


@dataclass
class _Turn:
    """What was said while one tag (or a repository as a whole) had its turn."""

    step: ImportStep
    repository: str
    tag: str = ""
    in_list: bool = False
    dropped: bool = False
    causes: list[tuple[str, str, Effect]] = field(default_factory=list)  # reason, digest, what it costs


class ImportLedger:
    """Takes records in their order; `passed` and the counts are complete after `close`."""

    def __init__(self) -> None:
        self.repositories: Counter[ImportStep] = Counter()
        self.tags: Counter[ImportStep] = Counter()
        self.blobs = 0
        self.blob_bytes = 0
        self.media_types: set[str] = set()  # that the database did not know before
        self.retried = 0
        self.messages = 0  # warnings and errors, as the program counts them
        self._turn: _Turn | None = None
        self._first: dict[tuple[str, str], list[Passed]] = {}  # step one, by repository and tag
        self._second: dict[tuple[str, str], list[Passed]] = {}
        self._kept = 0
        self._beyond: Counter[str] = Counter()  # by effect, entries that were not kept

    def add(self, record: ImportRecord) -> None:
        """Take the next record."""
        kind = record.kind
        if kind == "tag" and record.step:
            self.tags[record.step] += 1
            self._begin(record.step, record.repository, record.tag)
        elif kind == "repository" and record.step:
            self._begin(record.step, record.repository)
        elif kind == "repository-done" and record.step:
            self.close()
            self.repositories[record.step] += 1
        elif kind == "blob":
            self.blobs += 1
            size = record.fields.get("size")
            self.blob_bytes += size if isinstance(size, int) else 0
        elif kind == "done":
            self.close()
        elif kind in ("skipped", "error"):
            self.messages += 1
            self._passed(record)
        elif record.message in _LISTS and self._turn is not None:
            self._turn.in_list = True
        elif record.message == _RETRY:
            self.retried += 1
        elif record.reason == "media-type-new" and len(self.media_types) < _MEDIA_TYPES:
            self.media_types.add(str(record.fields.get("media_type", "")))

    def close(self) -> None:
        """End the turn that is open; safe to call more than once."""
        turn, self._turn = self._turn, None
        if turn is None or not (turn.causes or turn.dropped):
            return
        causes = turn.causes or [("other", "", "dropped")]
        if turn.dropped:
            own = next((cause for cause in causes if not is_consequence(cause[0])), causes[0])
            causes = [(own[0], own[1], "dropped")]
        for reason, digest, effect in causes:
            passed = Passed(turn.repository, turn.tag, digest, reason, effect, turn.step.value)
            self._keep(passed, self._first if turn.step is ImportStep.ONE else self._second)

    def passed(self) -> Iterator[Passed]:
        """Yield every entry; what step two says of a tag stands for what step one said of it."""
        for key, entries in self._first.items():
            if key not in self._second:
                yield from entries
        for entries in self._second.values():
            yield from entries

    def by_effect(self) -> Counter[str]:
        """Count the entries by what they cost."""
        return Counter(one.effect for one in self.passed()) + self._beyond

    def by_reason(self) -> Counter[str]:
        """Count the entries by their cause."""
        return Counter(one.reason for one in self.passed())

    def _begin(self, step: ImportStep, repository: str, tag: str = "") -> None:
        self.close()
        self._turn = _Turn(step, repository, tag)

    def _passed(self, record: ImportRecord) -> None:
        step = record.step or (self._turn.step if self._turn else ImportStep.ONE)
        if record.reason == "repository-unreadable":
            self._begin(step, record.repository)
        turn = self._turn
        if turn is None or (record.repository and record.repository != turn.repository):
            self._begin(step, record.repository, record.tag)
            turn = self._turn
        assert turn is not None  # noqa: S101 - begun just above; this tells the type checker
        effect = _effect(record, turn)
        turn.dropped = turn.dropped or effect == "dropped"
        turn.causes.append((record.reason, record.digest, effect))

    def _keep(self, passed: Passed, where: dict[tuple[str, str], list[Passed]]) -> None:
        if self._kept >= KEPT:
            self._beyond[passed.effect] += 1
            return
        self._kept += 1
        where.setdefault((passed.repository, passed.tag), []).append(passed)


def _effect(record: ImportRecord, turn: _Turn) -> Effect:
    """Say what a warning costs: the tag whose turn it is, or only a part of what the tag needs."""
    usual = SKIPS[record.reason].effect
    if usual != "dropped" or "tag_name" in record.fields:
        return usual
    if is_child(record.fields):
        return "incomplete"
    if turn.in_list and record.reason != "repository-unreadable":
        # In step one an index stays without this child and those after it. In step two the tag goes too, but
        # then a warning that names the tag follows.
        return "incomplete"
    return usual if turn.step is ImportStep.ONE or not turn.tag else "incomplete"
