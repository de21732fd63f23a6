"""The copies of rows that preparing has kept: list them, bring one back, delete one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.content_options import hosts as on_hosts
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context
    from ctl.recipes.model import Step
    from ctl.report.model import Report

_one_host = click.option("--host", metavar="HOST", help="The host; may be left out where the Pulp has one.")


@click.command("copies")
@click.argument("registry", required=False)
@on_hosts
@pass_context
def copies(context: Context, registry: str | None, hosts: tuple[str, ...]) -> None:
    """List the copies of rows that each host of REGISTRY keeps, each read to its last byte.

    Exit code 3 where one is damaged, 7 where a host does not answer.
    """
    from functools import partial

    from ctl.commands.content_options import pulp_name
    from ctl.probing import NoAnswer, ask
    from ctl.steps.content_copies import LONGEST, ask_copies, copies_report
    from ctl.steps.pulp_doors import pulp_nodes

    name = pulp_name(context, registry)
    nodes = [node.host for node in pulp_nodes(context.world, name, hosts)]
    request = {"action": "list"}
    questions = {host: partial(ask_copies, context.world, name, host, "keep", request) for host in nodes}
    found = ask(questions, LONGEST.total_seconds())
    answers = [(host, one.why if isinstance(one := found[host], NoAnswer) else one) for host in nodes]
    context.show(copies_report(name, answers))


@click.command("restore")
@click.argument("registry", required=False)
@_one_host
@click.option("--copy", "copy", metavar="NAME", help="Which copy; may be left out where there is one.")
@click.option("--partial", is_flag=True, help="Bring back what can be, where some of it cannot.")
@pass_context
def restore(
    context: Context, registry: str | None, host: str | None, copy: str | None, partial: bool
) -> None:
    """Bring back the rows of a copy, as they were before preparing, with the links to their files.

    Refused where the copy is damaged or another Pulp's, where a file that it needs is gone, and where the
    installed release serves nothing that is not prepared.
    """
    from ctl.commands.content_options import pulp_name
    from ctl.steps.restore_content import RestoreContent

    name = pulp_name(context, registry)
    where = _host(context, name, host)
    chosen = copy or _only_copy(context, name, where)
    chunk = context.world.pulp(name).content.chunk
    step = RestoreContent(pulp=name, host_name=where, name=chosen, partial=partial, chunk=chunk)
    question = f"Bring back the rows of {name} on {where}? What was prepared there is then to be done again."
    context.show(_run(context, "restore", name, step, question))


@click.command("forget")
@click.argument("registry", required=False)
@_one_host
@click.option(
    "--copy", "copy", metavar="NAME", required=True, help="Which copy; `content copies` lists them."
)
@pass_context
def forget(context: Context, registry: str | None, host: str | None, copy: str) -> None:
    """Delete a copy of rows; that way back is then gone."""
    from ctl.commands.content_options import pulp_name
    from ctl.steps.keep_content import ForgetCopy

    name = pulp_name(context, registry)
    where = _host(context, name, host)
    step = ForgetCopy(pulp=name, host_name=where, name=copy)
    context.show(_run(context, "forget", name, step, f"Delete the copy {copy} on {where} for good?"))


def _host(context: Context, registry: str, given: str | None) -> str:
    from ctl.errors import UsageError
    from ctl.steps.pulp_doors import pulp_node

    hosts = [node.host for node in context.world.pulp(registry).nodes]
    if given is not None:
        return pulp_node(context.world, registry, given).host
    if len(hosts) > 1:
        raise UsageError(f"which host? {registry} has several", hint=f"--host, one of {', '.join(hosts)}")
    return hosts[0]


def _only_copy(context: Context, registry: str, host: str) -> str:
    from ctl.errors import UsageError
    from ctl.steps.content_copies import ask_copies

    found = ask_copies(context.world, registry, host, "keep", {"action": "list"})
    names = [str(one["name"]) for one in found["copies"]]
    if len(names) != 1:
        what = f"{host} keeps no copy of rows of {registry}" if not names else "which copy? there are several"
        raise UsageError(what, hint=f"--copy, one of {', '.join(names)}" if names else "")
    return names[0]


def _run(context: Context, verb: str, registry: str, step: Step, question: str) -> Report:
    from ctl.recipes.model import Do, Recipe
    from ctl.report.model import Report, Text

    host = step.host()
    recipe = Recipe(
        f"content-{verb}",
        (Do(step),),
        resources=(f"pulp/{registry}", f"registry/{registry}", f"host/{host}"),
        title=step.title(),
        question=question,
    )
    run = context.run(recipe)
    figures = dict(run.data(type(step).__name__))
    data = {"registry": registry, "host": host, "run": run.id, "dry_run": run.state == "dry-run", **figures}
    if run.state == "dry-run" or not run.id:
        data = {**data, **{key: one for found in run.previews for key, one in found.data.items()}}
        blocks = tuple(block for found in run.previews for block in found.titled)
        return Report(f"content-{verb}", run.outcome, data, blocks)
    words = ", ".join(f"{key} {one}" for key, one in figures.items() if not isinstance(one, dict))
    return Report(f"content-{verb}", run.outcome, data, (Text(f"{step.title()}: {words or run.state}"),))
