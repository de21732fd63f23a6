"""Close registries for maintenance and pause what works by itself, until told otherwise; see how it stands"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctl.context import Context
    from ctl.recipes.model import Do, RunReport
    from ctl.report.model import Block, Json, Report
    from ctl.steps.maintenance_state import RegistryState
    from ctl.world import World


@click.group("maintenance")
def command() -> None:
    """Put registries under maintenance: no push is taken on any node, and the timers of the site rest.

    It lasts over runs and restarts of regctl, until `maintenance off`. Without REGISTRY all registries of the
    site are meant. Pulls go on.
    """


@command.command("on")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@click.option("--reason", default="", metavar="TEXT", help="Why; shown by `maintenance status`.")
@click.option("--repair", is_flag=True, help="Make a maintenance whole again that is on by half.")
@click.option("--skip", multiple=True, metavar="CHECK", help="Pass over a check by its name: config-newer.")
@click.option("--skip-reason", default="", metavar="WHY", help="Why a check is passed over; journaled.")
@pass_context
def on(
    context: Context,
    registries: tuple[str, ...],
    reason: str,
    repair: bool,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Pause the timers, then refuse pushes on every node, each proved; remember how all of it was before.

    If one step fails, everything is brought back. What was closed or stopped before is left as it is, also
    by `maintenance off`.
    """
    names = _names(context, registries)
    for state in _look(context.world, names):
        if not repair:
            _refuse_half(state, "on")
    items = [do for name in names for do in _closing(context.world, name, reason, repair)]
    run = context.run(_recipe(context, "on", names, items), skip=skip, skip_reason=skip_reason)
    context.show(_changed(context, "on", names, run))


@command.command("off")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@click.option("--repair", is_flag=True, help="Also undo what no record names, and keep edits made meanwhile.")
@pass_context
def off(context: Context, registries: tuple[str, ...], repair: bool) -> None:
    """Bring back what `maintenance on` found: open what was open, wake what was running, and nothing else."""
    names, items = _names(context, registries), []
    for state in _look(context.world, names):
        if state.record is None and not repair:
            _refuse_half(state, "off")
        items += list(_opening(context, state, repair))
    run = context.run(_recipe(context, "off", names, items))
    context.show(_changed(context, "off", names, run))


@command.command("status")
@click.argument("registries", metavar="[REGISTRY]...", nargs=-1)
@pass_context
def status(context: Context, registries: tuple[str, ...]) -> None:
    """Say whether maintenance is on or off, and where it is only by half, with the command that repairs it.

    Only looks. Exit code 0 where it is wholly on or wholly off, 3 where a half of it is found.
    """
    from ctl.errors import Outcome
    from ctl.report.model import Report

    states = _look(context.world, _names(context, registries))
    half = any(state.findings for state in states)
    outcome = Outcome.WARNING if half else Outcome.OK
    context.show(Report("maintenance-status", outcome, _data(states), tuple(_blocks(states))))


def _names(context: Context, given: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(context.registry_name(name) for name in given)) or sorted(
        context.site.registries
    )


def _look(world: World, names: list[str]) -> list[RegistryState]:
    from ctl.recipes.live import CheckRun
    from ctl.recipes.model import Target
    from ctl.steps.maintenance_state import look

    here = Target(world, CheckRun("maintenance-status", lambda event: None))
    return [look(here, name) for name in names]


def _refuse_half(state: RegistryState, verb: str) -> None:
    from ctl.errors import RefusedError

    if state.state != "half":
        return
    lines = tuple(f"{one.where}: {one.message}; repair: {one.repair}" for one in state.findings)
    raise RefusedError(
        f"the maintenance of {state.registry} is on by half; it is not turned {verb} over that",
        hint=f"`regctl maintenance on {state.registry} --repair` makes it whole, `off --repair` undoes it",
        details=lines,
    )


def _recipe(context: Context, verb: str, names: list[str], items: list[Do]) -> Any:
    from ctl.recipes.model import Recipe
    from ctl.steps.maintenance_record import pauses
    from ctl.steps.timers import timers_of

    site = context.site
    hosts = {timer.host for name in names for timer in timers_of(site, name)}
    hosts |= {pause.timer.host for pause in pauses(context.world.state_dir) if set(names) & {*pause.held_by}}
    what, question = ", ".join(names), "Its nodes are restarted, its timers are paused."
    asked = f"Put {what} under maintenance? {question}"
    if verb == "off":
        asked = f"End the maintenance of {what}? Nodes that run are restarted."
    return Recipe(
        f"maintenance-{verb}",
        tuple(items),
        resources=(*(f"registry/{name}" for name in names), *(f"host/{host}" for host in sorted(hosts))),
        title=f"turn the maintenance of {what} {verb}",
        question=asked,
        undo_on_failure=verb == "on",
    )


