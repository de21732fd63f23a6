"""What `regctl host run` shows: how the program ended on each host, and what it printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ctl.recipes.codec import all_rows
from ctl.recipes.model import Do
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.run_program import RunProgram

if TYPE_CHECKING:
    from ctl.recipes.model import HostRecord, Recipe, RunReport


def run_report(run: RunReport, recipe: Recipe) -> Report:
    """Show a run of `host run`, or its dry run."""
    steps = [
        item.step
        for row in all_rows(recipe).values()
        for item in row.body
        if isinstance(item, Do) and isinstance(item.step, RunProgram)
    ]
    figures = {record.host: record.data for record in run.steps if record.phase == "apply" and record.data}
    records = {record.host: record for record in run.hosts}
    hosts = [
        _host(step.host_name, records.get(step.host_name), figures.get(step.host_name, {})) for step in steps
    ]
    counts = Counter(str(host["result"]) for host in hosts)
    data: dict[str, Json] = {
        "run": run.id,
        "dry_run": run.state == "dry-run",
        "state": run.state,
        "argv": list(steps[0].argv),
        "counts": dict(sorted(counts.items())),
        "hosts": hosts,
    }
    hints = []
    if run.id and run.state == "open":
        hints.append(f"regctl run resume {run.id}")
    elif run.id and counts.keys() - {"ok", "changed"}:
        hints.append(f"regctl host run --unfinished {run.id} takes up what is left")
    return Report("host-run", run.outcome, data, _blocks(hosts), tuple(hints))


def _host(name: str, record: HostRecord | None, figures: Mapping[str, Json]) -> dict[str, Json]:
    result = record.result if record is not None else "not-attempted"
    if figures.get("unknown") and result == "failed":
        result = "unknown"
    return {
        "host": name,
        "result": result,
        "reason": record.reason if record is not None else "",
        "exit_code": figures.get("exit_code"),
        "stdout": figures.get("stdout", ""),
        "stderr": figures.get("stderr", ""),
        "stdout_bytes": figures.get("stdout_bytes", 0),
        "stderr_bytes": figures.get("stderr_bytes", 0),
        "rest": figures.get("rest", ""),
        "job": figures.get("job", ""),
        "seconds": record.seconds if record is not None else 0.0,
    }


def _blocks(hosts: list[dict[str, Json]]) -> tuple[Block, ...]:
    rows = tuple(
        (
            str(host["host"]),
            str(host["result"]),
            "-" if host["exit_code"] is None else str(host["exit_code"]),
            f"{host['seconds']:.1f} s",
            str(host["reason"]).partition("\n")[0],
        )
        for host in hosts
    )
    table = Table(
        ("host", "result", "exit code", "took", "why"), rows, right=frozenset({"exit code", "took"})
    )
    blocks: list[Block] = [table]
    for host in hosts:
        for stream in ("stdout", "stderr"):
            if text := str(host[stream]).rstrip("\n"):
                label = str(host["host"]) + (" (stderr)" if stream == "stderr" else "")
                blocks.append(Text("\n".join(f"{label}: {line}" for line in text.split("\n"))))
        if host["rest"]:
            blocks.append(Text(f"{host['host']}: all of it is kept there in {host['rest']}"))
    return tuple(blocks)
