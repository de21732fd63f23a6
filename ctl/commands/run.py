"""Show what regctl has done, and settle a run that was cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.context import Context, pass_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ctl.recipes.model import RunReport, StepRecord
    from ctl.recipes.state import RunState
    from ctl.report.model import Block, Json


@click.group("run")
def command() -> None:
    """Show what regctl has done, and settle a run that was cut off.

    A run is one execution of a changing command. Its journal is flushed to disk before and after each
    step, so that a run that was killed can be finished, or taken back to where it began.
    """


@command.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only the runs that have not ended.")
@pass_context
def list_(context: Context, only_open: bool) -> None:
    """List the runs, the latest first."""
    from ctl.errors import Outcome
    from ctl.recipes import runs
    from ctl.report.model import Report, Table

    folder = context.world.state_dir
    found = [runs.load(folder, run_id) for run_id in reversed(runs.ids(folder))]
    found = [state for state in found if not (only_open and state.closed)]
    opened = [state for state in found if not state.closed]
    rows = tuple((s.id, s.recipe, s.state, s.started_at, s.ended_at, ", ".join(s.resources)) for s in found)
    columns = ("run", "recipe", "state", "began", "ended", "locks")
    context.show(
        Report(
            "run-list",
            Outcome.OK,
            {"runs": [_summary(state) for state in found]},
            (Table(columns, rows),),
            tuple(f"regctl run resume {state.id}" for state in opened),
        )
    )


@command.command("show")
@click.argument("run_id", metavar="[ID]", required=False)
@pass_context
def show(context: Context, run_id: str | None) -> None:
    """Show a run step by step; without an ID the open one, or else the last.

    The beginning of an ID is enough where it is the only one.
    """
    from ctl.errors import Outcome
    from ctl.recipes import runs
    from ctl.report.model import Report

    folder = context.world.state_dir
    state = runs.load(folder, _meant(folder, run_id))
    outcome = Outcome.FAILED if state.state == "unreadable" else Outcome.OK
    context.show(Report("run-show", outcome, _details(state), _blocks(state), _hints(state)))


@command.command("follow")
@click.argument("run_id", metavar="[ID]", required=False)
@pass_context
def follow(context: Context, run_id: str | None) -> None:
    """Tell what a run does while it does it, from another terminal; end with its exit code.

    Without an ID the open run, or else the last. Only reads: Ctrl-C ends the following, never the run.
    """
    from ctl.errors import Outcome, RegctlError
    from ctl.recipes import follow, runs
    from ctl.report.model import Report, Text

    folder = context.world.state_dir
    found = _meant(folder, run_id)
    state = runs.load(folder, found)
    if state.state == "unreadable":
        raise RegctlError(f"run {found} cannot be followed: {state.reason}", hint="regctl run list")
    state = follow.follow(folder, found, context.emit) if state.recipe else state
    outcome = Outcome(state.outcome) if state.outcome else Outcome.FAILED
    blocks: tuple[Block, ...] = _blocks(state)
    if not state.closed:
        blocks = (Text("whoever ran it is gone, and it has not ended"), *blocks)
    context.show(Report("run-follow", outcome, _details(state), blocks, _hints(state)))


@command.command("resume")
@click.argument("run_id", metavar="[ID]", required=False)
@click.option("--leave-only", is_flag=True, help="Do no further step: only put back what was changed.")
@pass_context
def resume(context: Context, run_id: str | None, leave_only: bool) -> None:
    """Finish an open run, or put back what it changed.

    Without an ID it is the only open run. Steps that were done are not done again; the one that was cut
    off is asked how far it came. If the run cannot go on, its scopes are left: what was made read-only or
    stopped becomes what it was before. Needs no database.
    """
    from ctl.recipes.resume import open_run
    from ctl.recipes.runs import open_runs

    runner = context.runner
    if run_id is None and not open_runs(context.world.state_dir):
        _show_nothing(context)
        return
    if context.options.dry_run:
        _show_plan(context, open_run(runner, run_id or ""), leave_only=leave_only)
        return
    _show_run(context, runner.resume(run_id or "", leave_only=leave_only, yes=context.options.yes))


@command.command("abandon")
@click.argument("run_id", metavar="ID")
@click.option("--reason", required=True, help="Why, for whoever reads the journal.")
@click.option(
    "--leave-open-scopes",
    is_flag=True,
    help="Close the run although it still keeps something read-only or stopped; you put it back.",
)
@pass_context
def abandon(context: Context, run_id: str, reason: str, leave_open_scopes: bool) -> None:
    """Close an open run as it stands, without finishing it.

    Refused while the run still keeps something read-only or stopped: `regctl run resume ID --leave-only`
    puts that back first.
    """
    from ctl.errors import Outcome
    from ctl.recipes.resume import open_run
    from ctl.report.model import Report

    runner = context.runner
    if context.options.dry_run:
        state = open_run(runner, run_id)
        context.show(Report("run-abandon", Outcome.PENDING, _details(state), _blocks(state)))
        return
    state = runner.abandon(run_id, reason, leave_open_scopes=leave_open_scopes)
    context.show(Report("run-abandon", Outcome.CHANGED, _details(state), _blocks(state)))


def _meant(folder: str, given: str | None) -> str:
    """Return the id that is meant: the one that begins so, else the open run, else the last."""
    from ctl.errors import UsageError
    from ctl.recipes import runs

    if given is not None:
        return runs.find(folder, given)
    there = [state.id for state in runs.open_runs(folder)] or runs.ids(folder)
    if not there:
        raise UsageError("there is no run yet")
    return there[-1]


def _show_plan(context: Context, state: RunState, *, leave_only: bool) -> None:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text

    back = leave_only or state.unwinding is not None
    opened = [state.titled(path) for path in state.open_scopes()]
    flight = [] if back else state.in_flight()
    todo = {} if back else _todo(state)
    lines = [f"would ask how far this came: {state.titled(path)}" for path in flight]
    lines += [f"would do: {title}" for path, title in todo.items() if path not in flight]
    steps = list(todo.values())
    lines += [f"would leave: {title}" for title in reversed(opened)]
    data = {**_details(state), "would_do": steps, "would_leave": list(reversed(opened))}
    context.show(Report("run-resume", Outcome.PENDING, data, tuple(Text(line) for line in lines)))


def _todo(state: RunState) -> dict[str, str]:
    """Return the steps that a resume would do, by path; not those of hosts that are over, or back out."""
    from ctl.recipes.codec import all_rows
    from ctl.recipes.session import records
    from ctl.recipes.state import row_of

    recipe = state.load()
    hosts = {path: row.host for path, row in all_rows(recipe).items()}
    over = {path for path, row in state.rows.items() if row.ended or row.unwinding is not None}
    return {
        one.path: f"[{hosts[row_of(one.path)]}] {one.title}" if row_of(one.path) else one.title
        for one in records(state, recipe)
        if one.result == "not-attempted" and row_of(one.path) not in over
    }


def _show_nothing(context: Context) -> None:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text

    data: dict[str, Json] = {"id": "", "recipe": "", "state": "", "steps": []}
    context.show(Report("run-resume", Outcome.NOTHING_TO_DO, data, (Text("no run is open"),)))


def _show_run(context: Context, run: RunReport) -> None:
    from ctl.recipes.host_records import host_blocks, host_data
    from ctl.report.model import Report, Text

    data = {"id": run.id, "recipe": run.recipe, "state": run.state, "steps": _steps(run.steps)}
    data["hosts"] = host_data(run.hosts)
    first = Text(f"run {run.id} ({run.recipe}): {run.state}")
    blocks = (first, _table(run.steps), *host_blocks(run.hosts))
    hints = (f"regctl run resume {run.id}",) if run.state == "open" else ()
    context.show(Report("run-resume", run.outcome, data, blocks, hints))


def _summary(state: RunState) -> dict[str, Json]:
    return {
        "id": state.id,
        "recipe": state.recipe,
        "state": state.state,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "resources": list(state.resources),
        "open_scopes": [state.titled(path) for path in state.open_scopes()],
    }


def _details(state: RunState) -> Mapping[str, Json]:
    from ctl.recipes.host_records import hosts_of

    holder = state.holder
    return {
        **_summary(state),
        "reason": state.reason or str((state.unwinding or {}).get("reason", "")),
        "operator": f"{holder.user}@{holder.host}" if holder else "",
        "pid": holder.pid if holder else None,
        "argv": list(state.start.get("argv", ())),
        "versions": dict(state.start.get("versions", {})),
        "steps": _steps(state.steps),
        "hosts": hosts_of(state) if state.recipe else [],
    }


def _steps(records: Iterable[StepRecord]) -> list[Json]:
    return [
        {
            "path": record.path,
            "step": record.step,
            "title": record.title,
            "host": record.host,
            "phase": record.phase,
            "result": record.result,
            "reason": record.reason,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "data": dict(record.data),
        }
        for record in records
    ]


def _blocks(state: RunState) -> tuple[Block, ...]:
    from ctl.report.model import Text

    details = _details(state)
    lines = [f"run {state.id} ({state.recipe}): {state.state}"]
    lines += [f"why: {details['reason']}"] if details["reason"] else []
    lines += [f"by {details['operator']}, {state.started_at} to {state.ended_at or 'now'}"]
    lines += [f"still entered: {state.titled(path)}" for path in state.open_scopes() if not state.closed]
    lines += [f"cut off: {state.titled(path)}" for path in state.in_flight() if not state.closed]
    return (*(Text(line) for line in lines), *_hosts(details["hosts"]), _table(state.steps))


def _hosts(hosts: Any) -> tuple[Block, ...]:
    from ctl.report.model import Table

    rows = tuple((one["host"], one["result"], f"{one['seconds']:.1f}", one["reason"]) for one in hosts)
    columns = ("host", "result", "seconds", "why")
    return (Table(columns, rows, right=frozenset({"seconds"})),) if rows else ()


def _table(records: Iterable[StepRecord]) -> Block:
    from ctl.report.model import Table

    rows = tuple((r.path, r.phase, r.title, r.host, r.result, r.reason, r.ended_at) for r in records)
    return Table(("step", "phase", "what", "host", "result", "why", "ended"), rows)


def _hints(state: RunState) -> tuple[str, ...]:
    if state.closed:
        return ()
    if state.state == "unreadable":
        return (f"regctl run abandon {state.id} --leave-open-scopes --reason WHY",)
    return (f"regctl run resume {state.id}", f"regctl run abandon {state.id} --reason WHY")
