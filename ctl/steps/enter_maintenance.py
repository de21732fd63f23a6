"""Remember that a registry is under maintenance and how its nodes were before; and forget it again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.maintenance_record import (
    Found,
    Maintenance,
    made_by_maintenance,
    read_maintenance,
    remove_maintenance,
    write_maintenance,
)
from ctl.steps.node_doors import NodeDoors
from ctl.steps.read_only_record import read_record


class EnterMaintenance(Undoable):
    """Write down who puts a registry under maintenance, since when, why, and how each node was before.

    A record that is there stands: only nodes that it does not name are added.
    """

    registry: str
    by: str = ""
    reason: str = ""

    def title(self) -> str:
        return f"remember that {self.registry} is under maintenance"

    def observe(self, here: Target) -> Before:
        return {"nodes": found_nodes(here, self.registry)}

    def preview(self, here: Target) -> Preview:
        record = read_maintenance(here.world.state_dir, self.registry)
        described = here.world.registry(self.registry)
        hosts = {node.host for node in described.nodes}
        # read-only keeps pushes out, and nothing else
        goes_on = f"Online collection goes on; `regctl gc online off {self.registry}` stops it."
        blocks = (Text(goes_on),) if described.own_database else ()
        return Preview(self.title(), record is None or not hosts <= set(record.nodes), blocks)

    def apply(self, here: Target, before: Before) -> StepReport:
        record = read_maintenance(here.world.state_dir, self.registry)
        nodes: dict[str, Found] = {**before["nodes"], **(record.nodes if record else {})}
        if record is not None and nodes == dict(record.nodes):
            return StepReport(changed=False)
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = Maintenance(self.registry, here.run.id, since, self.by, self.reason, nodes)
        if record is not None:
            made = Maintenance(record.registry, record.run, record.since, record.by, record.reason, nodes)
        here.run.guard()
        write_maintenance(here.world.state_dir, made)
        return StepReport({"nodes": dict(nodes)})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Writing it again is safe: a record that is there stands."""
        return "pending"

    def undo(self, here: Target, before: Before) -> None:
        record = read_maintenance(here.world.state_dir, self.registry)
        if record is not None and record.run == here.run.id:
            remove_maintenance(here.world.state_dir, self.registry)


def found_nodes(here: Target, registry: str) -> dict[str, Found]:
    """Say how each node's file was before any maintenance; one that maintenance has closed was writable."""
    found: dict[str, Found] = {}
    for described in here.world.registry(registry).nodes:
        node = NodeDoors(here, registry, described.host)
        closed = node.engine.is_read_only(node.parsed(node.read()).data)
        found[described.host] = "read-only" if closed and not ours(node) else "writable"
    return found


def ours(node: NodeDoors) -> bool:
    """Say whether `maintenance on` has closed a node: by its record, or by the original kept beside it."""
    record = read_record(node.here.world.state_dir, node.registry, node.host_name)
    if record is not None:
        return made_by_maintenance(record.run)
    return any(made_by_maintenance(path) for path in node.kept_copies())


def drop_needless(here: Target, node: NodeDoors) -> list[str]:
    """Remove the originals of maintenance that are, byte for byte, the present file; return the others."""
    left = []
    for path in node.kept_copies():
        if made_by_maintenance(path) and node.host.read(path) == node.read():
            here.run.guard()
            node.host.remove(path)
        elif made_by_maintenance(path):
            left.append(path)
    return left


class EndMaintenance(Step):
    """Forget that a registry was under maintenance, and the originals that it needs no more."""

    registry: str

    def title(self) -> str:
        return f"forget that {self.registry} was under maintenance"

    def preview(self, here: Target) -> Preview:
        record = read_maintenance(here.world.state_dir, self.registry)
        return Preview(self.title(), changes=record is not None)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Remove only such originals as are, byte for byte, the file that is there now."""
        warnings = []
        for described in here.world.registry(self.registry).nodes:
            left = drop_needless(here, NodeDoors(here, self.registry, described.host))
            warnings += [
                f"{path} on {described.host} is another text than the file; it is left" for path in left
            ]
        here.run.guard()
        remove_maintenance(here.world.state_dir, self.registry)
        return StepReport(warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Forgetting again is safe."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        if read_maintenance(here.world.state_dir, self.registry) is not None:
            yield Problem(f"the record of {self.registry}'s maintenance is still there")
