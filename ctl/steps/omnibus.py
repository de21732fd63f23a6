"""A configuration file that gitlab-ctl writes: recognised, never written, asked for in gitlab.rb's words.

Reads only. What is asked is the file as it stands with the site's own words laid over it: the template's
defaults are gitlab-ctl's business.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ctl.config.connection import connection
from ctl.config.document import Path
from ctl.config.gitlab_rb import Fragment, FromFile, fragment
from ctl.config.secrets import is_reference, revealed, secret_leaves, with_secrets
from ctl.config.settings import differences, overlay
from ctl.engines.gitlab_database import POOL
from ctl.engines.metadata import metadata_of
from ctl.errors import RefusedError
from ctl.hosts import serving
from ctl.secret import Secret
from ctl.steps.config_environment import wrong_flags
from ctl.steps.node_doors import sha256
from ctl.steps.registry_program import feature_environment

if TYPE_CHECKING:
    from ctl.config.models import Node, Registry
    from ctl.world import World

PLACE = "/var/opt/gitlab/"
SETTINGS_FILE = "/etc/gitlab/gitlab.rb"
RECONFIGURE = "gitlab-ctl reconfigure"
# its template writes storage as JSON on one line, below log fields that nobody else gives
_SHAPE = re.compile(rb'(?m)^ +service: registry\n +environment: production\nstorage: \{"')
_NAMED = re.compile(rb"(?m)^#.*\bgitlab-ctl\b")


def generated_reason(registry: Registry, node: Node, data: bytes | None) -> str:
    """Say why the node's file is gitlab-ctl's to write; "" where it is not."""
    if not registry.own_database or node.generated_by == "nobody":
        return ""
    if node.generated_by == "omnibus":
        return "the site says so (generated_by: omnibus)"
    if node.config_file.startswith(PLACE):
        return f"it lies below {PLACE}"
    if data is not None and _NAMED.search(data):
        return "its comments name gitlab-ctl"
    return "it has the shape of gitlab-ctl's template" if data is not None and _SHAPE.search(data) else ""


def is_generated(world: World, registry: str, host: str) -> bool:
    """Say whether gitlab-ctl writes a node's file; reads it only where its place does not tell."""
    described, node = world.registry(registry), world.node(registry, host)
    if not described.own_database:
        return False
    told = generated_reason(described, node, None)
    return bool(told or generated_reason(described, node, _read(world, node)))


@dataclass(frozen=True)
class Asked:
    """What a file is to mean, and the lines that make it so; no fragment where it means that already."""

    settings: Mapping[str, Any]  # secrets in clear
    fragment: Fragment | None
    changed: tuple[str, ...]


def asked_of_site(world: World, registry: str, host: str, data: bytes) -> Asked:
    """Lay what the site says of the registry over the file; feature flags that it lacks are asked for too."""
    described = world.registry(registry)
    login = connection(world.site.databases, registry, described)
    over = overlay({"database": login} if login else {}, described.config)
    now = world.engine(registry).parse_config(data).data
    over = overlay(_pool(world, registry, overlay(now, over)), over)
    return asked(world, registry, data, over, _flags(world, registry, host))


def asked(
    world: World,
    registry: str,
    data: bytes,
    over: Mapping[str, Any],
    flags: Mapping[str, str] | None = None,
) -> Asked:
    """Lay settings (secrets as references) over a file; RefusedError if the file cannot be read."""
    parsed = world.engine(registry).parse_config(data)
    if not parsed.readable:
        raise RefusedError(
            f"the configuration of {registry}, which gitlab-ctl writes, cannot be read",
            hint=f"run `{RECONFIGURE}` and look at what it says",
        )
    now = parsed.data
    settings = _laid(now, revealed(with_secrets(over, world.resolve_secret)))
    paths = [path for path, _, _ in differences(now, settings)]
    if not paths and not flags:
        return Asked(settings, None, ())
    held = {path: Secret(str(value)) for path, value in secret_leaves(now)}
    spoken = _laid(_replaced(now, held), _spoken(over, world.resolve_secret))
    name = _variables(world, registry)
    made = fragment(spoken, paths, name, flags)
    return Asked(settings, made, (*made.paths, *(flags or {})))


