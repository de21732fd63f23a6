"""Everything that is looked at before the first write: all checks of all steps, and what each would do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ctl.errors import Outcome, RegctlError, UsageError
from ctl.fleet.reach import Reached
from ctl.fleet.reach import reach as fleet_reach
from ctl.recipes import claims
from ctl.recipes.attempt import as_problem
from ctl.recipes.codec import Place, acrosses, all_rows, places, rows_of
from ctl.recipes.identity import controller_id
from ctl.recipes.model import Preview, Problem, Recipe, StepResultWord, Target
from ctl.recipes.only_check import OnlyCheck
from ctl.recipes.threads import each
from ctl.report.model import Json, Text

if TYPE_CHECKING:
    from ctl.recipes.live import CheckRun
    from ctl.world import World

AT_ONCE = 20  # hosts that are asked side by side before anything is changed
Reach = Callable[["World", Sequence[str], int], Sequence[Reached]]


@dataclass(frozen=True)
class Skips:
    """Problems that the operator passes over: named, with a reason, still evaluated and reported."""

    names: frozenset[str] = frozenset()
    reason: str = ""

    @classmethod
    def of(cls, names: Iterable[str], reason: str) -> Skips:
        """Build it; UsageError if something is skipped without a reason."""
        skips = cls(frozenset(names), reason.strip())
        if skips.names and not skips.reason:
            raise UsageError("--skip needs --skip-reason", hint="say why, for whoever reads the journal")
        return skips

    def apply(self, problem: Problem) -> Problem:
        """Return the problem, no longer blocking if its name is skipped."""
        if not problem.blocking or not problem.name or problem.name not in self.names:
            return problem
        message = f"{problem.message} (check {problem.name} skipped: {self.reason})"
        return replace(problem, message=message, blocking=False)

    def demand_known(self, recipe: Recipe, problems: Sequence[Problem]) -> None:
        """Raise UsageError for a name that none of the recipe's checks has."""
        known = {problem.name for problem in problems if problem.name}
        for place in places(recipe.items):
            step = place.step.inner() if isinstance(place.step, OnlyCheck) else place.step
            known.update(step.skippable)
        for name in sorted(self.names - known):
            near = difflib.get_close_matches(name, sorted(known), n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            there = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"no check of {recipe.name} has the name {name!r}",
                hint=f"{meant}checks that can be skipped: {there}",
            )


@dataclass(frozen=True)
class Fall:
    """Why the row of a host cannot begin."""

    result: StepResultWord  # "unreachable", or "failed" where something else stands in the way
    reason: str


@dataclass(frozen=True)
class Findings:
    """What the checks found: for the whole run, and for each row by its path."""

    problems: tuple[Problem, ...]
    rows: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)

    def everything(self) -> list[Problem]:
        """Return all problems."""
        return [*self.problems, *(problem for found in self.rows.values() for problem in found)]


@dataclass(frozen=True)
class Verdict:
    """What the findings mean: the problems to tell, the rows that cannot begin, how the command ends."""

    problems: tuple[Problem, ...]
    fallen: Mapping[str, Fall]
    outcome: Outcome | None  # of a refusal; None where the run may begin


def gather(world: World, recipe: Recipe, run: CheckRun, reach: Reach = fleet_reach) -> Findings:
    """Run every check of every step, and look for other controllers' claims; only reads.

    Of hosts that rows work on, connection, identity and rights are proved first. Rows are checked side by
    side; one whose host is not reached is not checked any further.
    """
    here = Target(world, run)
    rows = all_rows(recipe)
    away = unreached(world, [row.host for row in rows.values()], reach)
    problems = _claimed(world, recipe, away)
    of_rows: dict[str, list[Place]] = {path: [] for path in rows}
    for place in places(recipe.items):
        if place.row:
            of_rows[place.row].append(place)
        else:
            problems += _check(place, here)
    found: dict[str, tuple[Problem, ...]] = {
        path: (away[row.host],) for path, row in rows.items() if row.host in away
    }
    todo = [path for path in rows if path not in found]

    def check_row(path: str) -> list[Problem]:
        return [problem for place in of_rows[path] for problem in _check(place, here)]

    for path, of_row in zip(todo, each(check_row, todo, AT_ONCE), strict=True):
        found[path] = _once(of_row)
    return Findings(_once(problems), {path: found[path] for path in rows})


def judge(recipe: Recipe, findings: Findings, skips: Skips) -> Verdict:
    """Weigh what was found: a row that cannot begin counts as failed, and its Across says how many may."""
    problems = [skips.apply(problem) for problem in findings.problems]
    outcome = blocking_outcome(problems)
    fallen: dict[str, Fall] = {}
    for path, across in acrosses(recipe.items):
        bad: list[Problem] = []
        mine = {row_path: row.host for row_path, row in rows_of(across, path)}
        told: list[Problem] = []
        for row_path, host in mine.items():
            found = [skips.apply(problem) for problem in findings.rows.get(row_path, ())]
            blocking = [problem for problem in found if problem.blocking]
            if blocking:
                bad.append(blocking[0])
                fallen[row_path] = fall(blocking)
            told += [located(problem, host) for problem in found]
        if len(bad) > across.max_fail:
            problems += [*told, _too_many(len(bad), len(mine), across.max_fail, bad)]
            outcome = outcome or problems[-1].outcome
        else:
            problems += [replace(problem, blocking=False) for problem in told]
    return Verdict(tuple(problems), fallen, outcome)


