"""How the maintenance of a registry stands: on, off, or half, and what repairs each half. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ctl.errors import RegctlError
from ctl.steps import timers as doors
from ctl.steps.maintenance_record import Maintenance, Pause, pauses, read_maintenance
from ctl.steps.timers import AnyTimer, key_of, timers_of

if TYPE_CHECKING:
    from ctl.recipes.model import Target
    from ctl.world import World

State = Literal["on", "off", "half"]


@dataclass(frozen=True)
class NodeFacts:
    """What is seen of a node. `by_us`: maintenance has closed it, as its record or its kept original says."""

    host: str
    config: str  # read-only | writable | unreadable | unknown
    probe: str  # read-only | writable | stopped | unproven | unreachable | unknown
    by_us: bool = False
    edited: bool = False  # since we closed it, and read-only still
    detail: str = ""


@dataclass(frozen=True)
class TimerFacts:
    """What is seen of a timer. `held`: the records say that it is paused for this registry."""

    key: str
    host: str
    label: str
    kind: str
    standing: str  # running | stopped | absent | twice | unknown
    held: bool = False
    found: str | None = None  # running | stopped, before; None: not recorded
    left_aside: bool = False  # a cron file under the name that only a pause gives it
    changed: bool = False  # a paused cron file is not the one that was paused
    detail: str = ""


@dataclass(frozen=True)
class RunFacts:
    """A run of `maintenance on` or `off` that has not ended."""

    id: str
    recipe: str
    at_work: bool


@dataclass(frozen=True)
class Finding:
    """A half of a state, and the command that makes it whole."""

    kind: str
    where: str
    message: str
    repair: str


@dataclass(frozen=True)
class RegistryState:
    """How the maintenance of one registry stands."""

    registry: str
    state: State
    record: Maintenance | None
    nodes: tuple[NodeFacts, ...] = ()
    timers: tuple[TimerFacts, ...] = ()
    findings: tuple[Finding, ...] = field(default=())


def judge(
    registry: str,
    record: Maintenance | None,
    nodes: Iterable[NodeFacts],
    timers: Iterable[TimerFacts],
    runs: Iterable[RunFacts] = (),
    damaged: str = "",
) -> RegistryState:
    """Say how it stands. On: there is a record, and everything does what it says. Off: neither. Pure."""
    nodes, timers = tuple(nodes), tuple(timers)
    found = list(_runs(registry, runs))
    if damaged:
        repair = f"move it away, then: regctl maintenance off {registry} --repair"
        found.append(Finding("record-damaged", registry, damaged, repair))
    if record is None:
        found += _without_record(registry, nodes, timers)
    elif _without_effect(record, nodes, timers):
        found.append(
            Finding(
                "record-without-effect",
                registry,
                f"it is recorded as under maintenance since {record.since}, but nothing of it is closed",
                f"regctl maintenance on {registry} --repair (or: regctl maintenance off {registry} --repair)",
            )
        )
    else:
        found += [one for node in nodes for one in _node(registry, record, node)]
        found += [one for timer in timers for one in _timer(registry, timer)]
    state: State = "half" if found else "off" if record is None else "on"
    return RegistryState(registry, state, record, nodes, timers, tuple(found))


def _runs(registry: str, runs: Iterable[RunFacts]) -> Iterator[Finding]:
    for run in runs:
        if run.at_work:
            message, repair = f"{run.recipe} is at work", f"wait for it: regctl run show {run.id}"
        else:
            message, repair = f"{run.recipe} was cut off in its middle", f"regctl run resume {run.id}"
        yield Finding("run-open", registry, message, repair)


def _without_record(
    registry: str, nodes: tuple[NodeFacts, ...], timers: tuple[TimerFacts, ...]
) -> Iterator[Finding]:
    repair = f"regctl maintenance off {registry} --repair"
    for node in nodes:
        if node.by_us and node.config == "read-only":
            message = "maintenance has closed it, and no record says that there is any"
            yield Finding("effect-without-record", f"{registry}/{node.host}", message, repair)
    for timer in timers:
        if timer.held or timer.left_aside:
            message = "it is paused for a maintenance that no record names"
            yield Finding("effect-without-record", f"{timer.label} on {timer.host}", message, repair)


def _without_effect(
    record: Maintenance, nodes: tuple[NodeFacts, ...], timers: tuple[TimerFacts, ...]
) -> bool:
    """Say whether nothing is left of what the maintenance should have done, and there was something."""
    to_close = [node for node in nodes if record.nodes.get(node.host, "writable") == "writable"]
    to_pause = [timer for timer in timers if timer.found == "running"]
    if not to_close and not to_pause:
        return False
    open_ = all(node.config == "writable" for node in to_close)
    return open_ and all(timer.standing == "running" for timer in to_pause)


def _node(registry: str, record: Maintenance, node: NodeFacts) -> Iterator[Finding]:
    again = f"regctl maintenance on {registry} --repair"
    where = f"{registry}/{node.host}"
    if node.config in ("unknown", "unreadable"):
        then = "regctl maintenance status"
        yield Finding("node-unknown", where, node.detail or "it cannot be looked at", f"put it right: {then}")
    elif node.config == "writable":
        what = "its process refuses pushes still" if node.probe == "read-only" else "it takes pushes"
        if node.probe == "stopped":
            what = "it is stopped, and would take pushes once it is started"
        yield Finding("node-writable", where, f"its file says writable; {what}", again)
    elif node.probe == "writable":
        yield Finding("node-disagrees", where, "its file says read-only, but it takes pushes", again)
    elif node.probe not in ("read-only", "stopped"):
        tail = f"look at it (regctl service tail {where}), then: regctl maintenance status"
        yield Finding("node-unproven", where, f"whether it takes pushes is not proved: {node.detail}", tail)
    elif node.edited:
        message = "its file was edited while it was closed; the edits are not in its original yet"
        yield Finding("node-edited", where, message, again)
    elif not node.by_us and record.nodes.get(node.host) == "writable":
        message = "it is read-only by its own configuration now: `off` would not open it"
        hint = f"take the key out by hand and restart it; then: regctl maintenance on {registry} --repair"
        yield Finding("node-closed-otherwise", where, message, hint)


def _timer(registry: str, timer: TimerFacts) -> Iterator[Finding]:
    again = f"regctl maintenance on {registry} --repair"
    where = f"{timer.label} on {timer.host}"
    if timer.standing == "running":
        yield Finding("timer-running", where, "it works although it should be paused", again)
    elif timer.standing == "twice":
        hint = f"keep the right one of the two, remove the other; then: {again}"
        yield Finding("timer-twice", where, timer.detail or "its file is there twice", hint)
    elif timer.standing == "absent" and (timer.found == "running" or not timer.held):
        hint = "put it back, or correct `timers` in the site; then: regctl maintenance status"
        yield Finding("timer-gone", where, timer.detail or "it is not there", hint)
    elif timer.standing == "unknown":
        hint = "look at it by hand, then: regctl maintenance status"
        yield Finding("timer-unknown", where, timer.detail or "how it stands cannot be told", hint)
    elif timer.changed:
        hint = f"read it; if it is right, move it back to {timer.label}, then: {again}"
        yield Finding("timer-changed", where, "it was changed while it was paused", hint)


# -- looking -------------------------------------------------------------------------------------


def look(here: Target, registry: str) -> RegistryState:
    """Look at a registry's nodes, timers, records and runs; what cannot be looked at is a finding."""
    world, damaged, record = here.world, "", None
    try:
        record = read_maintenance(world.state_dir, registry)
    except RegctlError as error:
        damaged = error.message
    nodes = [_node_facts(here, registry, node.host) for node in world.registry(registry).nodes]
    timers: list[TimerFacts] = []
    try:
        paused = {pause.key: pause for pause in pauses(world.state_dir)}
    except RegctlError as error:
        damaged, paused = damaged or error.message, {}
    wanted = {key_of(timer): timer for timer in timers_of(world.site, registry)}
    wanted |= {key: one.timer for key, one in paused.items() if registry in one.held_by}
    for key, timer in wanted.items():
        timers.append(_timer_facts(world, registry, timer, paused.get(key)))
    return judge(registry, record, nodes, timers, _open_runs(world, registry), damaged)


