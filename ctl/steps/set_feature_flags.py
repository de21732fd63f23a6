"""Say the site's feature flags outright in the environment file of a node's service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.errors import RefusedError, RegctlError
from ctl.hosts.environment import parse_environment
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.config_environment import wrong_flags
from ctl.steps.node_doors import sha256
from ctl.steps.registry_program import feature_environment

if TYPE_CHECKING:
    from ctl.world import World

_HEADING = "# feature flags, set by regctl from `features` of the site"
_NEW_MODE = 0o640


def writes_flags(world: World, registry: str, node: str) -> bool:
    """Say whether `config apply` has flags to write: the unit reads a file that lacks one of them.

    A process that regctl starts by itself gets them without a file.
    """
    described = world.node(registry, node)
    path = described.environment_file
    if described.service.kind == "process" or path is None:
        return False
    info = world.host(node).stat(path)
    if info is not None and info.kind == "directory":  # another tool's, a file for each variable
        return False
    return bool(wrong_flags(world, registry, node))


class SetFeatureFlags(Undoable):
    """Set the lines of the flags in the file that the unit reads; every other line stays as it is."""

    registry: str
    node: str

    def title(self) -> str:
        """Name the node."""
        return f"say the feature flags of {self.registry} on {self.node} outright"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """The file must be one of NAME=value lines."""
        try:
            data = self._read(here)
            parse_environment(self._changed(here, data).decode("utf-8", "surrogateescape"), self._path(here))
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def observe(self, here: Target) -> Before:
        """Remember the file's checksum; its bytes, among which secrets may be, are kept beside it."""
        data = self._read(here)
        info = here.world.host(self.node).stat(self._path(here))
        return {
            "existed": data is not None,
            "sha256": sha256(data or b""),
            "ours": sha256(self._changed(here, data)),
            "mode": info.mode if info else _NEW_MODE,
            "owner": info.owner if info else None,
            "group": info.group if info else None,
            "copy": f"{self._path(here)}.before-{here.run.id}" if data is not None else "",
        }

    def preview(self, here: Target) -> Preview:
        """Show the lines."""
        missing = wrong_flags(here.world, self.registry, self.node)
        text = "\n".join(f"{name}={value}" for name, value in missing.items())
        where = f"in {self._path(here)}:\n{text}"
        return Preview(self.title(), bool(missing), (Text(where),) if missing else ())

    def apply(self, here: Target, before: Before) -> StepReport:
        """Keep a copy, closed to others, and write the file with the lines."""
        data = self._read(here)
        if sha256(data or b"") == before["ours"]:
            return StepReport(changed=before["ours"] != before["sha256"])
        if sha256(data or b"") != before["sha256"]:
            raise RefusedError(
                f"{self._path(here)} on {self.node} changed since it was looked at; nothing was written",
                hint="run the same command again",
            )
        changed = self._changed(here, data)
        if data is not None:
            here.run.guard()
            self._prune(here)
            here.world.host(self.node).write(str(before["copy"]), data, mode=0o600)
        self._write(here, changed, before)
        return StepReport({"path": self._path(here)})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Tell by the bytes."""
        current = sha256(self._read(here) or b"")
        if current == before["ours"]:
            return "done"
        return "pending" if current == before["sha256"] else "unknown"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Read it as the service will."""
        missing = wrong_flags(here.world, self.registry, self.node)
        if missing:
            yield Problem(f"{self._path(here)} on {self.node} does not set {', '.join(missing)}")

    def undo(self, here: Target, before: Before) -> None:
        """Bring the bytes back."""
        path, data = self._path(here), self._read(here)
        if sha256(data or b"") != before["ours"] or before["ours"] == before["sha256"]:
            return
        host = here.world.host(self.node)
        here.run.guard()
        if not before["existed"]:
            host.remove(path)
            return
        self._write(here, host.read(str(before["copy"])), before)
        host.remove(str(before["copy"]))

    def _path(self, here: Target) -> str:
        path = here.world.node(self.registry, self.node).environment_file
        if path is None:
            raise RefusedError(
                f"{self.registry}/{self.node}: the site names no environment_file for the flags",
                hint="name the unit's EnvironmentFile as `environment_file` of the node",
            )
        return path

    def _read(self, here: Target) -> bytes | None:
        try:
            return here.world.host(self.node).read(self._path(here))
        except FileNotFoundError:
            return None

    def _prune(self, here: Target) -> None:
        """Remove the copies that earlier runs have left: one is enough."""
        host = here.world.host(self.node)
        folder, name = os.path.split(self._path(here))
        for found in host.list_directory(folder):
            if found.startswith(f"{name}.before-"):
                host.remove(os.path.join(folder, found))

    def _changed(self, here: Target, data: bytes | None) -> bytes:
        """The file with every flag once, at its end."""
        flags = feature_environment(here.world, self.registry)
        if data is not None and not wrong_flags(here.world, self.registry, self.node):
            return data
        lines = [line for line in (data or b"").splitlines(keepends=True) if not _sets(line, flags)]
        lines = [line for line in lines if line.strip() != _HEADING.encode()]
        if lines and not lines[-1].endswith(b"\n"):
            lines.append(b"\n")
        said = [_HEADING, *(f"{name}={value}" for name, value in flags.items())]
        return b"".join([*lines, *(f"{line}\n".encode() for line in said)])

    def _write(self, here: Target, data: bytes, before: Before) -> None:
        here.run.guard()
        here.world.host(self.node).write(
            self._path(here), data, mode=int(before["mode"]), owner=before["owner"], group=before["group"]
        )


def _sets(line: bytes, names: dict[str, str]) -> bool:
    return line.strip().partition(b"=")[0].decode(errors="replace") in names