def fall(blocking: Sequence[Problem]) -> Fall:
    """Say why a row cannot begin."""
    away = blocking[0].outcome is Outcome.UNREACHABLE
    return Fall("unreachable" if away else "failed", blocking[0].message)


def _too_many(bad: int, all_of_them: int, allowed: int, problems: Sequence[Problem]) -> Problem:
    outcomes = [problem.outcome for problem in problems]
    outcome = next((one for one in outcomes if one is not Outcome.UNREACHABLE), Outcome.UNREACHABLE)
    what = f"{bad} of {all_of_them} hosts cannot be worked on"
    limit = f", and max_fail allows {allowed}" if allowed else ""
    return Problem(f"{what}{limit}: nothing was changed anywhere", outcome=outcome)


def located(problem: Problem, host: str) -> Problem:
    """Say on which host of several a problem is."""
    return replace(problem, message=f"[{host}] {problem.message}") if host else problem


def unreached(world: World, hosts: Sequence[str], reach: Reach) -> dict[str, Problem]:
    """Return why hosts cannot be worked on, of those that cannot; this machine needs no connection."""
    known = world.site.hosts
    far = [host for host in dict.fromkeys(hosts) if host not in known or known[host].connection != "local"]
    if not far:
        return {}
    answers = reach(world, far, AT_ONCE)
    return {
        one.host: Problem("\n".join((one.reason, *one.details)), one.hint, outcome=one.outcome)
        for one in answers
        if not one.ok
    }


def _once(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems))  # two steps may find the same thing


def _check(place: Place, here: Target) -> list[Problem]:
    found = []
    try:
        for problem in place.step.check(here):
            found.append(problem)
    except (RegctlError, OSError) as error:
        found.append(as_problem(error))
    return found


def _claimed(world: World, recipe: Recipe, away: Mapping[str, Problem]) -> list[Problem]:
    found = []
    own = controller_id(world.state_dir, create=False)
    try:
        for spot, claim in claims.foreign(world, recipe.resources, own, away):
            found.append(as_problem(claims.refusal(spot, claim)))
    except RegctlError as error:
        found.append(as_problem(error))
    return found


def preview(
    world: World, recipe: Recipe, run: CheckRun, fallen: Mapping[str, Fall] | None = None
) -> tuple[tuple[Preview, ...], bool]:
    """Return what each step would do, and whether any step (scopes aside) has something to do.

    Of rows that cannot begin nothing is shown.
    """
    here = Target(world, run)
    hosts = {path: row.host for path, row in all_rows(recipe).items()}
    shown = [place for place in places(recipe.items) if place.row not in (fallen or {})]
    by_row: dict[str, list[Place]] = {}
    for place in shown:
        by_row.setdefault(place.row or place.path, []).append(place)

    def look(found: list[Place]) -> list[Preview]:
        return [
            _located(_with_reason(one.step.preview(here), one.because), hosts.get(one.row)) for one in found
        ]

    alone = [path for path, found in by_row.items() if not found[0].row]
    rows = [path for path in by_row if path not in alone]
    looked = {path: look(by_row[path]) for path in alone}
    looked |= dict(zip(rows, each(lambda path: look(by_row[path]), rows, AT_ONCE), strict=True))
    previews = [one for path in by_row for one in looked[path]]
    changes = any(
        found.changes and recipe.decided_by in ("", type(place.step).__name__) and not place.is_scope
        for place, found in zip((one for path in by_row for one in by_row[path]), previews, strict=True)
    )
    return (*_order(recipe, fallen or {}, changes), *previews), changes


def _order(recipe: Recipe, fallen: Mapping[str, Fall], changes: bool) -> Iterator[Preview]:
    """Say of each group of rows in which order they would be worked on; `changes` if anything would be."""
    for path, across in acrosses(recipe.items):
        rows = [row.host for row_path, row in rows_of(across, path) if row_path not in fallen]
        if not rows:
            continue
        first, others = rows[: across.canary], rows[across.canary :]
        words = [f"{', '.join(first)} first, alone"] if first else []
        words += [f"{across.at_once} at once: {', '.join(others)}"] if others else []
        limit = (
            f"no further host after {'one' if not across.max_fail else f'more than {across.max_fail}'} failed"
        )
        title = f"across {len(rows)} host{'' if len(rows) == 1 else 's'}: {'; then '.join(words)}; {limit}"
        data: dict[str, Json] = {"hosts": list(rows), "canary": across.canary, "at_once": across.at_once}
        preview = Preview(title, changes, data={**data, "max_fail": across.max_fail})
        yield _with_reason(preview, across.because)


def _located(preview: Preview, host: str | None) -> Preview:
    if host is None:
        return preview
    return replace(preview, title=f"[{host}] {preview.title}", data={"host": host, **preview.data})


def _with_reason(preview: Preview, because: str) -> Preview:
    """Say first why the recipe has a step, where it says so."""
    if not because:
        return preview
    reason = Text(f"because {because}")
    return replace(preview, blocks=(reason, *preview.blocks), data={**preview.data, "because": because})


def blocking_outcome(problems: Sequence[Problem]) -> Outcome | None:
    """Return the outcome of the first problem that blocks, None if none does."""
    return next((problem.outcome for problem in problems if problem.blocking), None)
