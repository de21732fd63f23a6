"""What `regctl gc status` shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.catalog.gc_queues import STUCK, Forecast, Queue
from ctl.engines.gitlab_gc import WORKERS, GcSettings, WorkerLog
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import duration_text
from ctl.steps.lock_files_report import count_data, moment

if TYPE_CHECKING:
    from ctl.recipes.state import RunState
    from ctl.steps.online_gc import NodeGc, OnlineGc

JITTER = 1.33  # of every pause: the registry spreads its workers by a third


def online_report(registry: str, found: OnlineGc) -> Report:
    """Lay out the queues and the workers. Exit 3 where something is stuck, too late or not known."""
    forecasts = found.forecasts()
    problems = list(_problems(found))
    data: dict[str, Json] = {
        "registry": registry,
        "kind": "online",
        "disabled": _disabled(found),
        "queues": None
        if found.queues is None
        else {name: _queue_data(queue, forecasts[name]) for name, queue in found.queues.items()},
        "review_after_seconds": {event: delay.total_seconds() for event, delay in found.delays.items()},
        "nodes": [_node_data(node) for node in found.nodes],
        "problems": problems,
    }
    hints: tuple[str, ...] = ()
    if _disabled(found):
        hints = (f"online collection is off: `regctl gc online on {registry}` turns it on",)
    elif any(queue.overdue.rows for queue in (found.queues or {}).values()):
        hints = (f"`regctl gc drain {registry}` lets the workers work faster for a while",)
    outcome = Outcome.WARNING if problems else Outcome.OK
    return Report("gc-status", outcome, data, tuple(_blocks(found, forecasts, problems)), hints)


def offline_report(registry: str, last: RunState | None) -> Report:
    """Say when garbage was last collected where only `regctl gc` does it."""
    data: dict[str, Json] = {"registry": registry, "kind": "offline", "last_collection": None, "problems": []}
    if last is None:
        text = f"{registry} has no online collection, and `regctl gc` has not collected it yet"
        return Report("gc-status", Outcome.OK, data, (Text(text),))
    figures: dict[str, Json] = {}
    for record in last.steps:
        if record.step in ("CollectGarbage", "PutBack"):
            figures.update(
                {key: record.data[key] for key in ("blobs", "bytes", "manifests") if key in record.data}
            )
    data["last_collection"] = {"run": last.id, "ended_at": last.ended_at, **figures}
    went = f"{figures.get('blobs', 0)} blobs and {figures.get('manifests', 0)} manifests went"
    return Report(
        "gc-status",
        Outcome.OK,
        data,
        (Text(f"{registry} has no online collection; last collected {last.ended_at}: {went} ({last.id})"),),
    )


def _disabled(found: OnlineGc) -> bool | None:
    known = [node.settings.disabled for node in found.nodes if node.settings is not None]
    return None if not known else any(known)


def _problems(found: OnlineGc) -> list[str]:
    problems = [f"{node.host}: {problem}" for node in found.nodes for problem in node.problems]
    if found.problem:
        problems.append(f"the queues cannot be read: {found.problem}")
    for name, queue in (found.queues or {}).items():
        if queue.stuck:
            problems.append(
                f"{queue.stuck} tasks of the queue of {name} failed {STUCK} times or more: look for "
                f"`postponing next review` in the registry's log (storage permissions, rows still in use)"
            )
        working = found.working(name)
        late = _late(queue, [node.settings for node in working if node.settings])
        if late:
            problems.append(f"the queue of {name}: {late}")
    for node in found.nodes:
        if node.log is None or node.settings is None:
            continue
        if node.log.disabled and not node.settings.disabled and node.running:
            problems.append(f"{node.host}: its file says that collection is on, its process started without")
        for name, worker in node.log.workers.items():
            if worker.last_error:
                problems.append(f"{node.host}: the worker of {name} said: {worker.last_error}")
    return problems


def _late(queue: Queue, settings: list[GcSettings]) -> str:
    """Say that tasks wait for longer than the workers' longest pause explains; "" where they do not."""
    if not settings or not queue.overdue.rows:
        return ""
    longest = min(s.max_backoff for s in settings) * JITTER
    if queue.oldest_overdue <= longest + timedelta(minutes=5):
        return ""
    since, pause = queue.oldest_overdue.total_seconds(), longest.total_seconds()
    return (
        f"its oldest task has been due for {duration_text(since)}, and a worker pauses for "
        f"{duration_text(pause)} at most: it is too slow, or fails"
    )


