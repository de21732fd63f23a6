"""A node's configuration file with some settings changed: edited in place, or rendered where it is ours.

Settings are given in the registry's own words by section, `{"database": {...}, "gc": {...}}`, and secrets in
them are references of the site, so that they may stand in a journal. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from ctl.config.connection import connection
from ctl.config.ownership import body_of, classify
from ctl.config.persist import laid_over
from ctl.config.secrets import revealed, with_secrets
from ctl.config.settings import differences
from ctl.engines.metadata import metadata_of
from ctl.errors import Outcome, RefusedError, RegctlError
from ctl.hosts import serving
from ctl.hosts.environment import read_environment
from ctl.recipes.model import Problem
from ctl.steps.config_plan import permissions, plan_config, refuse_unfinished
from ctl.steps.omnibus import asked, is_generated, refused

if TYPE_CHECKING:
    from ctl.config.models import Registry
    from ctl.steps.node_doors import NodeDoors
    from ctl.world import World

Values = Mapping[str, Mapping[str, Any]]
POOL = {"maxidle": 25, "maxopen": 25, "maxlifetime": "5m", "maxidletime": "10m"}
CONNECT_TIMEOUT = "5s"  # of the program; without one it waits for ever for a silent server


def database_values(
    world: World, registry: str, *, enabled: bool, online_gc: bool | None = None
) -> dict[str, Any]:
    """Return the settings that a node's file needs for the site's database, secrets as references.

    A pool is always among them: without one the program connects anew for every statement. `online_gc` None
    leaves online garbage collection unsaid.
    """
    described = world.registry(registry)
    values = remembered_values(world, registry, enabled=enabled, online_gc=online_gc)
    login = connection(world.site.databases, registry, described)
    return {**values, "database": {**login, **values["database"]}}


def remembered_values(
    world: World, registry: str, *, enabled: bool, online_gc: bool | None = None
) -> dict[str, Any]:
    """Return what of these settings the site is to remember: all but the login, which it says already."""
    from ctl.steps.collection import node_config

    now = _database_of(node_config(world, registry, world.registry(registry).nodes[0]))
    database: dict[str, Any] = {"enabled": enabled}
    pool = now.get("pool")
    database["pool"] = dict(pool) if isinstance(pool, Mapping) and pool.get("maxidle") else dict(POOL)
    database["connecttimeout"] = now.get("connecttimeout") or CONNECT_TIMEOUT
    values: dict[str, Any] = {"database": database}
    if online_gc is not None:
        values["gc"] = {"disabled": not online_gc}
    return values


def text_with(node: NodeDoors, data: bytes, values: Values, secrets: str) -> bytes:
    """Return the node's file as it would be with these settings.

    Somebody else's file is edited in place, its other bytes as they were; ours is rendered from the site
    with the settings laid over it. RefusedError where the file is neither, or would change in more.
    """
    world, host = node.here.world, node.host_name
    if is_generated(world, node.registry, host):
        if asked(world, node.registry, data, values).fragment is None:
            return data
        raise refused(world, node.registry, host, data, values)
    state = classify(data).state
    if state == "adopted":
        return _edited(node, data, values)
    if state == "managed":
        return _rendered(node, data, values, secrets)
    raise RefusedError(
        f"{node.name}: {node.config_file} is managed by regctl and was edited by hand",
        hint=f"see `regctl config diff {node.registry}`, then settle it by `regctl config apply` or `adopt`",
    )


def setting_problems(
    node: NodeDoors, values: Values, secrets: str, original: bytes | None = None
) -> Iterator[Problem]:
    """Say what keeps these settings from having effect in the node's file, or from being written.

    `original` stands for the file where that is changed for a while.
    """
    try:
        data = original if original is not None else node.read()
        changed = text_with(node, data, values, secrets)
        permissions(node.here.world, node.registry, node.host_name, node.info())
    except RegctlError as error:
        text = "; ".join((error.message, *error.details))
        yield Problem(text, error.hint, outcome=error.outcome)
        return
    yield from fatal_problems(node, changed)
    yield from _overridden(node, values)


def fatal_problems(node: NodeDoors, changed: bytes) -> Iterator[Problem]:
    """Yield what would keep the node's registry from starting with these bytes as its file."""
    for mistake in node.engine.check_config(node.parsed(changed).data, node.version):
        if mistake.fatal:
            yield Problem(
                f"{node.name}: {node.config_file}: {mistake.path}: {mistake.message}; it would not start",
                mistake.hint,
                outcome=Outcome.CONFIG,
            )


def _overridden(node: NodeDoors, values: Values) -> Iterator[Problem]:
    """Yield the variables that take one of these settings away from the file."""
    places: dict[str, Mapping[str, str]] = {}
    if node.node.environment_file:
        found = read_environment(node.host, node.node.environment_file)
        places[node.node.environment_file] = found
    process = node.service.state().process
    if process is not None:
        places[f"process {process.pid}"] = serving.environment(node.host, process)
    for place, environment in places.items():
        for name, path in sorted(node.engine.overriding_environment(environment).items()):
            section, _, key = path.partition(".")
            if section in values and (not key or key.split(".")[0] in values[section]):
                yield Problem(
                    f"{node.name}: {name} in the environment ({place}) overrides {path}: the registry does "
                    "not do what its file says",
                    f"move the setting into {node.config_file}, remove the variable, restart once",
                )


def _edited(node: NodeDoors, data: bytes, values: Values) -> bytes:
    programs = metadata_of(node.engine)
    if programs is None:
        raise RefusedError(f"the engine of {node.registry} has no metadata database")
    resolved = revealed(with_secrets(values, node.here.world.resolve_secret))
    for name, section in resolved.items():
        data = programs.section_text(data, name, section)
    return data


def _rendered(node: NodeDoors, data: bytes, values: Values, secrets: str) -> bytes:
    """Render the file anew; what the site says besides these sections must stand in it already."""
    world, registry = node.here.world, node.registry
    plan = plan_config(laid_over_world(world, registry, values), registry, node.host_name, secrets)
    refuse_unfinished(plan)
    other = [
        ".".join(map(str, path))
        for path, _, _ in differences(node.parsed(data).data, plan.settings)
        if path[0] not in values
    ]
    if other:
        raise RefusedError(
            f"{node.name}: {node.config_file} is not what the site says in {', '.join(other)}: more would "
            "change than is meant",
            hint=f"`regctl config diff {registry}` shows it; run `regctl config apply {registry}` first",
        )
    return data if body_of(data) == plan.body.encode() else plan.wanted


def laid_over_world(world: World, registry: str, values: Values) -> World:
    """Return the world with settings laid over the registry's `config`: the site as it is to be."""
    described = world.registry(registry)
    config = laid_over(described.config, values)
    return cast("World", _Overlaid(world, registry, described.model_copy(update={"config": config})))


class _Overlaid:
    """A world in which one registry is described otherwise."""

    def __init__(self, world: World, name: str, described: Registry) -> None:
        self._world, self._name, self._described = world, name, described

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def registry(self, name: str) -> Registry:
        """Return the registry as it is to be, or any other as it is."""
        return self._described if name == self._name else self._world.registry(name)


def _database_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    section = config.get("database")
    return section if isinstance(section, Mapping) else {}
