"""Bring a node back into the maintenance it slipped out of, or out of it with edits kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from ctl.config.rebase import without_change
from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target
from ctl.report.model import Text
from ctl.steps.enter_maintenance import drop_needless
from ctl.steps.node_doors import sha256
from ctl.steps.read_only_checks import problems
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.read_only_record import read_record, write_record
from ctl.steps.set_read_only import ClearReadOnly, SetReadOnly


def edited_read_only(node: ReadOnlyNode) -> bool:
    """Say whether a node that we made read-only was edited since, and still is read-only by its file."""
    record = read_record(node.here.world.state_dir, node.registry, node.host_name)
    if record is None or not record.before.get("changes"):
        return False
    data = node.read()
    known = (record.before["ours"], record.before["sha256"])
    return sha256(data) not in known and node.engine.is_read_only(node.parsed(data).data)


def original_of_edit(node: ReadOnlyNode) -> bytes | None:
    """Return the original with the edits in it; None where they touch what we had changed.

    Made read-only again, it is exactly the file that is there: so it loses nothing of either.
    """
    record = read_record(node.here.world.state_dir, node.registry, node.host_name)
    if record is None:
        return None
    data = node.read()
    try:
        made = without_change(record.original, node.engine.read_only_text(record.original), data)
        if made is None or node.engine.read_only_text(made) != data:
            return None
    except RegctlError:
        return None
    return made


def take_edit_over(node: ReadOnlyNode) -> None:
    """Let the record, and the original beside the file, say what the edited file was before it was closed."""
    record = read_record(node.here.world.state_dir, node.registry, node.host_name)
    made = original_of_edit(node)
    if record is None or made is None:
        raise RefusedError(
            f"{node.name}: {node.config_file} was edited where regctl had changed it; it is left as it is",
            hint="settle it by hand: put the edits into the original, kept beside it, and move that in place",
        )
    info, data = node.info(), node.read()
    before = {
        **record.before,
        "sha256": sha256(made),
        "ours": sha256(data),
        "mode": info.mode,
        "owner": info.owner,
        "group": info.group,
        "mtime": info.mtime,
    }
    # The record goes last: until it is written the file counts as edited, and this is simply done again.
    node.here.run.guard()
    node.host.write(str(before["kept"]), made, mode=0o600)
    node.here.run.guard()
    write_record(node.here.world.state_dir, replace(record, before=before, original=made))


def _edit_problems(node: ReadOnlyNode) -> Iterator[Problem]:
    if edited_read_only(node) and original_of_edit(node) is None:
        record = read_record(node.here.world.state_dir, node.registry, node.host_name)
        kept = os.path.basename(str(record.before["kept"])) if record else "the original"
        yield Problem(
            f"{node.name}: {node.config_file} was edited where regctl had changed it; it is left as it is",
            f"settle it by hand: put the edits into {kept}, beside it, and move that in its place",
        )


class CloseAgain(SetReadOnly):
    """Make a node read-only that maintenance had closed, whatever became of its file or its process.

    Edits of a file that is read-only still are taken over into its original. A process that does not do
    what its read-only file says is restarted.
    """

    def title(self) -> str:
        return f"make {self.registry} on {self.node} read-only again"

    def check(self, here: Target) -> Iterator[Problem]:
        node = ReadOnlyNode(here, self.registry, self.node)
        yield from problems(node, repairing=True)
        yield from _edit_problems(node)

    def observe(self, here: Target) -> Before:
        node = ReadOnlyNode(here, self.registry, self.node)
        return {**super().observe(here), "closed_by_file": self._closed(node)}

    def preview(self, here: Target) -> Preview:
        node = ReadOnlyNode(here, self.registry, self.node)
        if not self._closed(node):
            return super().preview(here)
        lines = []
        if edited_read_only(node):
            lines.append(f"take the edits of {node.config_file} over into its original")
        if self._disagrees(node):
            lines.append(f"restart {node.name}; prove a refused write")
        if not lines:
            return Preview(f"{node.name} is read-only already and stays so", changes=False)
        return Preview(self.title(), blocks=(Text("\n".join(lines)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        node = ReadOnlyNode(here, self.registry, self.node)
        if not before["closed_by_file"]:
            if not self._closed(node):
                drop_needless(here, node)  # the file is that original: closing it keeps it anew
            return super().apply(here, before) or StepReport()
        if edited_read_only(node):
            take_edit_over(node)
        warnings: tuple[str, ...] = ()
        if self._disagrees(node):
            here.run.guard()
            if not node.service.restart(node.grace()):
                warnings = (f"{node.name} did not stop in time and was killed: uploads were cut",)
        elif before["running"] and not node.service.state().running:
            here.run.guard()
            node.service.start()  # we were killed in the middle of its restart
        node.prove_closed()
        return StepReport(warnings=warnings)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        if before["closed_by_file"]:
            return "pending"  # taking over and restarting again are both safe
        return super().probe(here, before)

    def undo(self, here: Target, before: Before) -> None:
        if not before["closed_by_file"]:
            super().undo(here, before)

    def _closed(self, node: ReadOnlyNode) -> bool:
        return node.engine.is_read_only(node.parsed(node.read()).data)

    def _disagrees(self, node: ReadOnlyNode) -> bool:
        return node.service.state().running and node.client.probe_write().state == "writable"


class OpenEdited(ClearReadOnly):
    """Make a node writable again whose file was edited while it was read-only; the edits stay."""

    def check(self, here: Target) -> Iterator[Problem]:
        node = ReadOnlyNode(here, self.registry, self.node)
        if edited_read_only(node):
            yield from _edit_problems(node)
            return
        yield from super().check(here)

    def preview(self, here: Target) -> Preview:
        node = ReadOnlyNode(here, self.registry, self.node)
        if edited_read_only(node):
            lines = f"{node.config_file}: its edits stay, the read-only key goes; restart it if it runs"
            return Preview(self.title(), blocks=(Text(lines),))
        return super().preview(here)

    def observe(self, here: Target) -> Before:
        node = ReadOnlyNode(here, self.registry, self.node)
        if not edited_read_only(node):
            return super().observe(here)
        return {"edited": True, "running": node.service.state().running}

    def apply(self, here: Target, before: Before) -> StepReport:
        if not before.get("edited"):
            return super().apply(here, before)
        node = ReadOnlyNode(here, self.registry, self.node)
        if edited_read_only(node):
            take_edit_over(node)
        now = dict(super().observe(here))
        if now["changes"]:
            # as it ran before the first attempt: one that was killed may have left it stopped
            now |= {"running": before["running"], "probe": "writable" if before["running"] else "stopped"}
        return super().apply(here, now)
