"""The window of an import: closed before it, and open again only where nothing can be lost by that.

Once all tags are in the database, a push to the storage tree would be lost with the switch. So a registry
that somebody else switches stays closed after a good import; after a failed one it is as it was.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ctl.catalog.lockfiles import read_lock_files
from ctl.errors import RegctlError
from ctl.recipes.model import Before, StepReport, Target
from ctl.steps.read_only import ReadOnly
from ctl.steps.read_only_node import ReadOnlyNode
from ctl.steps.read_only_record import Record, read_record, write_record
from ctl.steps.stopped import Stopped

REASON = "its tags are imported; it waits for being switched to the database"
STAYS = "stays_closed"


class ImportReadOnly(ReadOnly):
    """Keep a node read-only for an import, and beyond it for whoever switches it, as by `read-only on`."""

    by: str = ""

    def leave(self, here: Target, before: Before) -> StepReport:
        """Keep it closed where the import is done, recorded as by `read-only on`; else bring it back."""
        if not imported(here, self.registry):
            return super().leave(here, before)
        node = ReadOnlyNode(here, self.registry, self.node)
        node.prove_closed()
        known = read_record(here.world.state_dir, self.registry, self.node)
        if before["changes"] and (known is None or known.run != here.run.id):
            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            original = node.host.read(before["kept"])
            here.run.guard()
            record = Record(self.registry, self.node, here.run.id, since, self.by, REASON, before, original)
            write_record(here.world.state_dir, record)
        return StepReport({STAYS: True}, changed=False)


class ImportStopped(Stopped):
    """Keep a node stopped for an import, and beyond it for whoever switches it."""

    def leave(self, here: Target, before: Before) -> StepReport:
        """Keep it stopped where the import is done; else start it if it ran before."""
        if not imported(here, self.registry):
            return super().leave(here, before)
        return StepReport({STAYS: True}, changed=False)


def imported(here: Target, registry: str) -> bool:
    """Say whether this run's import has ended well, and nothing has taken that back since."""
    if not here.run.notes("ImportMetadata").get("imported"):
        return False
    try:
        return read_lock_files(here.world.storage(registry)).database_in_use
    except RegctlError:
        return True  # nobody can tell, so it is not opened
