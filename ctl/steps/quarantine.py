"""Step: move aside what GitLab's import would stop at, so that it ends; its undo brings every byte back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ctl.catalog.preflight_words import Effect, PreflightFinding
from ctl.catalog.tree import printable
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.events import Message
from ctl.report.model import Json, Table
from ctl.steps.preflight import read_preflight, result_problems
from ctl.steps.storage_gate import metadata_in_use
from ctl.storage.far_acting import demand_here
from ctl.storage.quarantine import Quarantine as Aside
from ctl.storage.quarantine import quarantines

if TYPE_CHECKING:
    from ctl.world import World

ROUNDS = 8  # moving one entry may bring another to light: an index's children behind a bad one
SHOWN = 40
REPORTED = 1000


class Quarantine(Undoable):
    """Move what the import would stop at, or what hides healthy entries from it, out of the tree.

    What it would only drop stays where it is: moving that saves nothing. Entries are renamed, never copied;
    `regctl registry quarantine undo RUN` brings them back at any later time.
    """

    registry: str

    def title(self) -> str:
        """Name the registry."""
        return f"move aside what an import of {self.registry} would stop at"

    def check(self, here: Target) -> Iterator[Problem]:
        """Refuse where the tree is not what is live, and where entries cannot be renamed."""
        yield from metadata_in_use(here.world, self.registry, importing=True)
        storage = here.world.storage(self.registry)
        if not storage.exists():
            yield Problem(f"{storage.root} is not there", hint="is the disk mounted?")
            return
        if here.run.id:
            return  # it reads the tree anew before each move
        result = read_preflight(here.world, self.registry)
        moves = [one.move for one in result.moves()]
        for reason in aside_of(here, self.registry).problems(moves):
            yield Problem(reason, hint="a quarantine only renames, within one file system")
        for problem in result_problems(result, self.registry, quarantine=True):
            if problem.blocking:
                yield problem

    def observe(self, here: Target) -> Before:
        """Name the folder; what is in it is its own list."""
        return {"folder": aside_of(here, self.registry).folder}

    def preview(self, here: Target) -> Preview:
        """Show what would be moved, and what that costs."""
        result = read_preflight(here.world, self.registry)
        moves = result.moves()
        data: dict[str, Json] = {
            "moves": len(moves),
            "moved": moved_data(moves),
            "tags": result.counts.tags,
            "tags_lost": result.counts.tags_lost,
        }
        return Preview(self.title(), bool(moves), moves_blocks(moves), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Move, look again, and go on until nothing is left that stops the import."""
        aside = aside_of(here, self.registry)
        count, _ = aside.finish(here.run.guard)
        header = {
            "registry": self.registry,
            "run": here.run.id,
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for _ in range(ROUNDS):
            moved, changed = self._round(here, aside, header)
            count += moved
            for path in changed[:SHOWN]:
                here.run.emit(Message(f"{path} changed since it was looked at, and stays", "warning"))
            if not moved:
                break
        items = list(aside.items()) if aside.exists() else []
        paths: list[Json] = [printable(item.path) for item in items if aside.held(item)]
        data: dict[str, Json] = {"moves": len(paths), "paths": paths[:REPORTED], "folder": aside.folder}
        return StepReport(data, changed=bool(count))

    def _round(self, here: Target, aside: Aside, header: dict[str, str]) -> tuple[int, list[str]]:
        """Move what is bad now, if it is still bad after a second look."""
        first = read_preflight(here.world, self.registry).moves()
        items = aside.describe((one.move, _about(one)) for one in first)
        if not items:
            return 0, []
        only = {one.repository for one in first}
        still = {one.move for one in read_preflight(here.world, self.registry, only=only).moves()}
        # a push between the two looks may have mended an entry: its print would then be a healthy one's
        return aside.move((item for item in items if item.asked in still), header, here.run.guard)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """It is always safe to go on: what is moved already stays moved."""
        return "partial" if aside_of(here, self.registry).exists() else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Nothing may be left that stops the import."""
        stopping = read_preflight(here.world, self.registry).of(Effect.ABORT)
        if stopping:
            yield Problem(
                f"{len(stopping)} entries would still stop the import, the first is {stopping[0].path}",
                hint=stopping[0].remedy,
            )

    def undo(self, here: Target, before: Before) -> None:
        """Bring everything back as it was."""
        aside_of(here, self.registry).put_back(here.run.guard)


class RestoreQuarantine(Step):
    """Bring back what an earlier run moved aside."""

    registry: str
    run: str

    def title(self) -> str:
        """Name the run."""
        return f"bring back what {self.run} moved aside in {self.registry}"

    def check(self, here: Target) -> Iterator[Problem]:
        """Everything must be able to go back.

        The gate is not asked: a registry on its metadata database reads no tree, and bringing back loses
        nothing. docs/decisions/0504 says more.
        """
        aside = self._aside(here.world)
        if not aside.exists():
            yield Problem(
                f"nothing of {self.run} is aside in {self.registry}",
                hint="`regctl registry quarantine list` names the runs",
            )
            return
        for obstacle in aside.obstacles():
            yield Problem(obstacle, hint="settle it by hand; nothing is ever overwritten")

    def observe(self, here: Target) -> Before:
        """Say how much is to come back."""
        aside = self._aside(here.world)
        return {"folder": aside.folder, "items": sum(1 for item in aside.items() if aside.held(item))}

    def preview(self, here: Target) -> Preview:
        """List what comes back."""
        aside = self._aside(here.world)
        paths = [printable(item.path) for item in aside.items() if aside.held(item)]
        rows = tuple((path,) for path in paths[:SHOWN])
        blocks = (Table(("path",), rows, f"{len(paths)} entries come back"),) if rows else ()
        return Preview(self.title(), aside.exists(), blocks, {"moves": len(paths), "paths": paths[:REPORTED]})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Rename everything back; RefusedError, with nothing changed, where a place is taken."""
        aside = self._aside(here.world)
        paths: list[Json] = [printable(item.path) for item in aside.items() if aside.held(item)]
        aside.put_back(here.run.guard)
        return StepReport({"moves": int(before["items"]), "paths": paths[:REPORTED]})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Done when nothing of the run is aside any more."""
        return "partial" if self._aside(here.world).exists() else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Nothing may be left aside."""
        if self._aside(here.world).exists():
            yield Problem(f"{self._aside(here.world).folder} is still there")

    def _aside(self, world: World) -> Aside:
        return Aside(demand_here(world.storage(self.registry), "moving entries of a tree aside"), self.run)


def aside_of(here: Target, registry: str) -> Aside:
    """The entries that this run moves aside in the storage of a registry."""
    root = demand_here(here.world.storage(registry), "moving entries of a tree aside")
    return Aside(root, here.run.id or "preview")


def moved_data(moves: list[PreflightFinding]) -> list[Json]:
    """Return what is moved, as data."""
    return [
        {
            "path": printable(one.move),
            "kind": one.kind,
            "effect": str(one.effect),
            "repository": one.repository,
            "tag": one.tag,
            "reason": one.reason,
        }
        for one in moves[:REPORTED]
    ]


def moves_blocks(moves: list[PreflightFinding]) -> tuple[Table, ...]:
    """Return a table of what is moved."""
    if not moves:
        return ()
    rows = tuple((one.kind, printable(one.move), one.reason) for one in moves[:SHOWN])
    more = f", the first {SHOWN}" if len(moves) > SHOWN else ""
    return (Table(("kind", "path", "reason"), rows, f"{len(moves)} entries to be moved aside{more}"),)


def _about(one: PreflightFinding) -> dict[str, str]:
    return {"kind": one.kind, "repository": one.repository, "tag": one.tag, "reason": one.reason[:200]}


def listed(world: World, registry: str) -> list[dict[str, Any]]:
    """Return what lies aside in a registry's storage, by run: `run created folder entries`; only reads."""
    root = demand_here(world.storage(registry), "moving entries of a tree aside")
    found: list[dict[str, Any]] = []
    for run in quarantines(root):
        aside = Aside(root, run)
        header = aside.header()
        if header.get("registry", registry) != registry:
            continue
        entries = [{**item.about, "path": printable(item.path)} for item in aside.items() if aside.held(item)]
        created = str(header.get("created", ""))
        found.append({"run": run, "created": created, "folder": aside.folder, "entries": entries})
    return found
