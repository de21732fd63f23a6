"""The report of a collection: what would go (a dry run), or what went and how long pushes were refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ctl.errors import Outcome
from ctl.recipes.model import RunReport, StepRecord
from ctl.report.model import Block, Json, Report, Text
from ctl.report.units import duration_text, size_text

WINDOW = ("ReadOnly", "Stopped")


def garbage_report(run: RunReport, registry: str) -> Report:
    """Make the report of `regctl gc` from its run."""
    if run.state == "dry-run" or not run.steps:
        return _looked_report(run, registry)
    went = {**run.data("PutBack"), **run.data("CollectGarbage")}  # the first measures what did not end
    planned = run.data("KeepAside")
    back: Mapping[str, Any] = run.data("PutBack")
    data: dict[str, Json] = {
        "registry": registry,
        "run": run.id,
        "dry_run": False,
        "blobs": went.get("blobs", 0),
        "bytes": went.get("bytes", 0),
        "manifests": went.get("manifests", 0),
        "repositories": went.get("repositories", 0),
        "window_seconds": round(window_of(run.steps), 3),
        "plan_seconds": planned.get("plan_seconds", 0.0),
        "plan_source": planned.get("plan_source", ""),
        "opaque_repositories": planned.get("opaque_repositories", []),
        "cross_checked": bool(run.data("CompareCollector")),
        "left_by_collector": run.data("CompareCollector").get("left_by_collector", 0),
        "put_back": back.get("put_back", 0),
        "put_back_paths": back.get("put_back_paths", []),
        "per_repository": went.get("per_repository", []),
    }
    return Report("gc", run.outcome, data, _blocks(run, data), hints=_hints(run, data))


def window_of(steps: tuple[StepRecord, ...]) -> float:
    """Return for how many seconds the first node was closed until the last one was open again."""
    closing = [s for s in steps if s.step in WINDOW]
    times = [datetime.fromisoformat(t) for s in closing for t in (s.started_at, s.ended_at) if t]
    return (max(times) - min(times)).total_seconds() if times else 0.0


def _looked_report(run: RunReport, registry: str) -> Report:
    """Report a dry run, a refusal by checks, or that there is nothing to collect."""
    data: dict[str, Json] = {"registry": registry, "dry_run": run.state == "dry-run"}
    blocks: list[Block] = []
    for preview in run.previews:
        data.update(preview.data)
        blocks.extend(preview.blocks)
    if run.outcome is Outcome.NOTHING_TO_DO:
        kept = data.get("kept_blobs", 0)
        used = f"all {kept:,} blobs of {registry} are in use."
        empty = f"{registry} holds no blobs. Was anything ever pushed, and is the disk mounted?"
        blocks = [Text(f"Nothing to collect: {used if kept else empty}")]
    return Report("gc", run.outcome, data, tuple(blocks), hints=_problem_hints(run))


def _blocks(run: RunReport, data: Mapping[str, Any]) -> tuple[Block, ...]:
    if run.state != "done":
        lines = [f"Run {run.id} ended {run.state}; `regctl run show {run.id}` has every step."]
        if data["blobs"] or data["manifests"]:
            lines.append(
                f"{data['blobs']:,} blobs and {data['manifests']:,} manifests that nothing uses went."
            )
        return (Text("\n".join([*lines, *_put_back(data)])),)
    lines = [
        f"{data['blobs']:,} blobs went: {size_text(data['bytes'])} ({data['bytes']:,} bytes).",
        f"Pushes were refused for {duration_text(data['window_seconds'])}.",
    ]
    if data["manifests"]:
        lines.insert(1, f"{data['manifests']:,} untagged manifests went.")
    lines += _put_back(data)
    if data["left_by_collector"]:
        lines.append(f"{data['left_by_collector']:,} blobs that nothing uses were left by the collector.")
    return (Text("\n".join(lines)),)


def _put_back(data: Mapping[str, Any]) -> list[str]:
    if not data["put_back"]:
        return []
    first = f"{data['put_back']:,} live files that the collector took were put back:"
    return [first, *(f"  {path}" for path in data["put_back_paths"][:20])]


def _hints(run: RunReport, data: Mapping[str, Any]) -> tuple[str, ...]:
    if run.state != "done":
        return _problem_hints(run)
    seconds = duration_text(data["window_seconds"])
    return (
        f"this collection kept pushes out for {seconds}; a registry that collects online"
        " (one with a metadata database) would have kept taking them",
    )


def _problem_hints(run: RunReport) -> tuple[str, ...]:
    return tuple(p.hint for p in run.problems if p.hint)
