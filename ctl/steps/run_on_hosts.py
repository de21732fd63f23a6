"""The recipe of `regctl host run`: one program, a row for each host; and what an earlier one left undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.errors import UsageError
from ctl.fleet.select import select
from ctl.recipes import runs
from ctl.recipes.codec import all_rows
from ctl.recipes.model import Across, Do, Recipe, Row
from ctl.recipes.unfinished import unfinished
from ctl.steps.run_program import RunProgram, shown

if TYPE_CHECKING:
    from ctl.recipes.state import RunState
    from ctl.world import World

NAME = "host-run"


@dataclass(frozen=True)
class Asked:
    """What the operator asked for. `timeout` is in seconds."""

    argv: tuple[str, ...]
    canary: int = 0
    serial: int = 10
    max_fail: int = 0
    timeout: float = 3600.0
    user: str | None = None
    stdin_secret: str | None = None


def recipe(hosts: Sequence[str], asked: Asked) -> Recipe:
    """Return the recipe; UsageError without a program."""
    if not asked.argv or not asked.argv[0]:
        raise UsageError("no program to run", hint="regctl host run PATTERN -- PROGRAM ARGUMENTS")
    steps = [
        RunProgram(
            host_name=host,
            argv=asked.argv,
            user=asked.user,
            timeout_seconds=asked.timeout,
            stdin_secret=asked.stdin_secret,
            goes_on=True,
        )
        for host in hosts
    ]
    return _recipe(steps, asked)


def unfinished_recipe(world: World, given: str, pattern: str, asked: Asked) -> Recipe:
    """Return the rows of an earlier `host run` that are not done, as a recipe of their own.

    A program that was begun there, and whose end is not known, is looked for first: its end is taken where
    it is to be had. UsageError where that run is no such one, is still open, or left nothing.
    """
    if asked.argv:
        raise UsageError("--unfinished runs what that run ran: leave the program away")
    state = runs.load(world.state_dir, runs.find(world.state_dir, given))
    if state.recipe != NAME:
        raise UsageError(
            f"run {state.id} is none of `regctl host run`, but of {state.recipe or 'nobody knows'}"
        )
    before = state.load()
    left = {row.host for row in all_rows(unfinished(before, world.state_dir, given)).values()}
    if pattern:
        left &= set(select(world.site, pattern))
    if not left:
        raise UsageError(f"run {state.id} left nothing on {pattern}")
    steps = [
        item.step.model_copy(update={"earlier": _earlier(state, f"{path}.1", item.step)})
        for path, row in all_rows(before).items()
        for item in row.body
        if row.host in left and isinstance(item, Do) and isinstance(item.step, RunProgram)
    ]
    gone = [step.host_name for step in steps if step.host_name not in world.site.hosts]
    if gone:
        raise UsageError(f"the site no longer has {', '.join(gone)}", hint="name the others as PATTERN")
    return _recipe(steps, asked)


def _earlier(state: RunState, path: str, step: RunProgram) -> str:
    """Return the job whose end is not known; "" where it is, or none was begun."""
    notes = state.at(path).notes
    if "ended" in notes:
        return ""
    return str(notes.get("job", "") or step.earlier)


def _recipe(steps: Sequence[RunProgram], asked: Asked) -> Recipe:
    rows = tuple(Row(step.host_name, (Do(step),)) for step in steps)
    across = Across(rows, canary=asked.canary, at_once=asked.serial, max_fail=asked.max_fail)
    return Recipe(
        NAME,
        (across,),
        resources=tuple(f"host/{step.host_name}" for step in steps),
        title=f"run {shown(steps[0].argv, 200)} on {len(steps)} host{'s' * (len(steps) != 1)}",
    )
