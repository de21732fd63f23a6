"""What `regctl content prepare` shows: how each host ended, what it did, how fast, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ctl.errors import EXIT_CODES, Outcome
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import duration_text
from ctl.steps.content_left import estimate, left_figures, left_told, nothing_to_do
from ctl.steps.content_worth import INSTEAD

if TYPE_CHECKING:
    from ctl.recipes.model import HostRecord, RunReport
    from ctl.steps.content_survey import HostSurvey

_STEP = "PrepareContent"
_SCHEMA = "content-prepare"


def prepare_report(
    registry: str,
    surveys: Sequence[HostSurvey],
    run: RunReport,
    *,
    rate: float = 0.0,
    not_needed: str = "",
) -> Report:
    """Show a run of `content prepare`, or its dry run; hosts in the order of the recipe.

    `not_needed` says why nothing was to be done beforehand, "" where it was.
    """
    figures = _figures(run)
    records = {record.host: record for record in run.hosts}
    hosts = [_host(one, records.get(one.host), figures.get(one.host, {}), run, rate) for one in surveys]
    if not_needed:
        hosts = [_spared(host, not_needed) for host in hosts]
    outcome = run.outcome if not_needed else _outcome(run, hosts)
    data: dict[str, Json] = {
        "registry": registry,
        "run": run.id,
        "dry_run": run.state == "dry-run",
        "state": run.state,
        "not_needed": not_needed,
        "hosts": hosts,
        "done": sum(int(host["done"]) for host in hosts),
        "remaining": sum(int(host["remaining"] or 0) for host in hosts),
    }
    code = EXIT_CODES[outcome] if outcome is not run.outcome else None
    if run.state == "dry-run":
        data["plan"] = [one.title for one in run.previews]
    blocks = _blocks(hosts, run)
    blocks += (Text(f"{not_needed}. {INSTEAD}"),) if not_needed else ()
    return Report(_SCHEMA, outcome, data, blocks, _hints(registry, run, hosts), code)


def _spared(host: dict[str, Any], why: str) -> dict[str, Any]:
    """Return a host on which nothing was to be done beforehand."""
    if host["result"] == "unreachable" or not host["remaining"]:
        return host
    return {**host, "result": "not-applicable", "reason": why}


def _figures(run: RunReport) -> dict[str, Mapping[str, Any]]:
    return {one.host: one.data for one in run.steps if one.step == _STEP and one.phase == "apply"}


def _host(
    one: HostSurvey,
    record: HostRecord | None,
    figures: Mapping[str, Any],
    run: RunReport,
    rate: float,
) -> dict[str, Any]:
    """Return how one host ended, for machines; what it did not come to is as the survey found it."""
    began = bool(figures)
    result: str = record.result if record is not None else "not-attempted"
    reason = record.reason if record is not None else ""
    if one.unreachable and not began:
        result, reason = "unreachable", one.unreachable
    elif not one.doable and not began:
        result, reason = "not-applicable", nothing_to_do(one)
    elif run.state == "dry-run":
        result, reason = ("not-attempted" if result == "not-attempted" else result), reason or "dry run"
    if result in ("failed", "unreachable") and figures.get("how") in ("stopped", "locked"):
        result = str(figures["how"])
    seconds = float(figures.get("seconds") or 0.0)
    done = int(figures.get("done") or 0)
    left: Mapping[str, Any] = {
        **left_figures(one),
        **{k: v for k, v in figures.items() if k in left_figures(one)},
    }
    if began and figures.get("how") and left["remaining"] == one.remaining and one.remaining is not None:
        left = {**left, "remaining": max(0, one.remaining - done)}  # as it said itself, not proved
    return {
        "host": one.host,
        "role": one.role,
        "result": result,
        "reason": reason,
        "done": done,
        **left,
        "leftovers": list(figures.get("leftovers") or ()),
        "way": figures.get("way") or ("whole" if one.mode == "whole" else "chunks"),
        "seconds": seconds,
        "worked_seconds": float(figures.get("worked_seconds") or figures.get("worked") or seconds),
        "rate_per_second": round(done / seconds, 1) if seconds else 0.0,
        "estimated_seconds": estimate(one, rate),
        "jobs": int(figures.get("jobs") or 0),
    }


def _outcome(run: RunReport, hosts: Sequence[Mapping[str, Any]]) -> Outcome:
    """Return how the command ends: where all hosts that did not end well share a reason, that one."""
    if run.outcome is Outcome.NOTHING_TO_DO and any(host["remaining"] for host in hosts):
        return Outcome.WARNING
    bad = {str(host["result"]) for host in hosts} & {"failed", "unreachable", "unknown", "stopped", "locked"}
    words = {"stopped": Outcome.INTERRUPTED, "locked": Outcome.LOCKED, "unreachable": Outcome.UNREACHABLE}
    if run.outcome is Outcome.FAILED and len(bad) == 1 and bad <= words.keys():
        return words[bad.pop()]
    if run.outcome in (Outcome.CHANGED, Outcome.OK) and any(host["remaining"] for host in hosts):
        return Outcome.WARNING
    return run.outcome


def _hints(registry: str, run: RunReport, hosts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    hints = []
    if run.id and run.state == "open":
        hints.append(f"regctl run resume {run.id}")
    elif run.id and any(host["result"] in ("stopped", "failed", "not-attempted") for host in hosts):
        hints.append(f"the same command goes on: regctl content prepare {registry}")
    if any(host["broken"] or host["skipped"] for host in hosts):
        hints.append(f"regctl content verify {registry} names what is broken, and what to do about it")
    return tuple(hints)


def _blocks(hosts: Sequence[Mapping[str, Any]], run: RunReport) -> tuple[Block, ...]:
    planned = run.state == "dry-run"
    last = "about" if planned else "took"
    columns = ("host", "role", "result", "done", "left", "broken", "passed over", last, "a second", "why")
    right = frozenset({"done", "left", "broken", "passed over", last, "a second"})
    blocks: list[Block] = [Table(columns, tuple(_row(host, planned) for host in hosts), right=right)]
    for host in hosts:
        if host["way"] == "whole" and (host["done"] or planned):
            blocks.append(
                Text(f"{host['host']}: by Pulp's whole command in one transaction, for want of parts of it")
            )
        if host["leftovers"]:
            blocks.append(
                Text(f"{host['host']}: {left_told(int(host['remaining'] or 0), host['leftovers'])}")
            )
    if planned:
        blocks += [block for one in run.previews for block in one.titled]
    if hosts and not planned and all(host["result"] == "not-applicable" for host in hosts):
        blocks.append(Text("nothing was run"))
    return tuple(blocks)


def _row(host: Mapping[str, Any], planned: bool) -> tuple[str, ...]:
    seconds = host["estimated_seconds"] if planned else host["seconds"]
    return (
        str(host["host"]),
        str(host["role"]),
        str(host["result"]),
        f"{host['done']:,}",
        "-" if host["remaining"] is None else f"{host['remaining']:,}",
        str(host["broken"]),
        str(host["skipped"]),
        duration_text(seconds) if seconds else "-",
        f"{host['rate_per_second']:.1f}" if host["rate_per_second"] else "-",
        str(host["reason"]).partition("\n")[0],
    )
