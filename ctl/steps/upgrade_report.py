"""What `upgrade plan` and `upgrade apply` show, for people and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.plans.upgrade import UpgradePlan
    from ctl.plans.upgrade_row import Row
    from ctl.recipes.model import RunReport

_COLUMNS = ("host", "component", "current", "target", "state", "seconds", "what")


def plan_report(plan: UpgradePlan, *, detailed: bool = False) -> Report:
    """Show a plan; its exit code says whether anything is to do, or why it may not begin."""
    outcome = plan_outcome(plan)
    rows = tuple(_row(one) for one in plan.rows)
    blocks: list[Block] = [Table(_COLUMNS, rows, right=frozenset({"seconds"}))]
    if plan.mixed:
        blocks.append(Text(f"mixed: {' and '.join(plan.versions)} serve side by side now"))
    hands = [(row.host, one) for row in plan.rows for one in row.by_hand]
    if hands:
        blocks.append(Table(("host", "to be done by hand"), tuple(hands)))
    blocks += [Text(f"note: {one}") for one in plan.notes]
    blocks += [
        Text(f"blocked: {one.message}" + (f"\n  {one.hint}" if one.hint else "")) for one in plan.blocked
    ]
    if plan.roll:
        known = f"about {plan.seconds:g} s, as long as the last time" if plan.seconds else "not known yet"
        blocks.append(Text(f"estimated time: {known}"))
    hints = (f"next: {plan.next}",) if plan.next else ()
    code = 4 if detailed and outcome is Outcome.PENDING else None
    return Report("upgrade-plan", outcome, plan_data(plan), tuple(blocks), hints, code)


def plan_outcome(plan: UpgradePlan) -> Outcome:
    """Choose the word for a plan."""
    if plan.blocked:
        away = all(one.unreachable for one in plan.blocked)
        return Outcome.UNREACHABLE if away else Outcome.REFUSED
    return Outcome.PENDING if plan.next else Outcome.NOTHING_TO_DO


def plan_data(plan: UpgradePlan) -> dict[str, Json]:
    """Return a plan as JSON."""
    return {
        "registry": plan.registry,
        "versions": list(plan.versions),
        "mixed": plan.mixed,
        "rows": [row.data for row in plan.rows],
        "roll": list(plan.roll),
        "blocked": [
            {"message": one.message, "hint": one.hint, "check": one.name or None} for one in plan.blocked
        ],
        "notes": list(plan.notes),
        "estimated_seconds": plan.seconds,
        "next": plan.next or None,
    }


def apply_report(plan: UpgradePlan, run: RunReport) -> Report:
    """Show how a run of `upgrade apply` ended, host by host."""
    data: dict[str, Json] = {
        "registry": plan.registry,
        "run": run.id,
        "state": run.state,
        "dry_run": run.state == "dry-run",
        "plan": plan_data(plan),
    }
    if run.state == "dry-run":
        data["previews"] = [{"title": one.title, "changes": one.changes, **one.data} for one in run.previews]
        shown = tuple(block for one in run.previews if one.changes for block in one.titled)
        return Report("upgrade-apply", run.outcome, data, shown)
    data["steps"] = [
        {"step": one.step, "host": one.host, "phase": one.phase, "result": one.result} for one in run.steps
    ]
    data["hosts"] = [_host(one) for one in run.hosts]
    data["versions"] = dict(run.data("ProveUpgraded").get("versions", {}))  # type: ignore[arg-type]
    if run.problems:
        data["problem_messages"] = [{"message": one.message, "hint": one.hint} for one in run.problems]
    rows = tuple((one.host, one.result, one.reason) for one in run.hosts)
    blocks: list[Block] = [Table(("host", "result", "why"), rows)] if rows else []
    if run.state == "done" and not rows:
        blocks.append(Text(f"{plan.registry}: nothing to do"))
    left = [one.host for one in run.hosts if one.result not in ("ok", "changed", "warned")]
    again = f"`regctl upgrade plan {plan.registry}` shows what stands; apply takes up only what is left"
    return Report("upgrade-apply", run.outcome, data, tuple(blocks), (again,) if left else ())


def _host(record: Any) -> dict[str, Json]:
    return {"host": record.host, "result": record.result, "reason": record.reason}


def _row(row: Row) -> tuple[str, ...]:
    seconds = f"{row.seconds:g}" if row.seconds is not None else "not known" if row.state == "to-do" else ""
    if row.component == "configuration":
        seconds = ""
    what = row.note or ("; ".join(row.by_hand) if row.state == "by-hand" else "")
    return (row.host or "-", row.component, row.current, row.target, row.state, seconds, what)