def _closing(world: World, registry: str, reason: str, repair: bool) -> Iterator[Do]:
    from ctl.recipes.identity import operator
    from ctl.recipes.model import Do
    from ctl.steps.enter_maintenance import EnterMaintenance
    from ctl.steps.maintenance_repair import CloseAgain
    from ctl.steps.pause_timer import PauseTimer
    from ctl.steps.set_read_only import SetReadOnly
    from ctl.steps.timers import timers_of

    by = operator()
    yield Do(EnterMaintenance(registry=registry, by=by, reason=reason))
    for timer in timers_of(world.site, registry):
        yield Do(PauseTimer(registry=registry, timer=timer))
    close: type[SetReadOnly] = CloseAgain if repair else SetReadOnly
    for node in world.registry(registry).nodes:
        yield Do(close(registry=registry, node=node.host, by=by, reason=reason))


def _opening(context: Context, state: RegistryState, repair: bool) -> Iterator[Do]:
    """Open the nodes first: what the timers start then finds the registry as it should be."""
    from ctl.recipes.model import Do
    from ctl.steps.enter_maintenance import EndMaintenance
    from ctl.steps.maintenance_record import pauses
    from ctl.steps.maintenance_repair import OpenEdited
    from ctl.steps.pause_timer import WakeTimer
    from ctl.steps.set_read_only import ClearReadOnly
    from ctl.steps.timers import timers_of

    name, record = state.registry, state.record
    open_: type[ClearReadOnly] = OpenEdited if repair else ClearReadOnly
    for node in state.nodes:
        before = record.nodes.get(node.host, "read-only") if record else "read-only"
        if node.by_us or (before == "writable" and (not repair or node.config == "unknown")):
            yield Do(open_(registry=name, node=node.host))
        elif before == "writable" and node.config == "read-only":
            # closed by its own configuration meanwhile: only what we closed is opened
            _tell(context, f"{name} on {node.host} is read-only by its own configuration: it is left so")
    named = {one.key: one.timer for one in pauses(context.world.state_dir) if name in one.held_by}
    if repair:
        from ctl.steps.timers import key_of

        lost = {timer.key for timer in state.timers if timer.left_aside}
        wanted = {key_of(timer): timer for timer in timers_of(context.site, name)}
        named |= {key: timer for key, timer in wanted.items() if key in lost}
    for timer in named.values():
        yield Do(WakeTimer(registry=name, timer=timer))
    yield Do(EndMaintenance(registry=name))


def _tell(context: Context, text: str) -> None:
    from ctl.report.events import Message

    context.emit(Message(text, "warning"))


# -- reports -------------------------------------------------------------------------------------


def _changed(context: Context, verb: str, names: list[str], run: RunReport) -> Report:
    from ctl.report.model import Report

    command = f"maintenance-{verb}"
    if run.state == "dry-run":
        changes: list[Json] = [preview.title for preview in run.previews if preview.changes]
        data: dict[str, Json] = {"registries": names, "dry_run": True, "changes": changes}
        blocks = tuple(block for preview in run.previews for block in preview.titled)
        return Report(command, run.outcome, data, blocks)
    states = _look(context.world, names)
    data = {**_data(states), "dry_run": False, "run": run.id}
    return Report(command, run.outcome, data, tuple(_blocks(states)))


def _overall(states: list[RegistryState]) -> str:
    found = {state.state for state in states}
    return "half" if "half" in found else "on" if "on" in found else "off"


def _data(states: list[RegistryState]) -> dict[str, Json]:
    return {
        "state": _overall(states),
        "registries": {state.registry: _registry(state) for state in states},
        "findings": [vars(finding) for state in states for finding in state.findings],
    }


def _registry(state: RegistryState) -> dict[str, Json]:
    record = state.record
    return {
        "state": state.state,
        "since": record.since if record else None,
        "by": record.by if record else None,
        "reason": record.reason if record else None,
        "run": record.run if record else None,
        "nodes": [
            {
                "host": node.host,
                "config": node.config,
                "probe": node.probe,
                "before": record.nodes.get(node.host) if record else None,
                "detail": node.detail,
            }
            for node in state.nodes
        ],
        "timers": [
            {
                "host": timer.host,
                "kind": timer.kind,
                "name": timer.label,
                "standing": timer.standing,
                "before": timer.found,
                "detail": timer.detail,
            }
            for timer in state.timers
        ],
        "findings": [vars(finding) for finding in state.findings],
    }


def _blocks(states: list[RegistryState]) -> Iterator[Block]:
    from ctl.report.model import Table, Text

    rows = []
    for state in states:
        record = state.record
        cells = (record.since, record.by, record.reason or "-") if record else ("-", "-", "-")
        rows.append((state.registry, state.state, *cells))
    yield Table(("registry", "maintenance", "since", "by", "reason"), tuple(rows))
    for state in states:
        nodes = tuple((node.host, node.config, node.probe, node.detail or "-") for node in state.nodes)
        yield Table(("host", "file says", "a write meets", "detail"), nodes, title=state.registry)
        timers = tuple(
            (timer.host, timer.kind, timer.label, timer.standing, timer.found or "-")
            for timer in state.timers
        )
        if timers:
            yield Table(("host", "kind", "timer", "is", "was before"), timers)
    findings = [finding for state in states for finding in state.findings]
    if findings:
        told = tuple((one.where, one.message, one.repair) for one in findings)
        yield Table(("where", "what is not whole", "repair"), told)
    else:
        yield Text(f"maintenance is {_overall(states)}")
