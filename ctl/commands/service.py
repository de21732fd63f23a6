"""Start, stop and restart registries, and see what they do"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import Do, RunReport
    from ctl.report.model import Block, Json, Report
    from ctl.steps.service_of_host import Verb

_TARGET = "[REGISTRY[/HOST]]"
_grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Kill it when it has not ended by then. [default: 10 more than it drains, at least 30]",
)


@click.group("service")
def command() -> None:
    """Start, stop and restart the services of a registry's nodes, and see what they do.

    REGISTRY/HOST means one node, REGISTRY all its nodes, one after the other. Where the site has only one
    registry it need not be named. Of a Pulp all services are meant that the site names: they are started in
    that order, and stopped in the reverse one; its PostgreSQL is left alone.
    """


@command.command("start")
@click.argument("target", required=False, metavar=_TARGET)
@pass_context
def start(context: Context, target: str | None) -> None:
    """Start what is stopped, and wait until it listens."""
    _change(context, "start", target, None)


@command.command("stop")
@click.argument("target", required=False, metavar=_TARGET)
@_grace_option
@pass_context
def stop(context: Context, target: str | None, grace: float | None) -> None:
    """Let uploads in flight end (drain), then stop."""
    _change(context, "stop", target, grace)


@command.command("restart")
@click.argument("target", required=False, metavar=_TARGET)
@_grace_option
@pass_context
def restart(context: Context, target: str | None, grace: float | None) -> None:
    """Drain, stop and start again; start what was stopped."""
    _change(context, "restart", target, grace)


@command.command("status")
@click.argument("target", required=False, metavar=_TARGET)
@pass_context
def status(context: Context, target: str | None) -> None:
    """Say what each service does; exit code 0 if all run, else 3. Only looks."""
    from ctl.commands import service_pulp
    from ctl.errors import Outcome
    from ctl.report.model import Report

    rows: list[dict[str, Any]] = []
    of_pulps: list[dict[str, Any]] = []
    for name in [target] if target else [*sorted(context.site.registries), *sorted(context.site.pulps)]:
        if pulp := service_pulp.pulp_target(context, name):
            of_pulps += service_pulp.describe(context, *pulp)
        else:
            rows += [_describe(context, registry, host) for registry, host in _nodes(context, name)]
    both = [*rows, *of_pulps]
    outcome = Outcome.OK if all(row["state"] == "running" for row in both) else Outcome.WARNING
    blocks: tuple[Block, ...] = (_table(rows),) if rows or not of_pulps else ()
    blocks += (service_pulp.table(of_pulps),) if of_pulps else ()
    context.show(Report("service-status", outcome, {"services": both}, blocks))


@command.command("tail")
@click.argument("target", required=False, metavar=_TARGET)
@click.option(
    "--lines", type=click.IntRange(min=1), default=20, show_default=True, help="How many of the last lines."
)
@pass_context
def tail(context: Context, target: str | None, lines: int) -> None:
    """Show the last lines of the services' logs. Only looks."""
    from ctl.commands import service_pulp
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text

    if pulp := service_pulp.pulp_target(context, target):
        service_pulp.tail(context, *pulp, lines)
        return
    nodes = _nodes(context, target)
    logs: list[Json] = []
    blocks: list[Block] = []
    hints: list[str] = []
    for registry, host in nodes:
        said = context.world.service(registry, host).tail(lines)
        logs.append({"registry": registry, "host": host, "lines": said})
        text = [f"{registry}/{host}:", *said] if len(nodes) > 1 else said
        blocks.append(Text("\n".join(text)))
        if not said:
            hints.append(f"{registry}/{host} has no log here: never started, or by hand")
    context.show(Report("service-tail", Outcome.OK, {"logs": logs}, tuple(blocks), tuple(hints)))


def _nodes(context: Context, target: str | None) -> list[tuple[str, str]]:
    """Return (registry, host) of every node meant."""
    name, slash, host = (target or "").partition("/")
    registry = context.registry_name(name or None)
    if slash:
        return [(registry, context.world.node(registry, host).host)]
    return [(registry, node.host) for node in context.world.registry(registry).nodes]


def _change(context: Context, verb: Verb, target: str | None, grace: float | None) -> None:
    from ctl.commands import service_pulp
    from ctl.errors import UsageError
    from ctl.recipes.model import Recipe

    if pulp := service_pulp.pulp_target(context, target):
        if grace is not None:
            raise UsageError(
                "--grace is for a registry: Pulp's services end as their own manager has them end"
            )
        service_pulp.change(context, verb, *pulp)
        return
    nodes = _nodes(context, target)
    registry = nodes[0][0]
    items = tuple(_step(verb, registry, host, grace) for registry, host in nodes)
    recipe = Recipe(
        f"service-{verb}",
        items,
        resources=(f"registry/{registry}",),
        title=f"{verb} {target or registry}",
    )
    context.show(_report(context, verb, nodes, context.run(recipe)))


def _step(verb: str, registry: str, host: str, grace: float | None) -> Do:
    from ctl.recipes.model import Do
    from ctl.steps import service

    if verb == "start":
        return Do(service.StartService(registry=registry, node=host))
    kind = service.StopService if verb == "stop" else service.RestartService
    return Do(kind(registry=registry, node=host, grace_seconds=grace))


def _report(context: Context, verb: str, nodes: list[tuple[str, str]], run: RunReport) -> Report:
    from ctl.report.model import Report, Text

    rows = [_describe(context, registry, host) for registry, host in nodes]
    data: dict[str, Json] = {"run": run.id, "dry_run": run.state == "dry-run", "services": rows}
    blocks: tuple[Block, ...]
    if run.state == "dry-run":
        changes = [preview.title for preview in run.previews if preview.changes]
        data["changes"] = changes
        blocks = tuple(block for preview in run.previews for block in preview.blocks)
        if changes:
            blocks += (Text(f"would {', '.join(changes)}"),)
    else:
        blocks = (_table(rows),)
    return Report(f"service-{verb}", run.outcome, data, blocks)


def _describe(context: Context, registry: str, host: str) -> dict[str, Any]:
    """Describe a service for people and scripts; one that cannot be asked is "unknown", with the reason."""
    from ctl.errors import RegctlError
    from ctl.hosts.services import port_of

    node = context.world.node(registry, host)
    row: dict[str, Any] = {"registry": registry, "host": host, "kind": node.service.kind, "state": "unknown"}
    row |= {"listening": None, "pid": None, "since": None, "enabled": None, "config_file": None}
    try:
        service = context.world.service(registry, host)
        state = service.state()
        row["listening"] = context.world.host(host).listening(port_of(node.url))
        row["config_file"] = service.loaded_config() if state.running else None
    except RegctlError as error:
        return row | {"detail": error.message}
    return row | state.data


def _table(rows: list[dict[str, Any]]) -> Block:
    from ctl.report.model import Table

    words = {True: "yes", False: "no", None: "-"}
    return Table(
        ("registry", "host", "state", "listening", "pid", "since", "at boot", "detail"),
        tuple(
            (
                row["registry"],
                row["host"],
                row["state"],
                words[row["listening"]],
                str(row["pid"] or "-"),
                row["since"] or "-",
                words[row["enabled"]],
                f"{row['kind']}: {row['detail']}",
            )
            for row in rows
        ),
        right=frozenset({"pid"}),
    )
