"""What stands in the way of a read-only window on a node, all of it at once. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctl.config.ownership import classify
from ctl.errors import ConfigError, Outcome, RegctlError
from ctl.hosts import serving
from ctl.hosts.base import Command
from ctl.hosts.environment import read_environment
from ctl.recipes.model import Problem
from ctl.steps.omnibus import closing_refused, is_generated

if TYPE_CHECKING:
    from ctl.hosts.services import ServiceState
    from ctl.steps.read_only_node import ReadOnlyNode

NEWER_NAME = "config-newer"
_CLOCK_SLACK = 2.0  # seconds between a file's time and a process's start that prove nothing


def problems(node: ReadOnlyNode, *, repairing: bool = False) -> Iterator[Problem]:
    """Yield everything that stands in the way of making the node read-only and writable again.

    With `repairing` file and process may disagree: that is what is to be mended.
    """
    data = node.read()
    parsed = node.parsed(data)
    if not parsed.readable or parsed.mistakes:
        for mistake in parsed.mistakes:
            where = f" {mistake.path}" if mistake.path else ""
            yield Problem(
                f"{node.name}: {node.config_file}:{where} {mistake.message}",
                mistake.hint,
                outcome=Outcome.CONFIG,
            )
        return
    config = parsed.data
    if not node.engine.features(node.version).get("read-only"):
        yield Problem(f"{node.name}: version {node.version} has no read-only mode")
    state = node.service.state()
    halfway = node.host.stat(node.kept_path(node.here.run.id)) is not None  # this run's own, resumed
    closed = node.engine.is_read_only(config)
    yield from _config(node, config, data, state, changes=not closed and not halfway)
    yield from environment_problems(node, state)
    yield from other_writers(node, config, state)
    if not halfway:
        yield from _modes(node, state, closed, repairing=repairing)


def _config(
    node: ReadOnlyNode, config: Mapping[str, Any], data: bytes, state: ServiceState, *, changes: bool
) -> Iterator[Problem]:
    engine, where = node.engine, node.config_file
    for mistake in engine.check_config(config, node.version):
        if mistake.fatal:
            yield Problem(
                f"{node.name}: {where}: {mistake.path}: {mistake.message}; it would not start again",
                mistake.hint,
                outcome=Outcome.CONFIG,
            )
    if engine.writes_on_pull(config):
        yield Problem(
            f"{node.name} is a pull-through cache (proxy.remoteurl): it stores what it fetches all the same",
            "stop it instead (--stopped)",
        )
    if not changes:
        return
    if is_generated(node.here.world, node.registry, node.host_name):
        told = closing_refused(node.here.world, node.registry, node.host_name, data)
        yield Problem(told.message, told.hint)
        return
    owner = classify(data)
    if owner.state == "drifted":
        yield Problem(
            f"{node.name}: {where} is managed by regctl and was edited by hand",
            f"see `regctl config diff {node.registry}`, then settle it by `regctl config apply` or `adopt`",
        )
    try:
        engine.read_only_text(data)
    except RegctlError as error:
        yield Problem(f"{node.name}: {where}: {error.message}", error.hint, outcome=error.outcome)
    yield from _permissions(node)
    if state.running and engine.drain_timeout(config) is None:
        yield Problem(
            f"{node.name}: http.draintimeout is not set: the restart cuts uploads in flight, and one cut at "
            "the wrong moment leaves an empty manifest behind",
            "write http.draintimeout: 30s and restart once at a quiet time",
            blocking=False,
        )


def _permissions(node: ReadOnlyNode) -> Iterator[Problem]:
    folder = node.config_file.rpartition("/")[0] or "/"
    if node.host.run(Command(("test", "-w", folder))).exit_code != 0:
        yield Problem(
            f"{node.name}: {folder} is not writable for us", "run regctl as root, and look at the mount"
        )
    user = node.host.run(Command(("id", "-un"))).stdout.decode(errors="replace").strip()
    owner = node.info().owner
    if user not in ("root", owner):
        yield Problem(
            f"{node.name}: {node.config_file} belongs to {owner}, and we are {user}", "run regctl as root"
        )


def environment_problems(node: ReadOnlyNode, state: ServiceState) -> Iterator[Problem]:
    """Yield the variables that take the registry's mode or storage away from its file."""
    places: dict[str, Mapping[str, str]] = {}
    if state.process is not None:
        places[f"process {state.process.pid}"] = serving.environment(node.host, state.process)
    if node.node.environment_file:
        places[node.node.environment_file] = _environment_file(node, node.node.environment_file)
    for place, environment in places.items():
        for name, path in sorted(node.engine.overriding_environment(environment).items()):
            if path == "storage" or path.startswith("storage."):
                yield Problem(
                    f"{node.name}: {name} in the environment ({place}) overrides {path}: the "
                    "registry does not do what its file says",
                    f"move the setting into {node.config_file}, remove the variable, restart once",
                )