def refused(world: World, registry: str, host: str, data: bytes, over: Mapping[str, Any]) -> RefusedError:
    """Return the refusal of a change to a file that gitlab-ctl writes: it says what to do instead."""
    node = world.node(registry, host)
    made = asked(world, registry, data, over).fragment
    lines = made.shown if made is not None else "(it says so already)"
    return RefusedError(
        f"{registry}/{host}: {node.config_file} is written by gitlab-ctl, so regctl does not change it",
        hint=f"put this into {SETTINGS_FILE}, in place of the settings of the same name, run "
        f"`{RECONFIGURE}` on {host}, then the same command again:\n{lines}",
    )


def closing_refused(world: World, registry: str, host: str, data: bytes) -> RefusedError:
    """Return the refusal of a read-only window on such a file, with the lines that make it read-only."""
    return refused(world, registry, host, data, {"storage": {"maintenance": {"readonly": {"enabled": True}}}})


# -- what was proved last ---------------------------------------------------------------------------------


def record_path(world: World, registry: str, host: str) -> str:
    """Return where regctl keeps what it proved of a generated file."""
    return os.path.join(world.state_dir, "omnibus", f"{registry}-{host}.json")


def fragment_path(world: World, registry: str, host: str) -> str:
    """Return where the lines for gitlab.rb are written; the file may hold secrets and is closed to others."""
    return os.path.join(world.state_dir, "omnibus", f"{registry}-{host}.rb")


def proved_checksum(world: World, registry: str, host: str) -> str:
    """Return the checksum of the file that was proved last; "" if none was."""
    try:
        with open(record_path(world, registry, host), encoding="utf-8") as file:
            return str(json.load(file)["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def regenerated(world: World, registry: str, host: str, data: bytes) -> bool:
    """Say whether the file is another one than was proved last; False where none was."""
    proved = proved_checksum(world, registry, host)
    return bool(proved) and proved != sha256(data)


# -- inside -------------------------------------------------------------------------------------------------


def _read(world: World, node: Node) -> bytes | None:
    try:
        return world.host(node.host).read(node.config_file)
    except FileNotFoundError:
        return None


def _flags(world: World, registry: str, host: str) -> dict[str, str]:
    """Return the feature flags to ask for: those that the service lacks, as far as that can be seen."""
    node = world.node(registry, host)
    if node.environment_file is not None or node.service.kind == "process":
        return wrong_flags(world, registry, host)
    process = world.service(registry, host).state().process
    live = serving.environment(world.host(host), process) if process is not None else {}
    wanted = feature_environment(world, registry) if live else {}
    return {name: value for name, value in wanted.items() if live.get(name) != value}


def _laid(now: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over a file; what only takes away makes no empty section."""
    result = overlay(now, over)
    for key, value in result.items():
        before = now.get(key)
        if isinstance(value, dict):
            result[key] = _laid(before if isinstance(before, Mapping) else {}, value)
    return {key: value for key, value in result.items() if value != {} or key in now}


def _pool(world: World, registry: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pool that a registry with its database needs and the file has not got."""
    programs = metadata_of(world.engine(registry))
    if programs is None or programs.asked_backend(settings) == "filesystem":
        return {}
    pool = programs.database_settings(settings).get("pool")
    if isinstance(pool, Mapping) and pool.get("maxidle"):
        return {}
    return {"database": {"pool": {"maxidle": POOL["maxidle"], "maxopen": POOL["maxopen"]}}}


def _variables(world: World, registry: str) -> Callable[[Path], str | None]:
    found = getattr(world.engine(registry), "variable_of", None)
    return cast("Callable[[Path], str | None]", found) if found else lambda path: None


def _replaced(settings: Mapping[str, Any], by_path: Mapping[Path, Any]) -> dict[str, Any]:
    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return {key: walk(below, (*path, key)) for key, below in value.items()}
        if isinstance(value, list):
            return [walk(below, (*path, number)) for number, below in enumerate(value)]
        return by_path.get(path, value)

    return {key: walk(value, (key,)) for key, value in settings.items()}


def _spoken(over: Mapping[str, Any], resolve: Callable[[str], Secret]) -> Mapping[str, Any]:
    """Let gitlab.rb read secrets in files itself; others are fetched, and hidden where they are shown."""
    places: dict[Path, Any] = {}
    for path, value in secret_leaves(over):
        if not is_reference(value):
            continue
        file = str(value).removeprefix("file:")
        places[path] = FromFile(file) if str(value).startswith("file:") else resolve(str(value))
    return _replaced(over, places)
