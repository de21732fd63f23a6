"""What `regctl content verify` shows: what remains, and for each manifest that cannot be done what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctl.engines.pulp_remedies import REASONS, remedy
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.engines.pulp_remedies import Broken
    from ctl.steps.verify_content import Verified

SHOWN = 20  # manifests of a host in the table; JSON has all of them


def verify_report(registry: str, hosts: Sequence[Verified]) -> Report:
    """Show all hosts: exit 0 where nothing remains, and that is proved, 7 where one is away, else 3."""
    data: dict[str, Json] = {
        "registry": registry,
        "hosts": [_host(registry, one) for one in hosts],
        "remaining": sum(one.remaining or 0 for one in hosts),
        "broken": sum(one.broken for one in hosts),
        "skipped": sum(one.skipped for one in hosts),
    }
    outcome = Outcome.OK if all(one.proved for one in hosts) else Outcome.WARNING
    if any(one.unreachable for one in hosts):
        outcome = Outcome.UNREACHABLE
    hints = [f"regctl content repair {registry}"] if _count(hosts, "unlinked") else []
    if any(one.doable for one in hosts):
        hints.append(f"regctl content prepare {registry}")
    return Report("content-verify", outcome, data, tuple(_blocks(registry, hosts)), tuple(hints))


def _count(hosts: Sequence[Verified], reason: str) -> int:
    return sum(problem.reason == reason for one in hosts for problem in one.problems)


def _host(registry: str, one: Verified) -> dict[str, Json]:
    return {
        "host": one.host,
        "role": one.role,
        "result": "unreachable" if one.unreachable else "ok" if one.proved else "warned",
        "reason": one.unreachable,
        "container": str(one.container) if one.container else None,
        "total": one.total,
        "remaining": one.remaining,
        "doable": one.doable,
        "untried": one.untried,
        "broken": one.broken,
        "skipped": one.skipped,
        "cleanups": one.cleanups,
        "problems": [_problem(registry, one, problem) for problem in one.problems],
    }


def _problem(registry: str, one: Verified, problem: Broken) -> dict[str, Json]:
    found = remedy(problem, one.container, registry, one.host)
    return {
        "digest": problem.digest,
        "reason": problem.reason,
        "state": "broken" if problem.broken else "skipped",
        "served": problem.served(one.container),
        "repositories": [shown.name for shown in problem.repositories if shown.current],
        "shown_by": [
            {"name": shown.name, "kind": shown.kind, "current": shown.current}
            for shown in problem.repositories
        ],
        "tags": list(problem.tags),
        "media_type": problem.media_type,
        "file": problem.file,
        "words": problem.words,
        "action": found.action,
        "remedy": found.text,
        "then": found.then,
    }


def _blocks(registry: str, hosts: Sequence[Verified]) -> list[Block]:
    columns = ("host", "role", "container", "manifests", "remaining", "can be done", "broken", "passed over")
    rows = tuple(_row(one) for one in hosts)
    blocks: list[Block] = [Table(columns, rows, right=frozenset(columns[3:]))]
    for one in hosts:
        blocks += _details(registry, one)
    return blocks


def _row(one: Verified) -> tuple[str, ...]:
    if one.unreachable:
        return (one.host, one.role, "-", "-", "unreachable", "-", "-", "-")
    remaining = "-" if one.remaining is None else f"{one.remaining:,}"
    numbers = (one.doable, one.broken, one.skipped)
    container = str(one.container or "-")
    return (one.host, one.role, container, f"{one.total:,}", remaining, *(f"{count:,}" for count in numbers))


def _details(registry: str, one: Verified) -> list[Block]:
    if one.unreachable:
        return [Text(f"{one.host}: {one.unreachable}")]
    if one.remaining is None:
        text = "its database is of a release before 2.20: there is nothing to verify before that upgrade"
        return [Text(f"{one.host}: {text}")]
    blocks: list[Block] = [Text(f"{one.host}: nothing remains: proved")] if one.proved else []
    if one.untried:
        blocks.append(Text(f"{one.host}: {one.untried:,} were not tried: prepare first, or --tries NUMBER"))
    if one.cleanups and one.problems:
        blocks.append(
            Text(f"{one.host}: a cleanup of orphans waits or runs: what can be linked may be lost by it")
        )
    if one.problems:
        blocks += [_reasons(one), _problems(registry, one)]
        left = len(one.problems) - SHOWN
        blocks += [Text(f"{one.host}: and {left:,} more; --output json names them all")] if left > 0 else []
    return blocks


def _reasons(one: Verified) -> Block:
    counts = Counter(problem.reason for problem in one.problems)
    rows = tuple((reason, f"{count:,}", REASONS.get(reason, "")) for reason, count in counts.most_common())
    return Table((f"{one.host}: reason", "manifests", "means"), rows, right=frozenset({"manifests"}))


def _problems(registry: str, one: Verified) -> Block:
    rows = []
    for problem in one.problems[:SHOWN]:
        found = remedy(problem, one.container, registry, one.host)
        where = ", ".join(shown.name for shown in problem.repositories if shown.current) or "no repository"
        rows.append((problem.digest[:19], problem.reason, where, found.text))
    return Table((f"{one.host}: manifest", "reason", "shown by", "what to do"), tuple(rows))
