"""What `upgrade plan` shows of a Pulp, for people and for scripts; and why `upgrade apply` does not do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.errors import Outcome
from ctl.plans.pulp_upgrade_runbook import WHY
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import duration_text

if TYPE_CHECKING:
    from ctl.plans.pulp_upgrade import PulpPlan
    from ctl.plans.upgrade_row import Row

_COLUMNS = ("host", "component", "current", "target", "state", "time", "what")


def plan_report(plan: PulpPlan, *, detailed: bool = False) -> Report:
    """Show a plan; its exit code says whether anything is to do, or why it may not begin."""
    outcome = plan_outcome(plan)
    code = 4 if detailed and outcome is Outcome.PENDING else None
    return Report("upgrade-plan", outcome, plan_data(plan), tuple(_blocks(plan)), _hints(plan), code)


def refusal_report(plan: PulpPlan) -> Report:
    """Show why regctl does not upgrade a Pulp by itself, and what is done by hand instead."""
    data: dict[str, Json] = {"registry": plan.registry, "reason": WHY, "plan": plan_data(plan)}
    blocks = (Text(WHY + "."), *_blocks(plan))
    return Report("upgrade-apply", Outcome.REFUSED, data, blocks, _hints(plan))


def _hints(plan: PulpPlan) -> tuple[str, ...]:
    if plan.next:
        return (f"next: {plan.next}",)
    first = next((row for row in plan.rows if row.by_hand), None)
    return (f"next, by hand on {first.host}: {first.by_hand[0]}",) if first else ()


def plan_outcome(plan: PulpPlan) -> Outcome:
    """Choose the word for a plan."""
    if plan.blocked:
        away = all(one.unreachable for one in plan.blocked)
        return Outcome.UNREACHABLE if away else Outcome.REFUSED
    return Outcome.PENDING if plan.pending else Outcome.NOTHING_TO_DO


def plan_data(plan: PulpPlan) -> dict[str, Json]:
    """Return a plan as JSON."""
    return {
        "registry": plan.registry,
        "engine": "pulp",
        "target": plan.target,
        "versions": list(plan.versions),
        "mixed": plan.mixed,
        "rows": [row.data for row in plan.rows],
        "roll": list(plan.roll),
        "blocked": [
            {"host": one.host or None, "message": one.message, "hint": one.hint, "check": one.name or None}
            for one in plan.blocked
        ],
        "skipped": [
            {"host": one.host or None, "check": one.name, "message": one.message, "reason": why}
            for one, why in plan.passed
        ],
        "notes": list(plan.notes),
        "estimated_seconds": plan.seconds,
        "next": plan.next or None,
    }


def _blocks(plan: PulpPlan) -> list[Block]:
    blocks: list[Block] = [Table(_COLUMNS, tuple(_row(one) for one in plan.rows), right=frozenset({"time"}))]
    hands = [
        (row.host, f"{number}. {what}") for row in plan.rows for number, what in enumerate(row.by_hand, 1)
    ]
    if hands:
        blocks.append(Table(("host", "to be done by hand, once nothing blocks it"), tuple(hands)))
    blocks += [Text(f"note: {one}") for one in plan.notes]
    blocks += [
        Text(f"passed over: {one.message} (check {one.name} skipped: {why})") for one, why in plan.passed
    ]
    blocks += [
        Text(f"blocked: {one.message}" + (f"\n  {one.hint}" if one.hint else "")) for one in plan.blocked
    ]
    if plan.seconds:
        blocks.append(Text(f"preparing the hosts side by side takes about {duration_text(plan.seconds)}"))
    return blocks


def _row(row: Row) -> tuple[str, ...]:
    time = duration_text(row.seconds) if row.seconds else ""
    return (row.host, row.component, row.current, row.target, row.state, time, row.note)
