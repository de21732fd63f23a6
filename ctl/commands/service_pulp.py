"""`regctl service` for a Pulp: the services of its nodes, in the order that the site names them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctl.config.pulp import PulpNode
    from ctl.context import Context
    from ctl.recipes.model import RunReport
    from ctl.report.model import Block, Json, Report
    from ctl.steps.service_of_host import Verb


def pulp_target(context: Context, target: str | None) -> tuple[str, tuple[PulpNode, ...]] | None:
    """Return (the Pulp meant, its nodes, the server first); None where a registry is meant.

    UsageError where the Pulp has no node on the host.
    """
    from ctl.steps.pulp_doors import pulp_nodes

    name, slash, host = (target or "").partition("/")
    pulps = context.site.pulps
    if not name and not context.site.registries and len(pulps) == 1:
        name = next(iter(pulps))
    if name not in pulps:
        return None
    return name, pulp_nodes(context.world, name, (host,) if slash else ())


def change(context: Context, verb: Verb, name: str, nodes: Sequence[PulpNode]) -> None:
    """Start, stop or restart them one after the other, and show how they stand then."""
    from ctl.errors import UsageError
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.pulp_services import driven

    steps = [driven(node.host, service, verb) for node in nodes for service in node.services]
    if not steps:
        raise UsageError(
            f"the site names no services of {name} on {', '.join(node.host for node in nodes)}",
            hint="write them under `services` of the node, in the order they start in",
        )
    if verb == "stop":
        steps.reverse()
    recipe = Recipe(
        f"service-{verb}",
        tuple(Do(step) for step in steps),
        resources=(f"pulp/{name}",),
        title=f"{verb} the services of {name}",
    )
    context.show(_report(context, verb, name, nodes, context.run(recipe)))


def _report(context: Context, verb: str, name: str, nodes: Sequence[PulpNode], run: RunReport) -> Report:
    from ctl.report.model import Report, Text

    rows = describe(context, name, nodes)
    data: dict[str, Json] = {"run": run.id, "dry_run": run.state == "dry-run", "services": rows}
    blocks: tuple[Block, ...] = (table(rows),)
    if run.state == "dry-run":
        changes = [preview.title for preview in run.previews if preview.changes]
        data["changes"] = changes
        blocks = tuple(block for preview in run.previews for block in preview.blocks)
        blocks += (Text(f"would {', '.join(changes)}"),) if changes else ()
    return Report(f"service-{verb}", run.outcome, data, blocks)


def describe(context: Context, name: str, nodes: Sequence[PulpNode]) -> list[dict[str, Any]]:
    """Describe the services for people and scripts; one that cannot be asked is "unknown", and says why."""
    from ctl.steps.pulp_look import services_of

    return [_describe(context, name, node.host, service) for node in nodes for service in services_of(node)]


def _describe(context: Context, name: str, host: str, service: Any) -> dict[str, Any]:
    from ctl.errors import RegctlError
    from ctl.steps.pulp_look import opened

    row: dict[str, Any] = {"registry": name, "host": host, "name": service.name, "kind": service.kind}
    row |= {"state": "unknown", "listening": None, "pid": None, "since": None, "enabled": None}
    row |= {"config_file": None}
    try:
        state = opened(context.world, host, service).state()
    except RegctlError as error:
        return row | {"detail": error.message}
    return row | state.data


def table(rows: Sequence[dict[str, Any]]) -> Block:
    """Show them."""
    from ctl.report.model import Table

    words = {True: "yes", False: "no", None: "-"}
    columns = ("Pulp", "host", "service", "state", "pid", "since", "at boot", "detail")
    cells = tuple(
        (
            row["registry"],
            row["host"],
            row["name"],
            row["state"],
            str(row["pid"] or "-"),
            row["since"] or "-",
            words[row["enabled"]],
            f"{row['kind']}: {row['detail']}",
        )
        for row in rows
    )
    return Table(columns, cells, right=frozenset({"pid"}))


def tail(context: Context, name: str, nodes: Sequence[PulpNode], lines: int) -> None:
    """Show the last lines of the services' logs."""
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text
    from ctl.steps.pulp_look import opened

    logs: list[Json] = []
    blocks: list[Block] = []
    for node in nodes:
        for service in node.services:
            said = opened(context.world, node.host, service).tail(lines)
            logs.append({"registry": name, "host": node.host, "name": service.name, "lines": said})
            blocks.append(Text("\n".join([f"{name}/{node.host} {service.name}:", *said])))
    context.show(Report("service-tail", Outcome.OK, {"logs": logs}, tuple(blocks)))
