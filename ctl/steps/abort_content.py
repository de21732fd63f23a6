"""End what prepares a Pulp's content from another terminal: after the chunk at work, never in its middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import Outcome, UnreachableError
from ctl.recipes import runs
from ctl.recipes.model import Across, Before, Do, Preview, ProbeAnswer, Problem, Recipe, Row, Step, StepReport
from ctl.report.events import Message
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.content_job import CHUNK_GRACE

if TYPE_CHECKING:
    from ctl.recipes.model import RunReport, Target
    from ctl.recipes.state import RunState
    from ctl.world import World

NAME = "content-abort"
_STEP = ".PrepareContent"
_LAST = 20  # closed runs that are looked at: one may have been abandoned, or cut off from its host


@dataclass(frozen=True)
class Preparing:
    """A job that was begun by a run of ours and whose end no journal tells."""

    run: str
    host: str
    job: str
    open: bool  # whether its run is: then `run resume` goes on


class EndPreparing(Step):
    """Ask one job to stop, and wait until it has: the chunk at work is finished first."""

    host_name: str
    job: str

    interruptible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Say what is ended where."""
        return f"end the preparing on {self.host_name} after the manifests at work"

    def host(self) -> str:
        """Name the host that it works on."""
        return self.host_name

    def preview(self, here: Target) -> Preview:
        """Say whether it is still at work."""
        if here.world.host(self.host_name).job(self.job).state not in ("running", "unknown"):
            return Preview(f"nothing is prepared on {self.host_name} any more", changes=False)
        return Preview(self.title(), data={"job": self.job})

    def apply(self, here: Target, before: Before) -> StepReport:
        """End it; asked again, it waits again."""
        host = here.world.host(self.host_name)
        running = host.job(self.job).state in ("running", "unknown")
        if running:
            text = f"[{self.host_name}] the manifests at work are finished first; nothing is broken off"
            here.run.emit(Message(text))
            here.run.guard()
            host.kill_job(self.job, CHUNK_GRACE)
        status = host.job(self.job)
        return StepReport({"job": self.job, "exit_code": status.exit_code}, changed=running)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Asking it again to stop is safe."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must not run any more."""
        if here.world.host(self.host_name).job(self.job).state == "running":
            yield Problem(f"the job {self.job} on {self.host_name} still runs", outcome=Outcome.FAILED)


def at_work(world: World, pulp: str, hosts: Sequence[str] = ()) -> list[Preparing]:
    """Return what our runs began and did not see come to its end, the last on each host; only reads.

    It may be at work, or have been stopped or cut off; connects to no host.
    """
    folder = world.state_dir
    opened = {state.id for state in runs.open_runs(folder)}
    closed = [one for one in runs.ids(folder) if one not in opened][-_LAST:]
    found: dict[str, Preparing] = {}
    for run in sorted({*closed, *opened}):  # an id begins with its time
        state = runs.load(folder, run)
        for host, one in _of(state, pulp):
            if one is None:
                found.pop(host, None)
            elif not hosts or host in hosts:
                found[host] = one
    return list(found.values())


def _of(state: RunState, pulp: str) -> Iterator[tuple[str, Preparing | None]]:
    """Yield what a run began on its hosts; None where it came to its end."""
    for progress in list(state.progress.values()):
        notes = progress.notes
        if not progress.step.replace(":", ".").endswith(_STEP) or notes.get("pulp") != pulp:
            continue
        host, job = str(notes["host"]), str(notes["job"])
        yield host, None if notes.get("ended") else Preparing(state.id, host, job, not state.closed)


def running(world: World, found: Sequence[Preparing]) -> list[Preparing]:
    """Return those that do run, as their hosts say; one whose host is out of reach may."""
    left = []
    for one in found:
        try:
            state = world.host(one.host).job(one.job).state
        except UnreachableError:
            state = "unknown"
        if state in ("running", "unknown"):
            left.append(one)
    return left


def abort_recipe(pulp: str, found: Sequence[Preparing]) -> Recipe:
    """Return the recipe: a row for each host, all of them at once."""
    by_host: dict[str, list[Preparing]] = {}
    for one in found:
        by_host.setdefault(one.host, []).append(one)
    rows = tuple(
        Row(host, tuple(Do(EndPreparing(host_name=host, job=one.job)) for one in jobs))
        for host, jobs in by_host.items()
    )
    across = Across(rows, at_once=max(1, len(rows)), max_fail=len(rows))
    return Recipe(NAME, (across,), resources=(f"content-abort/{pulp}",), title=f"end preparing {pulp}")


def abort_report(pulp: str, found: Sequence[Preparing], run: RunReport | None) -> Report:
    """Show what was ended, and how to go on."""
    if run is None:
        data: dict[str, Json] = {"registry": pulp, "hosts": []}
        text = f"nothing that this regctl began prepares {pulp} now"
        return Report("content-abort", Outcome.NOTHING_TO_DO, data, (Text(text),))
    records = {record.host: record for record in run.hosts}
    hosts: list[dict[str, Json]] = [
        {
            "host": one.host,
            "run": one.run,
            "job": one.job,
            "result": records[one.host].result if one.host in records else "not-attempted",
            "reason": records[one.host].reason if one.host in records else "",
        }
        for one in found
    ]
    rows = tuple(tuple(str(host[key]) for key in ("host", "result", "reason", "run")) for host in hosts)
    blocks: tuple[Block, ...] = (Table(("host", "result", "why", "of the run"), rows),)
    hints = dict.fromkeys(f"regctl run resume {one.run} goes on, if that run is still open" for one in found)
    return Report(
        "content-abort", run.outcome, {"registry": pulp, "run": run.id, "hosts": hosts}, blocks, tuple(hints)
    )
