"""What `regctl database migrate` shows of a Pulp: one database on each of its hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ctl.errors import WORST_FIRST, Outcome, RegctlError, worst
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.migrate_pulp import described
from ctl.steps.pulp_schema import HostSchema, busy, few, look_at_all, problems

if TYPE_CHECKING:
    from ctl.recipes.model import Problem, RunReport
    from ctl.world import World

Entry = tuple[dict[str, Json], tuple[Block, ...]]


def status_report(world: World, registry: str, hosts: Sequence[str] = ()) -> Report:
    """List each host's migrations, applied and pending, and what is wrong."""
    return _report("database-migrate-status", world, registry, hosts, _status, applied=True)


def plan_report(world: World, registry: str, hosts: Sequence[str] = ()) -> Report:
    """List what `up` would apply on each host, and what it would wait for."""
    return _report("database-migrate-plan", world, registry, hosts, _plan)


def version_report(world: World, registry: str, hosts: Sequence[str] = ()) -> Report:
    """Name the migrations that each host had last."""
    report = _report("database-migrate-version", world, registry, hosts, _version)
    if report.outcome in (Outcome.UNREACHABLE, Outcome.FAILED):
        return report
    return Report(report.command, Outcome.OK, report.data, report.blocks, report.hints)


def _report(
    command: str,
    world: World,
    registry: str,
    hosts: Sequence[str],
    show: Callable[[HostSchema], Entry],
    *,
    applied: bool = False,
) -> Report:
    databases: dict[str, Json] = {}
    blocks: list[Block] = []
    outcomes, hints = [], list[str]()
    for host, found in look_at_all(world, registry, hosts, applied=applied).items():
        if isinstance(found, RegctlError):
            databases[f"{registry}/{host}"] = {
                "reachable": False,
                "registry": registry,
                "host": host,
                "detail": found.message,
            }
            blocks.append(Text(found.message))
            hints += [found.hint] if found.hint else []
            outcomes.append(found.outcome if found.outcome in WORST_FIRST else Outcome.FAILED)
            continue
        trouble = list(problems(found))
        waits = [] if trouble else list(busy(found))
        data, shown = show(found)
        databases[found.name] = {
            **data,
            "reachable": True,
            "trouble": [one.message for one in trouble],
            "waits_for": [one.message for one in waits],
        }
        blocks += [*shown, *(Text(one.message) for one in (*trouble, *waits))]
        hints += [one.hint for one in (*trouble, *waits) if one.hint]
        outcomes.append(judged(found, trouble))
    told = tuple(dict.fromkeys(hints))
    return Report(command, worst(outcomes), {"databases": databases}, tuple(blocks), told)


def judged(found: HostSchema, trouble: Sequence[Problem]) -> Outcome:
    """Choose the word for one host: what is refused by `up` is a warning to who only looks."""
    if trouble:
        return Outcome.WARNING
    return Outcome.OK if found.up_to_date else Outcome.PENDING


def _plan(found: HostSchema) -> Entry:
    data, blocks = described(found)
    live: list[Json] = [
        {"kind": one.kind, "name": one.name, "versions": dict(one.versions), "expires_seconds": one.expires}
        for one in found.services
    ]
    return {**data, "services": live}, () if found.code is None else blocks


def _status(found: HostSchema) -> Entry:
    data, _ = described(found)
    data = {
        **data,
        "server_version": found.server,
        "applied": [{"id": one, "applied_at": when} for one, when in found.applied],
        "newer": list(found.newer),
    }
    parts = dict.fromkeys(one.partition(".")[0] for one, _ in found.applied)
    rows = []
    for part in parts:
        own = [(one, when) for one, when in found.applied if one.partition(".")[0] == part]
        left = sum(one.partition(".")[0] == part for one in found.pending)
        last = max(own, key=lambda pair: pair[0])
        rows.append((part, found.versions.get(part, ""), str(len(own)), str(left), last[0], last[1][:19]))
    columns = ("part", "installed", "applied", "pending", "last applied", "at")
    right = frozenset({"applied", "pending"})
    blocks: list[Block] = [Table(columns, tuple(rows), title=f"database {found.name}", right=right)]
    if found.pending:
        blocks.append(Text(f"{found.name}: pending: {few(found.pending)}"))
    return data, tuple(blocks)


def _version(found: HostSchema) -> Entry:
    data: dict[str, Json] = {
        "registry": found.registry,
        "host": found.host,
        "version": found.version or None,
        "newest": dict(found.newest),
    }
    return data, (Text(f"{found.name}: {found.version or 'nothing applied'}"),)


def run_report(run: RunReport) -> Report:
    """Show a run of `up` on a Pulp, host by host."""
    databases: dict[str, dict[str, Json]] = {}
    for shown in run.previews:
        databases.setdefault(str(shown.data.get("database", "")), {}).update(shown.data)
    for step in run.steps:
        databases.setdefault(str(step.data.get("database", "")), {}).update(step.data)
    databases.pop("", None)
    done = {one.host for one in run.hosts if one.result in ("changed", "warned", "ok", "not-applicable")}
    for entry in databases.values():
        if run.state == "done" and entry.get("host") in done:
            entry.pop("version", None)  # as the preview saw it
            entry.update({"pending": [], "up_to_date": True})
    hosts: list[Json] = [
        {"host": one.host, "result": one.result, "reason": one.reason, "seconds": one.seconds}
        for one in run.hosts
    ]
    applied: list[Json] = []
    for entry in databases.values():
        own = entry.get("applied", [])
        applied += [one for one in (own if isinstance(own, list | tuple) else ()) if one not in applied]
    data: dict[str, Json] = {
        "run": run.id,
        "dry_run": run.state == "dry-run",
        "state": run.state,
        "applied": applied,
        "databases": dict(databases),
        "hosts": hosts,
    }
    if run.problems:
        data["problem_messages"] = [{"message": one.message, "hint": one.hint} for one in run.problems]
    blocks: list[Block] = []
    if run.state == "dry-run" or run.outcome is Outcome.NOTHING_TO_DO:
        blocks += [block for shown in run.previews for block in shown.blocks]
    elif run.hosts:
        counts = {entry.get("host"): entry.get("applied", []) for entry in databases.values()}
        rows = tuple(
            (one.host, one.result, _count(counts.get(one.host)), f"{one.seconds:.1f} s", one.reason)
            for one in run.hosts
        )
        right = frozenset({"applied", "took"})
        blocks.append(Table(("host", "result", "applied", "took", "why"), rows, right=right))
    hints = (f"regctl run resume {run.id}",) if run.id and run.state == "open" else ()
    return Report(run.recipe, run.outcome, data, tuple(blocks), hints)


def _count(applied: Json) -> str:
    return str(len(applied)) if isinstance(applied, list | tuple) else "-"