def _environment_file(node: ReadOnlyNode, path: str) -> dict[str, str]:
    try:
        return read_environment(node.host, path)
    except ConfigError:
        return {}  # a service that cannot read it does not start


def other_writers(node: ReadOnlyNode, config: Mapping[str, Any], state: ServiceState) -> Iterator[Problem]:
    """Yield processes that serve the same storage and that the site does not know."""
    storage = node.engine.storage_settings(config)
    if not storage:
        return
    world = node.here.world
    known = [state.process] + [
        world.service(node.registry, other.host).state().process
        for other in world.registry(node.registry).nodes
        if other.host == node.host_name or (_is_local(node, other.host) and _is_local(node, node.host_name))
    ]
    # By what names a process for ever: its argv and user still change while it is being started.
    names = {(one.pid, one.start_time, one.boot_id) for one in known if one is not None}
    for process in node.host.processes():
        name = (process.pid, process.start_time, process.boot_id)
        if "serve" not in process.argv or name in names:
            continue
        path = serving.loaded_config(node.host, process)
        if path is None:
            continue
        try:
            theirs = node.parsed(node.host.read(path))
        except (FileNotFoundError, RegctlError):
            continue
        if theirs.readable and node.engine.storage_settings(theirs.data) == storage:
            if name in _elsewhere(node):
                continue
            yield Problem(
                f"{node.name}: process {process.pid} serves the same storage from {path}, and the site does "
                "not know it: it would go on writing",
                "stop it, or name it as a node of the registry in the site",
            )


def _elsewhere(node: ReadOnlyNode) -> set[tuple[int, int, str]]:
    """Name the processes of all nodes: a host reached over SSH may be this very machine.

    Asked only where a stranger was found; a node that cannot be asked has no name here.
    """
    found = set()
    for other in node.here.world.registry(node.registry).nodes:
        with suppress(RegctlError):
            process = node.here.world.service(node.registry, other.host).state().process
            if process is not None:
                found.add((process.pid, process.start_time, process.boot_id))
    return found


def _is_local(node: ReadOnlyNode, host: str) -> bool:
    """Say whether a host is this machine: two names of it see each other's processes."""
    return node.here.world.site.hosts[host].connection == "local"


def _modes(node: ReadOnlyNode, state: ServiceState, closed: bool, *, repairing: bool) -> Iterator[Problem]:
    if not state.running:
        yield from _stopped(node)
        return
    yield from loaded_problems(node)
    info = node.info()
    if not repairing and state.since is not None and info.mtime > state.since + _CLOCK_SLACK:
        yield Problem(
            f"{node.name}: {node.config_file} is newer than the running process: a restart would load "
            "changes that it does not run with now",
            "restart it once at a time of your choice: regctl service restart",
            name=NEWER_NAME,
        )
    probe = node.client.probe_write()
    if probe.state == "unreachable":
        yield Problem(f"{node.name} runs, but {probe.detail}", outcome=Outcome.UNREACHABLE)
    elif probe.state == "unproven":
        yield Problem(
            f"{node.name}: whether it accepts writes cannot be proved: {probe.detail}",
            "set `credentials` of the registry in the site to a user who may push",
        )
    elif (probe.state == "read-only") != closed and not repairing:
        says = "read-only" if closed else "writable"
        yield Problem(
            f"{node.name}: the file says {says}, the running registry is {probe.state}",
            "restart it, so that both agree: regctl service restart",
        )


def loaded_problems(node: ReadOnlyNode) -> Iterator[Problem]:
    """Yield a doubt that the live process loads the file that we would change."""
    loaded = node.service.loaded_config()
    if loaded is None:
        yield Problem(
            f"{node.name}: which file its process has loaded cannot be told",
            "start it as `registry serve FILE`",
        )
    elif not serving.same_file(node.host, loaded, node.node.config_file):
        yield Problem(
            f"{node.name}: its process has loaded {loaded}, the site says {node.node.config_file}",
            "correct `config_file` of the node in the site",
        )


def _stopped(node: ReadOnlyNode) -> Iterator[Problem]:
    try:
        node.prove_closed()
    except RegctlError as error:
        yield Problem(error.message, error.hint)