def _queue_data(queue: Queue, expected: Forecast) -> dict[str, Json]:
    return {
        "depth": count_data(queue.depth),
        "overdue": count_data(queue.overdue),
        "oldest_overdue_seconds": round(queue.oldest_overdue.total_seconds()),
        "next_review_at": moment(queue.oldest),
        "last_review_at": moment(queue.latest),
        "stuck": queue.stuck,
        "most_reviews": queue.most_reviews,
        "events": dict(queue.events),
        "forecast": {
            "empty_at": moment(expected.empty_at),
            "tasks_per_second": round(expected.per_second, 4),
            "measured": expected.measured,
            "reason": expected.reason,
        },
    }


def _node_data(node: NodeGc) -> dict[str, Json]:
    settings = node.settings
    logs: Mapping[str, WorkerLog] = node.log.workers if node.log else {}
    return {
        "host": node.host,
        "running": node.running,
        "disabled": settings.disabled if settings else None,
        "no_idle_backoff": settings.no_idle_backoff if settings else None,
        "max_backoff_seconds": settings.max_backoff.total_seconds() if settings else None,
        "workers": {name: _worker_data(settings, name, logs.get(name, WorkerLog())) for name in WORKERS},
        "problems": list(node.problems),
    }


def _worker_data(settings: GcSettings | None, name: str, log: WorkerLog) -> dict[str, Json]:
    return {
        "disabled": not settings.works(name) if settings else None,
        "interval_seconds": settings.workers[name].interval.total_seconds() if settings else None,
        "started_at": moment(log.started),
        "last_run_at": moment(log.last_run),
        "last_deletion_at": moment(log.last_deletion),
        "sleeps_seconds": round(log.sleeps.total_seconds(), 3) if log.sleeps else None,
        "runs_in_log": log.runs,
        "deletions_in_log": log.deletions,
        "last_error": log.last_error,
    }


def _blocks(found: OnlineGc, forecasts: Mapping[str, Forecast], problems: list[str]) -> list[Block]:
    blocks: list[Block] = []
    if found.queues is not None:
        columns = ("queue", "tasks", "due", "due since", "stuck", "empty", "pace")
        rows = tuple(_queue_row(name, queue, forecasts[name]) for name, queue in found.queues.items())
        blocks.append(Table(columns, rows, right=frozenset({"tasks", "due", "stuck"})))
        for name, queue in found.queues.items():
            if queue.events:
                why = ", ".join(f"{event or 'no reason'} {count:,}" for event, count in queue.events.items())
                blocks.append(Text(f"why the tasks of {name} were queued: {why}"))
    columns = ("host", "worker", "state", "every", "longest pause", "last run", "last deletion")
    blocks.append(Table(columns, tuple(row for node in found.nodes for row in _node_rows(node))))
    if problems:
        blocks.append(Text("\n".join(["What needs attention:", *(f"  {problem}" for problem in problems)])))
    return blocks


def _queue_row(name: str, queue: Queue, expected: Forecast) -> tuple[str, ...]:
    empty = moment(expected.empty_at) or f"never: {expected.reason}"
    pace = f"{expected.per_second:.2f}/s, {'measured' if expected.measured else 'by the intervals'}"
    return (
        name,
        str(queue.depth),
        str(queue.overdue),
        duration_text(queue.oldest_overdue.total_seconds()) if queue.overdue.rows else "-",
        "unknown" if queue.stuck is None else str(queue.stuck),
        empty if queue.depth.rows else "now",
        pace,
    )


def _node_rows(node: NodeGc) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in WORKERS:
        settings = node.settings
        log = node.log.workers.get(name, WorkerLog()) if node.log else WorkerLog()
        state = "unknown"
        if settings is not None and node.running is not None:
            state = "off" if not settings.works(name) else "at work" if node.running else "stopped"
        rows.append(
            (
                node.host,
                name,
                state,
                duration_text(settings.workers[name].interval.total_seconds()) if settings else "-",
                duration_text(settings.max_backoff.total_seconds()) if settings else "-",
                moment(log.last_run) or "not in the log",
                moment(log.last_deletion) or "not in the log",
            )
        )
    return rows
