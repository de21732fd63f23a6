"""What `registry preflight` and `registry quarantine` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ctl.catalog.preflight_words import KINDS, Effect, PreflightFinding
from ctl.errors import Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.recipes.model import RunReport
    from ctl.steps.preflight import PreflightResult

LIST_LIMIT = 10_000  # findings in the JSON; the counts beside them are complete
_ROWS_SHOWN = 60
_ORDER = {effect: number for number, effect in enumerate(Effect)}


def preflight_report(registry: str, result: PreflightResult, effects: Sequence[str] = ()) -> Report:
    """Turn a reading into the command's report: the worst first."""
    found = [one for one in result.findings if not effects or one.effect in effects]
    found.sort(key=lambda one: (_ORDER[one.effect], one.path, one.tag))
    lossy = any(one.effect is not Effect.INFO for one in result.findings)
    data: dict[str, Json] = {"registry": registry, **figures(result)}
    data["findings"] = [finding_data(one) for one in found[:LIST_LIMIT]]
    blocks: list[Block] = [Text(_summary(registry, result))]
    blocks += _tables(found)
    hints: tuple[str, ...] = ()
    if result.moves():
        hints = (
            f"`regctl registry quarantine {registry}` moves aside what the import would stop at, with undo;"
            " docs/reference/preflight-findings.md says what each kind means",
        )
    return Report("registry-preflight", Outcome.WARNING if lossy else Outcome.OK, data, tuple(blocks), hints)


def figures(result: PreflightResult) -> dict[str, Json]:
    """Return the counts of a reading, for reports."""
    counts = asdict(result.counts)
    effects = counts.pop("effects")
    return {
        **counts,
        **{f"{effect}_findings": effects[effect] for effect in ("abort", "drop", "alter", "info")},
        "moves": len(result.moves()),
        "seconds": round(result.seconds, 3),
    }


def finding_data(one: PreflightFinding) -> dict[str, Json]:
    """Return a finding as data."""
    return {
        "path": one.path,
        "kind": one.kind,
        "effect": str(one.effect),
        "repository": one.repository,
        "tag": one.tag,
        "digest": one.digest,
        "reason": one.reason,
        "remedy": one.remedy,
        "moved_by_quarantine": bool(one.move),
        "hidden_by": one.hidden_by,
        "lost": list(one.lost),
        "count": one.count,
    }


def _summary(registry: str, result: PreflightResult) -> str:
    counts = result.counts
    stopping = counts.effects[Effect.ABORT]
    verdict = (
        f"the import would stop: {stopping} entries stand in its way"
        if stopping
        else "nothing stops the import"
    )
    return (
        f"{registry}: {counts.repositories:,} repositories, {counts.tags:,} tags,"
        f" {counts.manifests:,} manifests, {counts.blobs:,} blobs, read in {result.seconds:.1f} s\n"
        f"{verdict}; {counts.tags_lost:,} tags would be lost once it runs"
    )


def _tables(found: Sequence[PreflightFinding]) -> list[Block]:
    if not found:
        return []
    by_kind: dict[str, int] = {}
    for one in found:
        by_kind[one.kind] = by_kind.get(one.kind, 0) + 1
    summary = tuple(
        (str(KINDS[kind].effect), kind, f"{count:,}", KINDS[kind].meaning) for kind, count in by_kind.items()
    )
    rows = tuple(
        (str(one.effect), one.kind, one.path, one.tag, one.reason, one.remedy) for one in found[:_ROWS_SHOWN]
    )
    more = f", the first {_ROWS_SHOWN} of {len(found):,}" if len(found) > _ROWS_SHOWN else ""
    return [
        Table(("effect", "kind", "count", "meaning"), summary, "Findings", frozenset({"count"})),
        Table(("effect", "kind", "path", "tag", "reason", "remedy"), rows, f"Each of them{more}"),
    ]


def quarantine_report(registry: str, run: RunReport, step: str) -> Report:
    """Turn a run, or a dry run, of a quarantine or of its undo into the command's report."""
    data: dict[str, Json] = {"registry": registry, "run": run.id, "moves": 0}
    blocks: list[Block] = []
    if run.state == "dry-run":
        data["dry_run"] = True
        for preview in run.previews:
            data.update(preview.data)
            blocks.extend(preview.blocks)
    else:
        data.update(run.data(step))
        if data["moves"]:
            verb = "moved aside" if step == "Quarantine" else "brought back"
            blocks.append(Text(f"{data['moves']} entries were {verb}"))
    hints: tuple[str, ...] = ()
    if step == "Quarantine" and run.id and data["moves"]:
        hints = (f"`regctl registry quarantine undo {run.id}` brings everything back as it was",)
    command = "registry-quarantine" if step == "Quarantine" else "registry-quarantine-undo"
    return Report(command, run.outcome, data, tuple(blocks), hints)
