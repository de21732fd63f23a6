"""Write one registry's copy: batches of rows by COPY, merged as sets, each batch one fenced transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, LiteralString

from ctl.catalog.model import Counts, Finding
from ctl.catalog.store import digest_range
from ctl.catalog.tree import LAYERS, REVISIONS, TAGS
from ctl.errors import LockedError

if TYPE_CHECKING:
    from ctl.catalog.read_manifests import ReadManifest
    from ctl.database.base import Session

BATCH_ROWS = 20_000


@dataclass
class PrintsUpdate:
    """The prints of a repository that was read to the end, by part."""

    repository: int
    prints: Mapping[str, bytes | None]
    scanned_ns: int


@dataclass
class Batch:
    """Rows for one transaction."""

    revisions: list[Sequence[Any]] = field(default_factory=list)
    layers: list[Sequence[Any]] = field(default_factory=list)
    tags: list[Sequence[Any]] = field(default_factory=list)
    blobs: list[Sequence[Any]] = field(default_factory=list)
    prints: list[PrintsUpdate] = field(default_factory=list)
    shards: list[tuple[str, bytes | None, bytes | None]] = field(default_factory=list)
    findings: dict[str, list[Finding]] = field(default_factory=dict)  # scope -> what replaces it

    def __len__(self) -> int:
        rows = len(self.revisions) + len(self.layers) + len(self.tags) + len(self.blobs)
        return rows + 20 * (len(self.prints) + len(self.shards))

    def links(self, part: str) -> list[Sequence[Any]]:
        """Return the rows of one kind of links."""
        return {REVISIONS: self.revisions, LAYERS: self.layers, TAGS: self.tags}[part]


class CatalogWriter:
    """The one writer of a registry's copy, fenced by its run's epoch.

    Each method that writes raises LockedError once a run with a higher epoch has taken over.
    """

    def __init__(self, session: Session, registry: str, root: str, *, run_id: str, epoch: int) -> None:
        self.session = session
        self.run_id = run_id
        self.epoch = epoch
        row = session.one(self._sql["claim_registry"], [registry, root, epoch])
        if row is None:
            raise _overtaken()
        self.registry, self.generation, self.dirty = int(row[0]), int(row[1]), bool(row[2])
        self._knows_manifests = session.one(self._sql["any_manifest"], [self.registry]) is not None
        session.execute(self._sql["staging"])
        with session.transaction():
            self._fence()
            session.execute(self._sql["abandon_imports"], [self.registry, run_id])
            session.execute(self._sql["begin_import"], [self.registry, run_id])
            session.execute(self._sql["trim_imports"], [self.registry, self.registry])

    def add_repositories(self, names: Sequence[str]) -> dict[str, int]:
        """Make sure that repositories are there; map their names to their ids."""
        with self.session.transaction():
            self._fence()
            rows = self.session.rows(self._sql["add_repositories"], [self.registry, list(names)])
        return {name: int(number) for name, number in rows}

    def stage(self, batch: Batch) -> None:
        """Merge a batch's rows; must run inside `transaction`."""
        for kind, rows in (
            ("revisions", batch.revisions),
            ("layers", batch.layers),
            ("tags", batch.tags),
            ("blobs", batch.blobs),
        ):
            if rows:
                self._mark_dirty()
                self.session.copy_in(self._sql[f"copy_{kind}"], rows)
                if any(row[-1] for row in rows):
                    self._execute(f"drop_{kind}", self.registry)
                self._execute(f"merge_{kind}", self.registry)
        if batch.blobs and self._knows_manifests:
            self._execute("doubt_manifests", self.registry, self.registry)
        self.replace_findings(batch.findings)
        for update in batch.prints:
            values: list[Any] = []
            for part in (REVISIONS, TAGS, LAYERS):
                values += [part in update.prints, update.prints.get(part)]
            self._execute("set_prints", *values, update.scanned_ns, self.registry, update.repository)
        for shard, names, stats in batch.shards:
            self._execute("set_shard", self.registry, shard, names, stats)

    def transaction(self) -> Any:
        """Open a fenced transaction."""
        return _Fenced(self)

    def new_manifests(self) -> list[bytes]:
        """Return the manifests linked by the staged rows that were never read."""
        rows = self.session.rows(self._sql["new_manifests"], [self.registry])
        return [bytes(row[0]) for row in rows]

    def children_to_parse(self, limit: int) -> list[bytes]:
        """Return children of indexes that were never read."""
        rows = self.session.rows(self._sql["children_to_parse"], [self.registry, limit])
        return [bytes(row[0]) for row in rows]

    def doubtful_manifests(self, after: bytes, limit: int) -> list[tuple[bytes, str]]:
        """Return (digest, state) of manifests that are to be read again."""
        rows = self.session.rows(self._sql["doubtful_manifests"], [self.registry, after, limit])
        return [(bytes(digest), state) for digest, state in rows]

    def put_manifests(self, manifests: Sequence[ReadManifest]) -> None:
        """Store manifests and what they refer to, in place of what was known; inside `transaction`."""
        if not manifests:
            return
        self._knows_manifests = True
        self.session.copy_in(self._sql["copy_manifests"], (one.row() for one in manifests))
        self._execute("drop_references", self.registry)
        self._execute("drop_manifests", self.registry)
        self._execute("merge_manifests", self.registry)
        references = (row for one in manifests for row in one.reference_rows())
        self.session.copy_in(self._sql["copy_references"], references)
        self._execute("merge_references", self.registry)
        for table in ("stage_manifests", "stage_references"):
            self.session.execute(_TRUNCATE[table])
        self.replace_findings({one.scope: one.findings for one in manifests})

    def replace_findings(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        """Replace the findings of the scopes named; inside `transaction`."""
        if not findings:
            return
        self._execute("drop_findings", self.registry, list(findings))
        rows = [(scope, f.path, f.kind, f.reason) for scope, found in findings.items() for f in found]
        if rows:
            self.session.copy_in(self._sql["copy_findings"], rows)
            self._execute("merge_findings", self.registry, self.generation + 1)
            self.session.execute(_TRUNCATE["stage_findings"])

    def drop_repository(self, number: int, scopes: Sequence[str]) -> None:
        """Forget a repository that is gone."""
        with self.transaction():
            self._mark_dirty()
            for kind in ("revisions", "layers", "tags"):
                self._execute(f"drop_repository_{kind}", self.registry, number)
            self._execute("drop_repository", self.registry, number)
            self._execute("drop_findings", self.registry, list(scopes))

    def drop_shard(self, shard: str) -> None:
        """Forget a folder of blobs that is gone."""
        with self.transaction():
            self._mark_dirty()
            self._execute("stage_blobs_between", self.registry, *digest_range(shard))
            self._execute("doubt_manifests", self.registry, self.registry)
            self._execute("drop_blobs", self.registry)
            self._execute("drop_shard", self.registry, shard)
            self._execute("drop_findings", self.registry, [f"blobs {shard}"])

    def prune_manifests(self) -> None:
        """Forget manifests that no repository links and no index has as a child."""
        with self.transaction():
            while self._execute("prune_manifests", self.registry):
                self._execute("prune_references", self.registry)
            self._execute("prune_manifest_findings", self.registry)

    def analyze(self) -> None:
        """Let the database's planner know how much there is now."""
        self.session.execute(self._sql["analyze"])

    def derived(self, name: str) -> list[tuple[Any, ...]]:
        """Return the rows of one query of derived.sql."""
        query = self._sql[name]
        return self.session.rows(query, [self.registry] * query.count("%s"))

    def counts(self) -> Counts:
        """Count what the copy holds."""
        row = self.session.one(self._sql["counts"], [self.registry] * 6) or (0,) * 6
        return Counts(*(int(value) for value in row))

    def recounted(self) -> Counts:
        """Return the last complete import's counts with the findings counted anew."""
        row = self.session.one(self._sql["recount"], [self.registry, self.registry])
        return Counts(**{**row[0], "problems": int(row[1])}) if row else Counts()

    def complete(self, counts: Counts) -> int:
        """End the import: one more generation. Returns it."""
        text = json.dumps(asdict(counts))
        generation = self.generation + 1
        with self.transaction():
            self._execute("complete_registry", generation, text, self.registry, self.epoch)
            self._execute("complete_import", generation, text, self.registry, self.run_id)
        return generation

    def _mark_dirty(self) -> None:
        """Remember, with the first rows, that what is derived from them must be made anew."""
        if not self.dirty:
            self._execute("mark_dirty", self.registry, self.epoch)
            self.dirty = True

    def _fence(self) -> None:
        if self.session.one(self._sql["fence"], [self.registry, self.epoch]) is None:
            raise _overtaken()

    def _execute(self, name: str, *parameters: Any) -> int:
        return self.session.execute(self._sql[name], parameters)

    @cached_property
    def _sql(self) -> Mapping[str, LiteralString]:
        from ctl.database.queries import load_queries

        return load_queries("ctl.catalog.sql")


class _Fenced:
    """A transaction that begins by proving that nobody has taken over."""

    def __init__(self, writer: CatalogWriter) -> None:
        self._writer = writer
        self._transaction = writer.session.transaction()

    def __enter__(self) -> None:
        self._transaction.__enter__()
        try:
            self._writer._fence()
        except BaseException as error:
            self._transaction.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *error: Any) -> Any:
        return self._transaction.__exit__(*error)


_TRUNCATE: Mapping[str, LiteralString] = {
    "stage_manifests": "TRUNCATE stage_manifests",
    "stage_references": "TRUNCATE stage_references",
    "stage_findings": "TRUNCATE stage_findings",
}


def _overtaken() -> LockedError:
    return LockedError(
        "another run has taken over this registry's catalog; nothing more was written",
        hint="`regctl lock status` says who; run the same command again when it is done",
    )
