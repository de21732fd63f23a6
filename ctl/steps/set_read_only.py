"""Make a node read-only until it is taken back, and take it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from ctl.errors import Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.node_doors import sha256
from ctl.steps.omnibus import RECONFIGURE, SETTINGS_FILE, is_generated
from ctl.steps.read_only import READ_ONLY_KEY, preview_closing
from ctl.steps.read_only_checks import NEWER_NAME, environment_problems, loaded_problems, problems
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.read_only_record import Record, read_record, remove_record, write_record


class SetReadOnly(Undoable):
    """Make a node read-only, proved, over runs. A node that is read-only already is left as it is."""

    registry: str
    node: str
    by: str = ""
    reason: str = ""

    skippable: ClassVar[tuple[str, ...]] = (NEWER_NAME,)

    def title(self) -> str:
        """Name the node."""
        return f"make {self.registry} on {self.node} read-only"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Say what stands in the way, all of it."""
        yield from problems(self._on(here))

    def observe(self, here: Target) -> Before:
        """Describe file, process and mode."""
        return self._on(here).observe(here.run.id)

    def preview(self, here: Target) -> Preview:
        """Show the key that changes and the restart."""
        return preview_closing(self._on(here), self.title())

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the record first: whatever happens next, `off` finds the way back."""
        node, state_dir = self._on(here), here.world.state_dir
        record = read_record(state_dir, self.registry, self.node)
        if before["changes"] and (record is None or record.run != here.run.id):
            original = node.read()
            if sha256(original) != before["sha256"]:
                raise RefusedError(f"{node.name}: {node.config_file} has changed since it was looked at")
            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            here.run.guard()
            write_record(
                state_dir,
                Record(self.registry, self.node, here.run.id, since, self.by, self.reason, before, original),
            )
        return node.close(before)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Tell by the file's bytes and the process how far it came."""
        return self._on(here).progress(before)

    def verify(self, here: Target) -> Iterator[Problem]:
        """Prove the refused write again."""
        try:
            self._on(here).prove_closed()
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def undo(self, here: Target, before: Before) -> None:
        """Bring the node back, and forget it if this run had recorded it."""
        self._on(here).restore(before)
        record = read_record(here.world.state_dir, self.registry, self.node)
        if record is not None and record.run == here.run.id:
            remove_record(here.world.state_dir, self.registry, self.node)

    def _on(self, here: Target) -> ReadOnlyNode:
        return ReadOnlyNode(here, self.registry, self.node)


@dataclass(frozen=True)
class WayBack:
    """How a node came to be read-only by our hand, and its original bytes."""

    before: Before
    original: bytes


def way_back(node: ReadOnlyNode) -> WayBack | None:
    """Find the original of a node that regctl made read-only, or None if it did not.

    The record says so, or an original kept beside the file does that becomes exactly the present file when
    it is made read-only: then only regctl can have written it, whatever became of its records.
    """
    record = read_record(node.here.world.state_dir, node.registry, node.host_name)
    if record is not None:
        return WayBack(record.before, record.original)
    current = node.read()
    for path in node.kept_copies():
        try:
            kept = node.host.read(path)
            if node.engine.read_only_text(kept) != current:
                continue
        except (FileNotFoundError, RegctlError):
            continue
        info = node.info()
        before: dict[str, Any] = {
            "changes": True,
            "config_file": node.config_file,
            "kept": path,
            "sha256": sha256(kept),
            "ours": sha256(current),
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
        }
        return WayBack(before, kept)
    return None


def _opening_hint(node: ReadOnlyNode) -> str:
    """Say how to open a node that somebody else has closed."""
    if is_generated(node.here.world, node.registry, node.host_name):
        return f"take readonly out of registry['storage'] in {SETTINGS_FILE}, then run `{RECONFIGURE}`"
    return (
        f"if you mean it, set {READ_ONLY_KEY}: false in {node.config_file} and restart it by "
        "regctl service restart"
    )


def _edited(way: WayBack, data: bytes) -> bool:
    """Say whether the file is neither the original nor what we made of it."""
    return sha256(data) not in (way.before["ours"], way.before["sha256"])


class ClearReadOnly(Step):
    """Take `SetReadOnly` back: the original bytes, a restart if it runs, a write proved to be accepted.

    A stopped node stays stopped. A node that regctl has not made read-only is not opened.
    """

    registry: str
    node: str

    def title(self) -> str:
        """Name the node."""
        return f"make {self.registry} on {self.node} writable again"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Refuse what was not closed by us, and what was edited since."""
        node = self._on(here)
        way = way_back(node)
        data = node.read()
        if way is None:
            if node.engine.is_read_only(node.parsed(data).data):
                yield Problem(
                    f"{node.name} is read-only by its own configuration, not by regctl; it is not opened",
                    _opening_hint(node),
                )
            return
        if _edited(way, data) and node.engine.is_read_only(node.parsed(data).data):
            yield Problem(
                f"{node.name}: {node.config_file} was edited while it was read-only; it is not overwritten",
                f"settle it by hand: diff {way.before['kept']} {node.config_file}",
            )
        state = node.service.state()
        if state.running:
            yield from loaded_problems(node)
        yield from environment_problems(node, state)
        for mistake in node.engine.check_config(node.parsed(way.original).data, node.version):
            if mistake.fatal and state.running:
                yield Problem(
                    f"{node.name} would not start with its original file: {mistake.path}: {mistake.message}",
                    mistake.hint,
                    outcome=Outcome.CONFIG,
                )

    def observe(self, here: Target) -> Before:
        """Describe what will be brought back; JSON-able, holds no secret."""
        node = self._on(here)
        way = way_back(node)
        if way is None or _edited(way, node.read()):
            return {"changes": False, "forget": way is not None}
        running = node.service.state().running
        # what runs now decides, not what ran when it was closed: what is stopped stays stopped
        now = {"running": running, "process": [], "probe": "writable" if running else "stopped"}
        return {**way.before, **now}

    def preview(self, here: Target) -> Preview:
        """Say what would come back."""
        node = self._on(here)
        way = way_back(node)
        if way is None:
            return Preview(f"{node.name} is not kept read-only by regctl", changes=False)
        if _edited(way, node.read()):
            return Preview(f"forget that {node.name} was read-only: its file was opened by hand")
        lines = [f"{node.config_file}: the original bytes come back, from {way.before['kept']}"]
        if node.service.state().running:
            lines.append(f"restart {node.name}; prove that a write would be accepted")
        return Preview(self.title(), blocks=(Text("\n".join(lines)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Bring it back and forget the record."""
        node = self._on(here)
        if not before["changes"]:
            if before["forget"]:
                here.run.guard()
                remove_record(here.world.state_dir, self.registry, self.node)
                return StepReport(warnings=(f"{node.config_file} was opened by hand; only the record went",))
            return StepReport(changed=False, not_applicable="regctl does not keep it read-only")
        way = way_back(node)
        report = node.restore(before, way.original if way else None)
        remove_record(here.world.state_dir, self.registry, self.node)
        return report

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Applying again is always safe: what is restored already is only proved."""
        return "partial"

    def _on(self, here: Target) -> ReadOnlyNode:
        return ReadOnlyNode(here, self.registry, self.node)
