"""Every secret that a site and its nodes hold, so that it can be kept out of what is shown. Reads only.

What cannot be read is passed over: a secret that we cannot read cannot come from us either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctl.config.document import read_document
from ctl.config.secrets import is_reference, read_secret_file, secret_leaves
from ctl.config.words import Dialect
from ctl.errors import RegctlError
from ctl.hosts import serving
from ctl.hosts.environment import read_environment
from ctl.steps.config_plan import secret_reference, secrets_folder

if TYPE_CHECKING:
    from ctl.world import World

_SECRET_VARIABLE = re.compile(r"(?i)(pass|secret|token|key|credential|auth)")


def known_secrets(world: World, site_file: str) -> set[str]:
    """Return the values of all secrets that the site names and that its nodes' files and variables hold."""
    found = set()
    for reference in _references(world, site_file):
        with suppress(RegctlError):
            found.add(world.resolve_secret(reference).reveal())
    for path in _files(secrets_folder(site_file)):
        with suppress(RegctlError):
            found.add(read_secret_file(path).decode(errors="replace").strip())
    for name, registry in world.site.registries.items():
        for node in registry.nodes:
            with suppress(RegctlError, OSError):
                found |= set(_node(world, name, node.host))
    return {value for value in found if value.strip()}


def users(world: World) -> set[str]:
    """Return the names that log in somewhere with one of the secrets."""
    found = {one.credentials.username for one in world.site.registries.values() if one.credentials}
    found |= {one.credentials.username for one in world.site.pulps.values() if one.credentials}
    return found | {one.user for one in world.site.databases.values() if one.user}


def _references(world: World, site_file: str) -> Iterator[str]:
    for registry in world.site.registries.values():
        if registry.credentials is not None:
            yield registry.credentials.password
        yield from (str(value) for _, value in secret_leaves(registry.config) if is_reference(value))
    for pulp in world.site.pulps.values():
        if pulp.credentials is not None:
            yield pulp.credentials.password
    for name in world.site.registries:
        yield secret_reference(world, name, secrets_folder(site_file))
    for database in world.site.databases.values():
        if database.password is not None:
            yield database.password


def _files(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        return []


def _node(world: World, registry: str, host: str) -> Iterator[str]:
    node, door = world.node(registry, host), world.host(host)
    with suppress(FileNotFoundError):
        yield from _in_config(door.read(node.config_file))
    with suppress(RegctlError):
        yield from _in_environment(read_environment(door, node.environment_file))
    process = world.service(registry, host).state().process
    if process is not None:
        yield from _in_environment(serving.environment(door, process))


def _in_config(data: bytes) -> Iterator[str]:
    root = read_document(data, "", Dialect.REGISTRY).root
    plain: Any = root.plain() if root is not None else None
    if isinstance(plain, dict):
        yield from (str(value) for _, value in secret_leaves(plain))


def _in_environment(environment: Mapping[str, str]) -> Iterator[str]:
    yield from (value for name, value in environment.items() if _SECRET_VARIABLE.search(name))
