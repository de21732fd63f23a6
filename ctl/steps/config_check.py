"""Check every node's configuration file as the registry would read it, and say what is a trap. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.errors import RegctlError
from ctl.steps.config_environment import mistakes
from ctl.steps.config_plan import ConfigFile, plan_config, read_config
from ctl.steps.omnibus import regenerated

if TYPE_CHECKING:
    from ctl.engines.base import ConfigMistake
    from ctl.world import World


@dataclass(frozen=True)
class ConfigFinding:
    """Something about a node's configuration. `severity` is "error", "warning" or "note"."""

    registry: str
    host: str
    path: str  # of the setting, dotted; "" for the file as a whole
    message: str
    hint: str = ""
    severity: str = "error"


@dataclass(frozen=True)
class NodeCheck:
    """What was found at a node. `state` says whose the file is, `pending` whether the site says otherwise."""

    registry: str
    host: str
    file: str
    state: str
    pending: bool
    findings: tuple[ConfigFinding, ...]


def check_node(world: World, registry: str, host: str, secrets: str) -> NodeCheck:
    """Look at one node's file with the eyes of its registry, and at what the site would write."""
    file = read_config(world, registry, host)
    findings = list(_file_findings(world, registry, host, file))
    pending = False
    try:
        plan = plan_config(world, registry, host, secrets)
        pending = plan.changes
        for mistake in world.engine(registry).check_config(plan.settings, world.version(registry, host)):
            if mistake.severity == "error":
                path = f"registries.{registry}.config: {mistake.path}"
                findings.append(ConfigFinding(registry, host, path, mistake.message, mistake.hint))
    except RegctlError as error:
        findings.append(ConfigFinding(registry, host, "", error.message, error.hint))
    known = {(finding.path.rpartition(" ")[2], finding.message): finding for finding in reversed(findings)}
    return NodeCheck(
        registry, host, file.path, file.ownership.state, pending, tuple(reversed(list(known.values())))
    )


def _file_findings(world: World, registry: str, host: str, file: ConfigFile) -> Iterator[ConfigFinding]:
    if file.data is None:
        hint = f"`regctl config apply {registry}` writes it from the site"
        yield ConfigFinding(registry, host, "", f"{file.path} is not there", hint)
        return
    if file.ownership.state == "drifted":
        yield ConfigFinding(
            registry,
            host,
            "",
            f"{file.path} was edited by hand since regctl wrote it",
            f"`regctl config diff {registry}` shows the edits",
            "warning",
        )
    if file.ownership.state == "generated" and regenerated(world, registry, host, file.data):
        yield ConfigFinding(
            registry,
            host,
            "",
            f"gitlab-ctl has written {file.path} anew since regctl proved it",
            f"`regctl config diff {registry}` shows what it lacks, `regctl config apply` proves it",
            "warning",
        )
    for mistake in _mistakes(world, registry, host, file):
        yield ConfigFinding(registry, host, mistake.path, mistake.message, mistake.hint, mistake.severity)
    if file.settings is not None:
        yield from _traps(world, registry, host, file)


def _mistakes(world: World, registry: str, host: str, file: ConfigFile) -> Iterator[ConfigMistake]:
    yield from file.mistakes
    if file.settings is None:
        return
    engine, door = world.engine(registry), world.host(host)

    def kind(path: str) -> str | None:
        found = door.stat(path)
        if found is not None and found.kind == "symlink":
            return "directory" if _is_directory(path) else "file"
        return found.kind if found is not None else None

    def _is_directory(path: str) -> bool:
        try:
            door.list_directory(path)
        except (OSError, RegctlError):
            return False
        return True

    yield from engine.check_config(file.settings, world.version(registry, host))
    yield from engine.check_paths(file.settings, kind)


def _traps(world: World, registry: str, host: str, file: ConfigFile) -> Iterator[ConfigFinding]:
    settings = file.settings or {}
    if world.engine(registry).cache_kind(settings) == "inmemory":
        yield ConfigFinding(
            registry,
            host,
            "storage.cache.blobdescriptor",
            "inmemory: after a garbage collection by hand the cache still promises deleted blobs, and a push "
            "of them is lost",
            "restart the registry after every collection; regctl gc does",
            "note",
        )
    for path, message, hint, severity in mistakes(world, registry, host, settings):
        yield ConfigFinding(registry, host, path, message, hint, severity)
