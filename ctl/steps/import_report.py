"""What `regctl registry import` shows for a registry with a metadata database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from ctl.engines.metadata import ImportStep
from ctl.errors import Outcome
from ctl.recipes.model import RunReport, StepRecord
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import duration_text, size_text
from ctl.steps.import_window import STAYS

if TYPE_CHECKING:
    from ctl.world import World

_FIGURES = ("repositories", "tags", "manifests", "blobs", "bytes", "problems")
_SCOPES = ("ReadOnly", "Stopped", "ImportReadOnly", "ImportStopped")
_ROWS_SHOWN = 40
_SWITCH = (
    "what is pushed from now on is not in the database: `regctl enable-db --retry` imports it anew and "
    "switches, in one window"
)
_CLOSED = (
    "the registry stays closed and its storage is marked as the database's: set database.enabled: true in "
    "every node's file, then open it"
)
_NEXT = {
    ImportStep.ALL: _SWITCH,
    ImportStep.ONE: "next, within a week: `regctl enable-db` imports the tags and switches, in one window",
    ImportStep.TWO: _SWITCH,
    ImportStep.THREE: "online collection now deletes what nothing uses, a day after its blobs were recorded",
}


def metadata_import_report(world: World, registry: str, step: ImportStep, run: RunReport) -> Report:
    """Make the report of an import from its run."""
    if run.state == "dry-run" or not run.steps:
        return _looked(registry, step, run)
    data: dict[str, Json] = {
        "registry": registry,
        "run": run.id,
        "dry_run": False,
        "step": step.value,
        **dict.fromkeys(_FIGURES, 0),
        "problem_list": [],
    }
    figures = run.data("ImportMetadata")
    data.update({key: value for key, value in figures.items() if key != "import_step"})
    data["window_seconds"] = window_seconds(run.steps)
    data["stays_closed"] = _stays(run.steps)
    data["quarantined"] = run.data("Quarantine").get("moves", 0)
    data["count_seconds"] = run.data("PrepareImport").get("count_seconds", 0.0)
    done = "import_seconds" in figures and run.state == "done"
    outcome = (
        Outcome.WARNING if done and data["problems"] and run.outcome is not Outcome.FAILED else run.outcome
    )
    blocks = _blocks(data, step) if "import_seconds" in figures else ()
    return Report("registry-import", outcome, data, blocks, _hints(data, step, done))


def window_seconds(steps: Sequence[StepRecord]) -> float | None:
    """Return for how long writes were refused at most: from the first node's closing to the last one's end.

    None where nothing was closed, or where it still is.
    """
    closing = [one for one in steps if one.step in _SCOPES]
    if not closing or _stays(steps):
        return None
    times = [datetime.fromisoformat(t) for one in closing for t in (one.started_at, one.ended_at) if t]
    return round((max(times) - min(times)).total_seconds(), 3) if times else None


def _stays(steps: Sequence[StepRecord]) -> bool:
    return any(one.data.get(STAYS) for one in steps)


def _looked(registry: str, step: ImportStep, run: RunReport) -> Report:
    """Report a dry run, or a refusal by checks."""
    data: dict[str, Json] = {"registry": registry, "dry_run": run.state == "dry-run", "step": step.value}
    data.update(dict.fromkeys(_FIGURES, 0))
    data["problem_list"] = []
    blocks: list[Block] = []
    for preview in run.previews:
        data.update(preview.data)
        blocks += preview.titled
    return Report("registry-import", run.outcome, data, tuple(blocks))


def _blocks(data: Mapping[str, Json], step: ImportStep) -> tuple[Block, ...]:
    cells = tuple(_cell(name, data.get(name)) for name in _FIGURES)
    title = f"Import of {data['registry']}" + ("" if step is ImportStep.ALL else f", step {step.value}")
    seconds = float(cast(float, data["import_seconds"]))
    text = f"{duration_text(seconds)}, {data['attempts']} attempt(s)"
    if data.get("window_seconds") is not None:
        text += (
            f"; pushes were refused for {duration_text(float(cast(float, data['window_seconds'])))} at most"
        )
    blocks: list[Block] = [Table(_FIGURES, (cells,), title, frozenset(_FIGURES)), Text(text)]
    found = cast("Sequence[Mapping[str, Any]]", data["problem_list"])
    if found:
        columns = ("what it costs", "repository", "tag", "why")
        rows = tuple(
            (one["effect"], one["repository"], one["tag"], one["reason"]) for one in found[:_ROWS_SHOWN]
        )
        blocks.append(Table(columns, rows, "Passed over"))
        total = cast(int, data["problems"])
        if total > len(rows):
            blocks.append(Text(f"... and {total - len(rows):,} more (--output json lists up to 1,000)"))
    return tuple(blocks)


def _cell(name: str, value: Any) -> str:
    return size_text(value) if name == "bytes" else f"{value or 0:,}"


def _hints(data: Mapping[str, Json], step: ImportStep, done: bool) -> tuple[str, ...]:
    if not done:
        return ()
    hints = []
    if data["problems"]:
        hints.append("docs/reference/import-skips.md says what each reason means and what it costs")
    if data.get("trial"):
        hints.append("nothing was committed: it was a trial")
    elif data.get("storage_marked"):
        hints.append(
            "the registry stays closed, so that no push is lost: `regctl enable-db` switches and opens it"
        )
    else:
        hints.append(_NEXT[step])
    return tuple(hints)
