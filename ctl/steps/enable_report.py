"""What `enable-db` shows of a run, for people and for scripts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Text

if TYPE_CHECKING:
    from ctl.recipes.model import RunReport, StepRecord

_PROOF = ("backend", "nodes_proved", "lock_files", "repositories", "tags")
_IMPORTED = ("problems", "tags_dropped", "tags_incomplete", "by_reason", "problem_list", "import_seconds")
_DONE = (Outcome.OK, Outcome.CHANGED, Outcome.WARNING)


def enable_report(registry: str, how: str, run: RunReport) -> Report:
    """Show how a run of `enable-db` ended; what stood in its way has been told already."""
    data: dict[str, Json] = {"registry": registry, "import": how, **_common(run)}
    if run.state == "dry-run":
        return Report("enable-db", run.outcome, data, _previews(run))
    proof = run.data("ProveBackend")
    data |= {key: proof[key] for key in _PROOF if key in proof}
    data |= {key: run.data("ImportMetadata")[key] for key in _IMPORTED if key in run.data("ImportMetadata")}
    data["window_seconds"] = window_seconds(run)
    if run.state != "done":
        return Report("enable-db", run.outcome, data, _steps(run))
    data["online_gc"] = "off"
    outcome = Outcome.WARNING if run.data("ImportMetadata").get("problems") else run.outcome
    text = (
        f"{registry} serves from its metadata database: {proof.get('tags', 0):,} tags in "
        f"{proof.get('repositories', 0):,} repositories, proved on {proof.get('nodes_proved', 0)} node(s)."
    )
    dropped = run.data("ImportMetadata").get("tags_dropped")
    blocks: list[Block] = [Text(text)]
    if dropped:
        blocks.append(Text(f"{dropped} tags could not be imported; `regctl registry verify` names each."))
    hints = (
        f"`regctl registry verify {registry}` compares both; then `regctl enable-db {registry} --finish` "
        "turns online garbage collection on. Keep a backup of the storage and of the database, made together",
    )
    return Report("enable-db", outcome, data, tuple(blocks), hints)


def finish_report(registry: str, run: RunReport) -> Report:
    """Show how a run of `enable-db --finish` ended."""
    data: dict[str, Json] = {"registry": registry, **_common(run)}
    if run.state == "dry-run":
        return Report("enable-db", run.outcome, data, _previews(run))
    if run.state == "done" and run.outcome in (*_DONE, Outcome.NOTHING_TO_DO):
        data["online_gc"] = "on"
        text = Text(f"Online garbage collection of {registry} is on.")
        return Report("enable-db", run.outcome, data, (text,))
    return Report("enable-db", run.outcome, data, _steps(run))


def window_seconds(run: RunReport) -> float:
    """Say how long pushes were refused, from the first node closed to the last one opened; 0 if never."""
    closed = [one.ended_at for one in run.steps if _window(one, "apply") and one.ended_at]
    opened = [one.ended_at for one in run.steps if _window(one, "leave") and one.ended_at]
    if not closed or not opened:
        return 0.0
    return round((_time(max(opened)) - _time(min(closed))).total_seconds(), 3)


def _window(record: StepRecord, phase: str) -> bool:
    return record.step == "SwitchWindow" and record.phase == phase


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _common(run: RunReport) -> dict[str, Any]:
    found: dict[str, Any] = {"run": run.id, "state": run.state, "dry_run": run.state == "dry-run"}
    if run.state == "dry-run":
        found["previews"] = [{"title": one.title, "changes": one.changes, **one.data} for one in run.previews]
    else:
        found["steps"] = [
            {"step": one.step, "host": one.host, "phase": one.phase, "result": one.result}
            for one in run.steps
        ]
    if run.problems:
        found["problem_messages"] = [{"message": one.message, "hint": one.hint} for one in run.problems]
    return found


def _previews(run: RunReport) -> tuple[Block, ...]:
    return tuple(block for one in run.previews if one.changes for block in one.titled)


def _steps(run: RunReport) -> tuple[Block, ...]:
    return tuple(
        Text(f"{one.result}: {one.title}") for one in run.steps if one.result not in ("ok", "not-attempted")
    )