def _node_facts(here: Target, registry: str, host: str) -> NodeFacts:
    from ctl.steps.enter_maintenance import ours
    from ctl.steps.maintenance_repair import edited_read_only
    from ctl.steps.read_only_node import ReadOnlyNode

    node = ReadOnlyNode(here, registry, host)
    try:
        parsed = node.parsed(node.read())
        if not parsed.readable:
            return NodeFacts(host, "unreadable", "unknown", detail=f"{node.config_file} cannot be read")
        config = "read-only" if node.engine.is_read_only(parsed.data) else "writable"
        probe, detail = "stopped", ""
        if node.service.state().running:
            answer = node.client.probe_write()
            probe, detail = answer.state, answer.detail
        return NodeFacts(host, config, probe, ours(node), edited_read_only(node), detail)
    except RegctlError as error:
        return NodeFacts(host, "unknown", "unknown", detail=error.message)


def _timer_facts(world: World, registry: str, timer: AnyTimer, record: Pause | None) -> TimerFacts:
    held = record is not None and registry in record.held_by
    found = record.found if record is not None and held else None
    place = (key_of(timer), timer.host, timer.label, timer.kind)
    try:
        now = doors.look(world.host(timer.host), timer)
    except RegctlError as error:
        return TimerFacts(*place, "unknown", held, found, detail=error.message)
    aside = now.standing == "stopped" and bool(now.facts)
    changed = bool(
        aside and record and record.facts and record.facts.get("sha256") != now.facts.get("sha256")
    )
    nobody = record is None or not record.held_by
    return TimerFacts(*place, now.standing, held, found, aside and nobody, changed, now.detail)


def _open_runs(world: World, registry: str) -> Iterator[RunFacts]:
    from ctl.recipes import runs
    from ctl.recipes.identity import judge as alive

    for run in runs.open_runs(world.state_dir, (f"registry/{registry}",)):
        if run.recipe in ("maintenance-on", "maintenance-off"):
            at_work = run.holder is not None and alive(run.holder) == "alive"
            yield RunFacts(run.id, run.recipe, at_work)
