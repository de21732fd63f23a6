"""From how a Pulp's hosts stand to what an upgrade takes, by hand too, and what blocks it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctl.plans.pulp_upgrade_facts import PulpFacts, PulpHost, is_done
from ctl.plans.pulp_upgrade_rules import PulpBlock, blocked, states_mixed
from ctl.plans.pulp_upgrade_runbook import runbook
from ctl.plans.upgrade_row import Row, State


@dataclass(frozen=True)
class PulpPlan:
    """What would be done, in order, and what stands in the way."""

    registry: str
    target: str
    rows: tuple[Row, ...]
    blocked: tuple[PulpBlock, ...]
    passed: tuple[tuple[PulpBlock, str], ...]  # blocks that the operator passes over, and why
    notes: tuple[str, ...]
    roll: tuple[str, ...]  # the hosts whose packages are still to be upgraded, in order
    versions: tuple[str, ...]  # of pulp-container, as installed
    seconds: float | None  # of preparing all hosts side by side
    next: str  # command; "" where the next thing is done by hand, or nothing is left

    @property
    def mixed(self) -> bool:
        """Whether the hosts have several releases now."""
        return len(self.versions) > 1

    @property
    def pending(self) -> bool:
        """Whether anything is left that this target asks for."""
        return bool(self.roll or self.next)


def plan(facts: PulpFacts) -> PulpPlan:
    """Make the plan."""
    found = tuple(blocked(facts))
    stands = tuple(one for one in found if one.name not in facts.skips or not one.name)
    passed = tuple((one, facts.skips[one.name]) for one in found if one not in stands)
    known = [host for host in facts.hosts if not host.unreachable]
    roll = tuple(host.host for host in known if not is_done(host, facts.target))
    rows = tuple(row for host in facts.hosts for row in _rows(facts, host, stands))
    todo = [row.seconds for row in rows if row.component == "content" and row.state in ("to-do", "blocked")]
    times = [one for one in todo if one is not None]
    return PulpPlan(
        facts.registry,
        str(facts.target),
        rows,
        stands,
        passed,
        tuple(dict.fromkeys(_notes(facts))),
        roll,
        tuple(str(one) for one in sorted({h.container for h in known if h.container is not None})),
        round(max(times), 1) if times and len(times) == len(todo) else None,
        _next(facts, stands),
    )


def _rows(facts: PulpFacts, host: PulpHost, stands: Sequence[PulpBlock]) -> Iterator[Row]:
    target = str(facts.target)
    if host.unreachable:
        yield Row(host.host, "packages", "not known", target, "unreachable", host.unreachable)
        return
    done = is_done(host, facts.target)
    current = _release(host)
    if done:
        yield Row(host.host, "packages", current, target, "done", _old_processes(host))
    else:
        stopped = any(not one.host or one.host == host.host for one in stands)
        state: State = "blocked" if stopped else "by-hand"
        yield Row(host.host, "packages", current, target, state, "", runbook(facts, host))
    yield _schema_row(host, done)
    yield _content_row(facts, host, stands)


def _release(host: PulpHost) -> str:
    core = f" (core {host.core})" if host.core else ""
    return f"{host.container or 'not known'}{core}"


def _old_processes(host: PulpHost) -> str:
    return f"still running the release before: {', '.join(host.live)}" if host.live else ""


def _schema_row(host: PulpHost, done: bool) -> Row:
    if host.history or host.newer:
        return Row(host.host, "schema", "contradicts the code", "migrated", "blocked", host.history)
    left = f"{len(host.pending)} pending"
    if done:
        if host.pending:
            return Row(host.host, "schema", left, "migrated", "to-do", "before its services start")
        return Row(host.host, "schema", "migrated", "migrated", "done")
    if host.pending:
        return Row(host.host, "schema", left, "migrated", "blocked", "of the release that is installed")
    return Row(
        host.host, "schema", "migrated", "migrated", "to-do", "what is pending is known once it is installed"
    )


def _content_row(facts: PulpFacts, host: PulpHost, stands: Sequence[PulpBlock]) -> Row:
    def row(state: State, current: str, note: str = "", seconds: float | None = None) -> Row:
        return Row(host.host, "content", current, "prepared", state, note, seconds=seconds)

    if host.remaining is None:
        note = "its release brings no fields for it yet"
        if host.pending or host.history:
            note = "its fields come with its migrations"
        stops = not facts.target_serves and host.total
        return row("blocked" if stops else "not-applicable", f"{host.total:,} manifests", note)
    if not host.remaining:
        return row("done", f"{host.total:,} prepared")
    current = f"{host.remaining:,} of {host.total:,} left"
    reasons = "; ".join(f"{count} {why}" for why, count in sorted(host.hindered.items()))
    if facts.target_serves:
        note = f"{facts.target} serves them as they are; {reasons}".rstrip("; ")
        return row("to-do" if host.doable else "not-applicable", current, note, host.seconds)
    held = any(one.host == host.host and one.content for one in stands)
    return row(
        "blocked" if held else "not-applicable", current, reasons, host.seconds if host.doable else None
    )


def _notes(facts: PulpFacts) -> Iterator[str]:
    if mixed := states_mixed(facts):
        yield mixed
    for host in facts.hosts:
        if host.unreachable:
            continue
        if host.doable and not host.fixed:
            yield (
                f"{host.host}: Pulp's own code in {host.container} stops at an image without a config blob; "
                "fixed in 2.22.3, 2.24.3, 2.26.5 and 2.27.0: update within its line before it is prepared"
            )
        if host.at_risk and not host.serves_unprepared:
            yield f"{host.host}: pulls of {host.at_risk:,} manifests fail on {host.container}: prepare now"
        if host.stuck and not host.at_risk and not facts.target_serves:
            yield f"{host.host}: {host.stuck} manifests are served, and keep empty fields for ever"
    if facts.target_repairs and any(host.stuck and host.at_risk for host in facts.hosts):
        yield (
            f"a sync with {facts.target} fetches the text of lost manifests again from their upstream; "
            "what was pushed must be pushed again"
        )
    if not facts.target_tried:
        yield f"{facts.target} was not run for these rules: it is judged by its package, or like the last one"
    if facts.brings and any(not is_done(host, facts.target) for host in facts.hosts):
        yield f"{facts.target} brings work on content ({', '.join(facts.brings)}): prepare when it is there"


def _next(facts: PulpFacts, stands: Sequence[PulpBlock]) -> str:
    name, again = facts.registry, f"regctl upgrade plan {facts.registry} --to {facts.target}"
    if any(host.doable for host in facts.hosts) and any(one.content for one in stands):
        return f"regctl content prepare {name} --to {facts.target}"
    late = [h.host for h in facts.hosts if h.pending and not h.history and not h.newer and not h.unreachable]
    if late:
        return f"regctl database migrate up --registry {name} --node {late[0]}"
    return again if stands else ""
