"""What a support bundle holds, member by member. Reads only; what cannot be had is said, never fatal."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError

if TYPE_CHECKING:
    from ctl.health.model import Looker
    from ctl.world import World

Make = Callable[[], bytes]
LARGEST = 4 << 20  # bytes of one member: the end of a longer one is kept


def members(looker: Looker, lines: int, runs: int) -> Iterator[tuple[str, Make]]:
    """Yield (name, how to make it): nothing is redacted yet, and each may fail by itself."""
    world = looker.world
    yield "versions.json", lambda: _json(_versions(looker))
    yield "site.yml", lambda: _site(looker)
    yield "status.json", lambda: _json(dataclasses.asdict(looker.view))
    yield "check.json", lambda: _json(_check(looker))
    for name in looker.registries:
        for node in world.registry(name).nodes:
            folder = f"nodes/{name}@{node.host}"
            yield f"{folder}/config.yml", _bound(_config, looker, name, node.host)
            yield f"{folder}/rendered.yml", _bound(_rendered, looker, name, node.host)
            yield f"{folder}/service.json", _bound(_service, world, name, node.host)
            yield f"{folder}/log.txt", _bound(_log, world, name, node.host, lines)
    for run in _last_runs(world, runs):
        yield f"runs/{run}.jsonl", _bound(_journal, world, run)


def made(make: Make) -> tuple[bytes, str]:
    """Make a member; return its bytes, or none and why."""
    try:
        data = make()
    except RegctlError as error:
        return b"", error.message
    except Exception as error:
        return b"", f"{type(error).__name__}: {error}"
    return data[-LARGEST:], ""


def _bound(function: Callable[..., bytes], *arguments: Any) -> Make:
    return lambda: function(*arguments)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, default=str).encode() + b"\n"


def _versions(looker: Looker) -> dict[str, Any]:
    from ctl import listing

    nodes: dict[str, Any] = {}
    for name in looker.registries:
        for node in looker.world.registry(name).nodes:
            try:
                nodes[f"{name}@{node.host}"] = str(looker.world.version(name, node.host))
            except RegctlError as error:
                nodes[f"{name}@{node.host}"] = f"unknown: {error.message}"
    return {
        "regctl": listing.own_version(),
        "python": sys.version,
        "libraries": listing.dependency_versions(),
        "system": " ".join(platform.uname()),
        "nodes": nodes,
    }


def _site(looker: Looker) -> bytes:
    from ctl.config.dump import to_yaml
    from ctl.config.secrets import hidden, is_reference, secret_leaves

    site = looker.world.site.model_dump(mode="json", exclude_none=True)
    for registry in site["registries"].values():
        if any(not is_reference(value) for _, value in secret_leaves(registry["config"])):
            registry["config"] = hidden(registry["config"])
    for name, pulp in looker.world.site.pulps.items():
        site["registries"][name] = pulp.model_dump(mode="json", exclude_none=True)
    return to_yaml(site).encode()


def _check(looker: Looker) -> dict[str, Any]:
    from ctl.health.checks import CHECKS, evaluate
    from ctl.health.report import check_data

    return dict(check_data(evaluate(looker, CHECKS)))


def _config(looker: Looker, registry: str, host: str) -> bytes:
    """The file as it stands, hidden by its meaning already: blotting out by value comes on top."""
    from ctl.config.secrets import redact_text

    path = looker.world.node(registry, host).config_file
    try:
        return redact_text(looker.world.host(host).read(path), path).encode()
    except FileNotFoundError:
        raise RegctlError(f"{path} is not there") from None


def _rendered(looker: Looker, registry: str, host: str) -> bytes:
    from ctl.steps.config_plan import plan_config, secrets_folder

    return plan_config(looker.world, registry, host, secrets_folder(looker.site_file)).rendered().encode()


def _service(world: World, registry: str, host: str) -> bytes:
    state = world.service(registry, host).state()
    return _json(dataclasses.asdict(state))


def _log(world: World, registry: str, host: str, lines: int) -> bytes:
    return "\n".join(world.service(registry, host).tail(lines)).encode() + b"\n"


def _last_runs(world: World, count: int) -> list[str]:
    from ctl.recipes import runs

    return runs.ids(world.state_dir)[-count:] if count else []


def _journal(world: World, run: str) -> bytes:
    from ctl.recipes import runs

    path = runs.journal_path(world.state_dir, run)
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - LARGEST))
        return file.read()
