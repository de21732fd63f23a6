"""A registry's last offline collection, from the journals of the runs. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.recipes import runs

if TYPE_CHECKING:
    from ctl.recipes.state import RunState


def last_collection(state_dir: str, registry: str) -> RunState | None:
    """Return the newest run of `regctl gc` that came to its end on this registry; None if there is none.

    Only journals that are still kept are looked at: 90 days, 200 runs.
    """
    for run_id in reversed(runs.ids(state_dir)):
        if "-gc-" not in run_id:
            continue
        run = runs.load(state_dir, run_id)
        if run.recipe == "gc" and run.state == "done" and f"registry/{registry}" in run.resources:
            return run
    return None
