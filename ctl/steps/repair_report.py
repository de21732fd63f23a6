"""The recipe of `regctl content repair`, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ctl.errors import Outcome, UsageError
from ctl.recipes import runs
from ctl.recipes.codec import all_rows
from ctl.recipes.model import Across, Do, Recipe, Row
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.steps.pulp_doors import pulp_nodes
from ctl.steps.repair_content import RelinkContent, UnlinkContent

if TYPE_CHECKING:
    from ctl.recipes.model import RunReport
    from ctl.world import World

NAME = "content-repair"


def repair_recipe(world: World, registry: str, hosts: Sequence[str] = ()) -> Recipe:
    """Return the recipe: a row for each host, side by side; what fails on one does not stop the others."""
    rows = [
        Row(node.host, (Do(RelinkContent(pulp=registry, host_name=node.host)),))
        for node in pulp_nodes(world, registry, hosts)
    ]
    return _recipe(registry, rows, f"link manifests of {registry} to their files again")


def undo_recipe(world: World, registry: str, given: str) -> Recipe:
    """Return the recipe that takes back what a repair of an earlier run linked; UsageError for other runs."""
    state = runs.load(world.state_dir, runs.find(world.state_dir, given))
    if state.recipe != NAME:
        raise UsageError(f"run {state.id} is none of `regctl content repair`, but of {state.recipe}")
    rows = []
    for path, row in all_rows(state.load()).items():
        seed = state.at(f"{path}.1").before.get("seed")
        step = next((do.step for do in row.body if isinstance(do, Do)), None)
        if seed and isinstance(step, RelinkContent) and step.pulp == registry:
            step_back = UnlinkContent(pulp=registry, host_name=row.host, seed=str(seed))
            rows.append(Row(row.host, (Do(step_back),)))
    if not rows:
        raise UsageError(f"run {state.id} linked nothing of {registry}")
    return _recipe(registry, rows, f"take back the links of run {state.id}")


def _recipe(registry: str, rows: Sequence[Row], title: str) -> Recipe:
    across = Across(tuple(rows), max_fail=len(rows) - 1)  # each host by itself; where all fail, so does this
    question = "Change these links in Pulp's database?"
    return Recipe(NAME, (across,), (f"pulp/{registry}",), title, question)


def repair_report(registry: str, run: RunReport) -> Report:
    """Show a run of `content repair`, or its dry run: exit 3 where manifests stay that cannot be linked."""
    seen = {str(preview.data.get("host")): preview.data for preview in run.previews if preview.data}
    figures = {record.host: record.data for record in run.steps if record.phase == "apply" and record.data}
    hosts = [_host(one.host, one.result, one.reason, seen, figures) for one in run.hosts]
    outcome = run.outcome
    if outcome in (Outcome.NOTHING_TO_DO, Outcome.CHANGED, Outcome.OK) and any(one["lost"] for one in hosts):
        outcome = Outcome.WARNING
    data: dict[str, Json] = {
        "registry": registry,
        "run": run.id,
        "dry_run": run.state == "dry-run",
        "linked": sum(int(str(one["linked"])) for one in hosts),
        "hosts": hosts,
    }
    hints = [f"regctl content verify {registry}"] if any(one["lost"] for one in hosts) else []
    if run.id and run.state == "done" and any(one["linked"] for one in hosts):
        hints.append(f"regctl content prepare {registry}")
        hints.append(f"regctl content repair {registry} --undo {run.id} takes these links back")
    if run.id and run.state == "open":
        hints = [f"regctl run resume {run.id}"]
    return Report(NAME, outcome, data, _blocks(run, hosts), tuple(hints))


def _host(
    host: str,
    result: str,
    reason: str,
    seen: Mapping[str, Mapping[str, Json]],
    figures: Mapping[str, Mapping[str, Json]],
) -> dict[str, Json]:
    before, after = seen.get(host, {}), figures.get(host, {})
    return {
        "host": host,
        "result": result,
        "reason": reason,
        "linkable": before.get("linkable", 0),
        "linked": after.get("linked", 0),
        "unlinked": after.get("unlinked", 0),
        "failed": after.get("failed", []),
        "lost": before.get("lost", 0),
        "manifests": before.get("manifests", []),
    }


def _blocks(run: RunReport, hosts: Sequence[Mapping[str, Json]]) -> tuple[Block, ...]:
    columns = ("host", "result", "could be linked", "linked", "taken back", "lost", "why")
    keys = ("linkable", "linked", "unlinked", "lost")
    rows = tuple(
        (str(one["host"]), str(one["result"]), *(str(one[key]) for key in keys), str(one["reason"]))
        for one in hosts
    )
    table = Table(columns, rows, right=frozenset(columns[2:6]))
    if run.state == "dry-run":
        return (*(block for preview in run.previews for block in preview.titled), table)
    if not run.id:  # nothing to do: what stays lost is worth a word
        return (table, *(block for one in run.previews for block in one.blocks if isinstance(block, Text)))
    return (table,)
