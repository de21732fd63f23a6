"""Settle an open run: go on from where its journal stands, back out of it, or close it as it is.

Needs no database: journal, locks and claims are files. Whoever ran it before must be proved dead, or
have lost its lock by `regctl lock break`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ctl.errors import LockedError, RefusedError, RegctlError, UsageError
from ctl.recipes import runs
from ctl.recipes.checks import Skips
from ctl.recipes.claims import read_claim, spots
from ctl.recipes.codec import plan_hash
from ctl.recipes.identity import controller_id, is_stopped, judge
from ctl.recipes.journal import Journal
from ctl.recipes.lock import new_info
from ctl.recipes.model import Problem, RunReport
from ctl.recipes.session import Session
from ctl.recipes.state import RunState

if TYPE_CHECKING:
    from ctl.recipes.runner import Runner


def resume(runner: Runner, run_id: str, *, leave_only: bool, yes: bool) -> RunReport:
    """Go on with an open run; with `leave_only` undo and leave only.

    LockedError (5) if its regctl still lives, RefusedError (6) if its journal or recipe cannot be trusted.
    """
    state = open_run(runner, run_id)
    if state.state == "unreadable":
        raise RefusedError(
            f"run {state.id} cannot be resumed: {state.reason}",
            hint="look at the registry, put it right by hand, then:"
            f" regctl run abandon {state.id} --leave-open-scopes --reason WHY",
        )
    _demand_dead(runner, state)
    if plan_hash(state.start["recipe"]) != state.start["plan_hash"]:
        raise RefusedError(f"run {state.id}: the recipe in the journal is not the one that was begun")
    begun = state.start["versions"]["regctl"]
    if begun != runner.version:
        text = f"run {state.id} was begun by regctl {begun}; this is {runner.version}"
        runner.tell(Problem(text, blocking=False))
    skips = Skips(frozenset(state.start["skipped"]), state.start["skip_reason"])
    confirm = runner.confirm
    may_repeat = None if yes or confirm is None else confirm
    return Session(runner, skips, may_repeat).again(state, leave_only=leave_only)


def abandon(runner: Runner, run_id: str, reason: str, *, leave_open_scopes: bool) -> RunState:
    """Close an open run as it stands; RefusedError if scopes are open and that was not asked for."""
    if not reason.strip():
        raise UsageError("abandoning a run needs a reason", hint="--reason WHY")
    state = open_run(runner, run_id)
    _demand_dead(runner, state)
    opened = [state.titled(path) for path in state.open_scopes()]
    unsure = state.state == "unreadable"
    if (opened or unsure) and not leave_open_scopes:
        what = "nobody can tell what is entered" if unsure else f"still entered: {', '.join(opened)}"
        raise RefusedError(
            f"run {state.id} is not abandoned: {what}",
            hint=f"regctl run resume {state.id} --leave-only puts back what it changed;"
            " or add --leave-open-scopes, and put it back by hand",
        )
    for title in opened:
        runner.tell(Problem(f"left as it is, and nobody will put it back: {title}", blocking=False))
    held = runner.locks.acquire(state.resources, new_info("regctl run abandon", reason, run=state.id))
    try:
        _remove_claims(runner, state)
        if unsure:
            runs.mark_abandoned(runner.world.state_dir, state.id, reason)
        else:
            path = runs.journal_path(runner.world.state_dir, state.id)
            with contextlib.closing(Journal(path, runner.boundary)) as journal:
                journal.take_over("end", {"state": "abandoned", "reason": reason, "open_scopes": opened})
    finally:
        held.release()
    return runs.load(runner.world.state_dir, state.id)


def open_run(runner: Runner, run_id: str) -> RunState:
    """Find an open run by the beginning of its id, or the only one; UsageError if there is none."""
    state_dir = runner.world.state_dir
    if not run_id:
        found = runs.open_runs(state_dir)
        if len(found) != 1:
            raise UsageError(
                "no run is open" if not found else f"{len(found)} runs are open: name one",
                details=tuple(state.id for state in found),
            )
        return found[0]
    state = runs.load(state_dir, runs.find(state_dir, run_id))
    if state.closed:
        raise UsageError(f"run {state.id} has ended already ({state.state})")
    return state


def _demand_dead(runner: Runner, state: RunState) -> None:
    """Raise LockedError unless the run's last process is proved dead, or its lock was broken."""
    holder = state.holder
    if holder is None:
        return
    locks = [runner.locks.state(resource) for resource in state.resources]
    for lock in locks:
        runner.locks.refuse_held(lock)
    if any(lock.epoch > state.epoch for lock in locks):
        return
    if locks and all(lock.info is None for lock in locks):
        return  # given back in good order, by a process that may still live for other work
    verdict = judge(holder)
    if verdict in ("dead", "rebooted"):
        return
    where = f"pid {holder.pid} on {holder.host}"
    stopped = " (stopped)" if verdict == "alive" and is_stopped(holder.pid) else ""
    raise LockedError(
        f"run {state.id} is still at work: {where}{stopped}",
        hint="wait for it, or end that process first",
    )


def _remove_claims(runner: Runner, state: RunState) -> None:
    own = controller_id(runner.world.state_dir, create=False)
    for spot in spots(runner.world, state.resources):
        try:
            claim = read_claim(runner.world, spot)
            if claim is not None and (claim.controller, claim.run) == (own, state.id):
                runner.world.host(spot.host).remove(spot.path)
        except RegctlError as error:
            runner.tell(Problem(f"a claim may be left behind: {error.message}", error.hint, blocking=False))
