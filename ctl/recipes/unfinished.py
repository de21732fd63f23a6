"""Take up what an earlier run left: the same recipe with only the rows that did not end well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ctl.errors import RefusedError, UsageError
from ctl.recipes import runs
from ctl.recipes.codec import acrosses, dump_item, dump_row, rows_of
from ctl.recipes.host_records import FINISHED
from ctl.recipes.model import Across, Item, Recipe, Row, Within
from ctl.recipes.state import RunState


def unfinished(recipe: Recipe, state_dir: str, given: str) -> Recipe:
    """Return the recipe with only those rows that did not end ok or changed in an earlier run of it.

    `given` is the beginning of that run's id. Steps outside of rows stay. UsageError where there is no such
    run, it is still open, or nothing is left of it; RefusedError where the recipe is not the same any more.
    """
    earlier = runs.load(state_dir, runs.find(state_dir, given))
    _demand_usable(recipe, earlier)
    before = earlier.load()
    _demand_same(recipe, before, earlier.id)
    left = {(path, host) for path, host in _left(before, earlier)}
    if not left:
        raise UsageError(f"run {earlier.id} left nothing: every host that it was for has ended well")
    items = tuple(_kept(recipe.items, "", left))
    return replace(recipe, items=items, title=f"{recipe.title} (what {earlier.id} left)".strip())


def _demand_usable(recipe: Recipe, earlier: RunState) -> None:
    if earlier.state == "unreadable":
        raise RefusedError(f"run {earlier.id} cannot be read: {earlier.reason}")
    if not earlier.closed:
        raise UsageError(
            f"run {earlier.id} has not ended: it is not known yet what it leaves",
            hint=f"regctl run resume {earlier.id}",
        )
    if not earlier.recipe:
        raise UsageError(f"run {earlier.id} never began: run {recipe.name} whole")
    if earlier.recipe != recipe.name:
        raise UsageError(f"run {earlier.id} is one of {earlier.recipe}, not of {recipe.name}")
    if not list(acrosses(recipe.items)):
        raise UsageError(f"{recipe.name} does not work on several hosts: run it again, whole")


def _left(recipe: Recipe, state: RunState) -> Iterator[tuple[str, str]]:
    """Yield the Across and the host of every row that did not end well."""
    for path, across in acrosses(recipe.items):
        for row_path, row in rows_of(across, path):
            known = state.rows.get(row_path)
            if known is None or not known.ended or known.result not in FINISHED:
                yield path, row.host


def _demand_same(now: Recipe, before: Recipe, run_id: str) -> None:
    """Raise RefusedError unless the rows of the earlier run, and all around them, are still the same."""
    hint = "look at both (`regctl run show`), then run it again without --unfinished: what is done is skipped"
    if _around(now) != _around(before):
        raise RefusedError(
            f"{now.name} is not what it was in run {run_id}: its steps outside of rows differ",
            hint=hint,
        )
    there = {(path, row.host): dump_row(row) for path, one in acrosses(now.items) for row in one.rows}
    for path, across in acrosses(before.items):
        for row in across.rows:
            if (path, row.host) not in there:
                raise RefusedError(
                    f"{now.name} is not for {row.host} any more, as it was in run {run_id}", hint=hint
                )
            if there[path, row.host] != dump_row(row):
                what = _difference(there[path, row.host], dump_row(row))
                raise RefusedError(
                    f"{now.name} would not do on {row.host} what it was to do in run {run_id}: {what}",
                    hint=hint,
                )


def _around(recipe: Recipe) -> Any:
    """Return a recipe as JSON without its rows and their limits, which may be others."""
    return [_emptied(dump_item(item)) for item in recipe.items]


def _emptied(data: dict[str, Any]) -> dict[str, Any]:
    if "across" in data:
        return {"across": []}
    if "body" in data:
        return {**data, "body": [_emptied(part) for part in data["body"]]}
    return data


def _difference(now: dict[str, Any], before: dict[str, Any]) -> str:
    """Name the first step in which two rows differ."""
    for one, other in zip(_steps(now), _steps(before), strict=False):
        if one != other:
            name = str(one["step"]).rpartition(":")[2]
            keys = [
                key
                for key in {**one["args"], **other["args"]}
                if one["args"].get(key) != other["args"].get(key)
            ]
            return (
                f"{name} differs in {', '.join(keys)}" if one["step"] == other["step"] else f"{name} is new"
            )
    return "it has more or fewer steps"


def _steps(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in data["body"]:
        if "do" in part:
            yield part["do"]
            continue
        yield from part["within"]
        yield from _steps(part)


def _kept(items: tuple[Item, ...], prefix: str, left: set[tuple[str, str]]) -> Iterator[Item]:
    for number, item in enumerate(items, 1):
        path = f"{prefix}{number}"
        if isinstance(item, Within):
            yield replace(item, body=tuple(_kept(item.body, f"{path}.", left)))
        elif isinstance(item, Across):
            rows: tuple[Row, ...] = tuple(row for row in item.rows if (path, row.host) in left)
            # An Across that is done stays, empty: what comes after it keeps its place, for the next time.
            yield replace(item, rows=rows)
        else:
            yield item
