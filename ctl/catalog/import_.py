"""Bring the catalog database up to date with a tree, incrementally and resumably.

What makes it safe to kill at any point: rows and the print that says "this was read to the end" are
committed together, so the next import passes over what is done; a manifest's row is its proof of having
been parsed; the generation moves only at the very end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ctl.catalog.delta import (
    Delta,
    RepositoryChange,
    blob_operations,
    find_changes,
    link_operations,
    listings,
)
from ctl.catalog.derive import SCOPE, derived_findings
from ctl.catalog.links import Put
from ctl.catalog.model import Counts, Finding
from ctl.catalog.read_manifests import DOUBTFUL, read_manifests
from ctl.catalog.tree import LAYERS, PARTS, REVISIONS, Tree, missing_root
from ctl.catalog.writer import BATCH_ROWS, Batch, CatalogWriter, PrintsUpdate
from ctl.errors import InterruptedRunError, RefusedError

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogReader
    from ctl.report.events import EventSink

Item = TypeVar("Item")
_MANIFESTS_AT_ONCE = 1000
_NAMES_AT_ONCE = 500
_ANALYZE_FROM = 5000  # rows written: fewer do not change what the planner should think


@dataclass(frozen=True)
class Hooks:
    """What an import asks its surroundings while it works."""

    emit: EventSink = lambda event: None
    stopping: Callable[[], bool] = lambda: False
    guard: Callable[[], None] = lambda: None


@dataclass
class Imported:
    """What an import did. `written` counts links and blobs put or dropped."""

    counts: Counts = field(default_factory=Counts)
    generation: int = 0
    changed: bool = False
    written: int = 0
    parsed: int = 0
    seconds: float = 0.0

    def data(self) -> dict[str, int | float | bool]:
        """Return the figures for a report."""
        return {
            **asdict(self.counts),
            "generation": self.generation,
            "written": self.written,
            "parsed": self.parsed,
            "seconds": round(self.seconds, 3),
        }


def demand_tree(tree: Tree, known_repositories: int, *, accept_empty: bool = False) -> None:
    """Refuse to take a missing disk for an empty registry.

    Raises UnreachableError if the root is not there, RefusedError if it is empty although the catalog knows
    repositories.
    """
    root = tree.storage.root
    if not tree.storage.exists():
        raise missing_root(root)
    if known_repositories and not accept_empty and not tree.present():
        raise RefusedError(
            f"{root} holds no registry, but the catalog knows {known_repositories} repositories in it",
            hint="mount the disk; if the registry was really emptied, give --accept-empty",
        )


class TreeImport:
    """One import of a tree into a registry's copy."""

    def __init__(self, tree: Tree, writer: CatalogWriter, reader: CatalogReader, hooks: Hooks) -> None:
        self.tree = tree
        self.writer = writer
        self.reader = reader
        self.hooks = hooks
        self.done = Imported()
        self.batch = Batch()
        self.meter = Meter(hooks.emit)
        self.scanned_ns = time.time_ns()

    def run(self) -> Imported:
        """Import; raises LockedError when overtaken, InterruptedRunError when asked to stop."""
        started = time.monotonic()
        delta = find_changes(self.tree, self.reader)
        self.meter.total = delta.entries
        self._blobs(delta)
        for changes in _slices((c for c in delta.repositories if c.folder is not None), _NAMES_AT_ONCE):
            self._links(changes)
        self._flush()
        self._vanished(delta)
        self._parse_children()
        self._parse_doubtful()
        self._finish(delta)
        self.done.seconds = time.monotonic() - started
        self.meter.end()
        return self.done

    def _blobs(self, delta: Delta) -> None:
        for listing in self.tree.blobs(delta.shards):
            found: list[Finding] = []
            for one in blob_operations(self.reader, listing.shard, listing.part, found):
                if isinstance(one, Put):
                    self.batch.blobs.append((one.digest, one.size, one.mtime_ns, False))
                else:
                    self.batch.blobs.append((one.key, None, None, True))
            self.batch.findings[f"blobs {listing.shard}"] = found
            names = listing.part.print(stats=False)
            self.batch.shards.append((listing.shard, names, listing.part.print()))
            self._advance(len(listing.part))

    def _links(self, changes: Sequence[RepositoryChange]) -> None:
        new = [change.name for change in changes if change.stored is None]
        numbers = self.writer.add_repositories(new) if new else {}
        for change, listing in zip(changes, listings(self.tree, changes), strict=True):
            number = change.stored.id if change.stored else numbers[change.name]
            prints = listing.prints()
            for kind in change.parts:
                found: list[Finding] = []
                if kind == REVISIONS:
                    found.extend(listing.folder.findings)
                rows = self.batch.links(kind)
                for one in link_operations(self.tree, self.reader, change, listing.parts[kind], kind, found):
                    key: tuple[object, ...] = (number, one.key)
                    if isinstance(one, Put):
                        rows.append((*key, *_named(kind, one), one.size, one.mtime_ns, False))
                    else:
                        nothing = (None, None) if kind == REVISIONS else (None, None, None)
                        rows.append((*key, *nothing, True))
                    if len(rows) >= BATCH_ROWS:
                        self._flush()
                        rows = self.batch.links(kind)
                if any(one.kind == "unreadable-link" for one in found):
                    prints[kind] = None  # it may be readable the next time, with the same stat
                self.batch.findings[f"{kind} {change.name}"] = found
                self._advance(len(listing.parts[kind]))
            kept = {kind: prints[kind] for kind in change.parts}
            self.batch.prints.append(PrintsUpdate(number, kept, self.scanned_ns))

    def _advance(self, entries: int) -> None:
        self.meter.add(entries)
        if len(self.batch) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Commit what has been gathered, with the manifests that it brings."""
        batch, self.batch = self.batch, Batch()
        if not len(batch) and not batch.findings:
            return
        self._safe_point()
        with self.writer.transaction():
            self.writer.stage(batch)
            if batch.revisions:
                self._read(self.writer.new_manifests())
        rows = (batch.revisions, batch.layers, batch.tags, batch.blobs)
        written = sum(map(len, rows))
        self.done.written += written
        self.done.changed |= written > 0

    def _safe_point(self) -> None:
        if self.hooks.stopping():
            raise InterruptedRunError(
                "the import was stopped; what was read is kept",
                hint="the same command goes on from here",
            )
        self.hooks.guard()

    def _read(self, digests: Sequence[bytes]) -> None:
        for some in _slices(digests, _MANIFESTS_AT_ONCE):
            self.writer.put_manifests(read_manifests(self.tree.storage, some))
            self.done.parsed += len(some)
            self.meter.show()

    def _vanished(self, delta: Delta) -> None:
        for shard in delta.vanished_shards:
            self._safe_point()
            self.writer.drop_shard(shard)
            self.done.changed = True
        for change in delta.repositories:
            if change.folder is None and change.stored is not None:
                self._safe_point()
                scopes = [f"{part} {change.name}" for part in PARTS]
                self.writer.drop_repository(change.stored.id, scopes)
                self.done.changed = True

    def _parse_children(self) -> None:
        """Read index children that no repository links: what they need is in use all the same."""
        if not self.writer.dirty:
            return
        while digests := self.writer.children_to_parse(_MANIFESTS_AT_ONCE):
            self._safe_point()
            with self.writer.transaction():
                self._read(digests)

    def _parse_doubtful(self) -> None:
        """Read again what could not be read, or was not what its digest says: it may have been mended."""
        after = b""
        while known := self.writer.doubtful_manifests(after, _MANIFESTS_AT_ONCE):
            after = known[-1][0]
            states = dict(known)
            read = read_manifests(self.tree.storage, [digest for digest, _ in known])
            other = [one for one in read if one.state != states[one.digest] or one.state == DOUBTFUL]
            if other:
                self._safe_point()
                with self.writer.transaction():
                    self.writer.put_manifests(other)
                self.done.changed |= any(one.state != states[one.digest] for one in other)

    def _finish(self, delta: Delta) -> None:
        self._safe_point()
        writer = self.writer
        if writer.dirty or self.done.changed:
            writer.prune_manifests()
            if self.done.written >= _ANALYZE_FROM or not writer.generation:
                writer.analyze()
            derived = list(derived_findings(writer))
            with writer.transaction():
                writer.replace_findings({SCOPE: derived, "tree": delta.findings})
            self.done.counts = writer.counts()
        else:
            with writer.transaction():
                writer.replace_findings({"tree": delta.findings})
            self.done.counts = writer.recounted()
        self.done.generation = writer.complete(self.done.counts)


class Meter:
    """Tell how far an import or a comparison is, a few times a second."""

    def __init__(self, emit: EventSink, total: int = 0, task: str = "import") -> None:
        self._task = task
        self.total = total
        self._emit = emit
        self._done = 0
        self._started = time.monotonic()
        self._shown = 0.0

    def add(self, entries: int) -> None:
        """Count entries as compared."""
        self._done += entries
        self.show()

    def show(self, *, finished: bool = False) -> None:
        """Emit the progress, unless that was done a moment ago."""
        now = time.monotonic()
        if not finished and now - self._shown < 0.2:
            return
        from ctl.report.events import Progress

        self._shown = now
        rate = self._done / max(now - self._started, 1e-6)
        eta = (self.total - self._done) / rate if rate and self._done <= self.total else None
        done = self.total if finished or not self.total else min(self._done, self.total)
        self._emit(Progress(self._task, done, self.total, "entries", rate, eta, finished))

    def end(self) -> None:
        """Emit the last progress."""
        self.show(finished=True)


def _named(kind: str, one: Put[Any]) -> tuple[bytes | None, ...]:
    """Return the digest that a row of this kind holds beside its key."""
    if kind == REVISIONS:
        return ()
    return (None,) if kind == LAYERS and one.digest == one.key else (one.digest,)


def _slices(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while some := list(islice(source, size)):
        yield some
