"""Set some keys in a node's configuration file, and bring its bytes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

from ctl.errors import RefusedError
from ctl.hosts.base import Command
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.config_plan import permissions, shown_diff
from ctl.steps.node_doors import NodeDoors, sha256
from ctl.steps.node_settings import setting_problems, text_with


class SetSettings(Undoable):
    """Set keys in a node's file: edited in place, or rendered where the file is ours. No restart.

    The file becomes closed to others where it was open, because passwords may be among the settings. With
    `quiet` its time stays as it was: the settings mean nothing to the process until something else asks for
    them, so the file is not to look as if a restart would change the registry.
    """

    registry: str
    node: str
    values: dict[str, dict[str, Any]]  # by section; secrets as references
    secrets: str  # the folder of the site's secrets
    quiet: bool = False

    retries: ClassVar[int] = 0

    def title(self) -> str:
        sections = " and ".join(self.values)
        return f"set {sections} in the configuration of {self.registry} on {self.node}"

    def host(self) -> str:
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        yield from setting_problems(self._on(here), self.values, self.secrets)

    def observe(self, here: Target) -> Before:
        node = self._on(here)
        data, info = node.read(), node.info()
        return {
            "config_file": node.config_file,
            "kept": kept_before(node, "-".join(self.values)),
            "sha256": sha256(data),
            "ours": sha256(text_with(node, data, self.values, self.secrets)),
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
            "mtime": info.mtime,
        }

    def preview(self, here: Target) -> Preview:
        node = self._on(here)
        data = node.read()
        changed = text_with(node, data, self.values, self.secrets)
        if changed == data:
            return Preview(f"{node.config_file} on {self.node} says so already", changes=False)
        return Preview(self.title(), True, (Text(shown_diff(data, changed, node.config_file)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        node = self._on(here)
        data = node.read()
        if sha256(data) == before["ours"]:
            self._timed(here, node, before)
            return StepReport(changed=before["ours"] != before["sha256"])
        if sha256(data) != before["sha256"]:
            raise RefusedError(
                f"{node.config_file} on {self.node} changed since it was looked at; nothing was written",
                hint="run the same command again",
            )
        changed = text_with(node, data, self.values, self.secrets)
        allowed = permissions(here.world, self.registry, self.node, node.info())
        here.run.guard()
        node.host.write(before["kept"], data, mode=0o600)
        here.run.guard()
        node.host.write(
            node.config_file, changed, mode=allowed.mode, owner=allowed.owner, group=allowed.group
        )
        self._timed(here, node, before)
        return StepReport({"path": node.config_file})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        current = sha256(self._on(here).read())
        if current == before["ours"]:
            return "partial" if self.quiet else "done"
        return "pending" if current == before["sha256"] else "unknown"

    def verify(self, here: Target) -> Iterator[Problem]:
        node = self._on(here)
        if text_with(node, node.read(), self.values, self.secrets) != node.read():
            yield Problem(f"{node.config_file} on {self.node} does not say what was set")

    def undo(self, here: Target, before: Before) -> None:
        node = self._on(here)
        current = sha256(node.read())
        if current == before["ours"] != before["sha256"]:
            original = node.host.read(before["kept"])
            if sha256(original) != before["sha256"]:
                raise RefusedError(f"{before['kept']} is not the file that was; {node.config_file} is left")
            here.run.guard()
            node.host.write(
                node.config_file,
                original,
                mode=int(before["mode"]),
                owner=before["owner"],
                group=before["group"],
            )
            self._touch(here, node, before)
        elif current != before["sha256"]:
            raise RefusedError(
                f"{node.config_file} on {self.node} was changed meanwhile; it is not overwritten",
                hint=f"settle it by hand: diff {before['kept']} {node.config_file}",
            )
        node.host.remove(before["kept"])

    def _timed(self, here: Target, node: NodeDoors, before: Before) -> None:
        if self.quiet:
            self._touch(here, node, before)

    def _touch(self, here: Target, node: NodeDoors, before: Before) -> None:
        here.run.guard()
        time = f"@{float(before['mtime']):.6f}"
        node.host.run(Command(("touch", "-m", "-d", time, "--", node.config_file)))

    def _on(self, here: Target) -> NodeDoors:
        return NodeDoors(here, self.registry, self.node)


class ForgetKept(Step):
    """Remove what `SetSettings` steps have kept beside a file, once nothing can be undone.

    Also what runs have left that were killed and then taken over: this one holds the registry's lock.
    """

    registry: str
    node: str

    def title(self) -> str:
        return f"remove what was kept beside the configuration of {self.registry} on {self.node}"

    def host(self) -> str:
        return self.node

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        forget_kept(NodeDoors(here, self.registry, self.node))
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"


def forget_kept(node: NodeDoors) -> None:
    """Remove what runs have kept beside a node's file; nothing can be undone by it any more."""
    folder, start = os.path.split(_kept_start(node))
    for name in node.host.list_directory(folder):
        if name.startswith(start):
            node.here.run.guard()
            node.host.remove(os.path.join(folder, name))


def kept_before(node: NodeDoors, what: str) -> str:
    """Return where this run keeps a node's file as it was before its settings changed."""
    return f"{_kept_start(node)}{node.here.run.id}-{what}"


def _kept_start(node: NodeDoors) -> str:
    folder, name = os.path.split(node.config_file)
    return os.path.join(folder, f".{name}.regctl-before-")
