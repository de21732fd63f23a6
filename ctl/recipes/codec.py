"""A recipe as JSON and back, its hash, and argv without secrets: what the journal stores."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctl.errors import RegctlError
from ctl.recipes.model import Across, Do, Item, Recipe, Row, Scope, Step, Within

_SECRET_OPTION = re.compile(
    r"^--?[a-z0-9-]*(pass|secret|token|key|credential)[a-z0-9-]*(?P<value>=.*)?$", re.I
)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/@\s:]*):[^/@\s]*@", re.I)


@dataclass(frozen=True)
class Place:
    """A step's place in its recipe: `path` is "2" or "2.1" for a step, "2.s1" for a scope.

    Of a row its path begins with the row's, as in "2.r1" and "2.r1.3".
    """

    path: str
    step: Step
    within: tuple[str, ...]  # the paths of the scopes around it, outermost first
    because: str = ""  # why the recipe has it
    row: str = ""  # the path of the row that it is part of

    @property
    def is_scope(self) -> bool:
        """Say whether it stands there as a scope."""
        return self.path.rpartition(".")[2].startswith("s")


def places(
    items: Sequence[Item], prefix: str = "", around: tuple[str, ...] = (), row: str = ""
) -> Iterator[Place]:
    """Yield every step and scope with its path, in the order in which they run (rows one after the other)."""
    for number, item in enumerate(items, 1):
        path = f"{prefix}{number}"
        if isinstance(item, Do):
            yield Place(path, item.step, around, item.because, row)
        elif isinstance(item, Across):
            for row_path, one in rows_of(item, path):
                yield from places(one.body, f"{row_path}.", around, row_path)
        else:
            inner = around
            for index, scope in enumerate(item.scopes, 1):
                yield Place(f"{path}.s{index}", scope, inner, item.because, row)
                inner = (*inner, f"{path}.s{index}")
            yield from places(item.body, f"{path}.", inner, row)


def rows_of(item: Across, path: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of one Across with their paths, such as "2.r1"."""
    for number, row in enumerate(item.rows, 1):
        yield f"{path}.r{number}", row


def acrosses(items: Sequence[Item], prefix: str = "") -> Iterator[tuple[str, Across]]:
    """Yield every Across with its path, in the order in which they run."""
    for number, item in enumerate(items, 1):
        path = f"{prefix}{number}"
        if isinstance(item, Across):
            yield path, item
        elif isinstance(item, Within):
            yield from acrosses(item.body, f"{path}.")


def all_rows(recipe: Recipe) -> dict[str, Row]:
    """Return all rows of a recipe by their paths, in the order in which they are listed."""
    found = acrosses(recipe.items)
    return {row_path: row for path, item in found for row_path, row in rows_of(item, path)}


def class_path(step: Step) -> str:
    """Name a step's class so that it can be found again."""
    return f"{type(step).__module__}:{type(step).__qualname__}"


def _dump_step(step: Step) -> dict[str, Any]:
    return {"step": class_path(step), "args": step.model_dump(mode="json")}


def dump_item(item: Item) -> dict[str, Any]:
    """Turn an item of a recipe into JSON."""
    reason = {"because": item.because} if item.because else {}
    if isinstance(item, Do):
        return {"do": _dump_step(item.step), **reason}
    if isinstance(item, Across):
        limits = {"canary": item.canary, "at_once": item.at_once, "max_fail": item.max_fail}
        return {**reason, "across": [dump_row(row) for row in item.rows], **limits}
    return {
        **reason,
        "within": [_dump_step(scope) for scope in item.scopes],
        "body": [dump_item(part) for part in item.body],
    }


def dump_row(row: Row) -> dict[str, Any]:
    """Turn a row into JSON."""
    return {"host": row.host, "body": [dump_item(part) for part in row.body]}


def dump(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe into JSON; RegctlError if a step would not come back as it was."""
    data: dict[str, Any] = {
        "name": recipe.name,
        "title": recipe.title,
        "resources": list(recipe.resources),
        "undo_on_failure": recipe.undo_on_failure,
        "items": [dump_item(item) for item in recipe.items],
    }
    if load(data).items != recipe.items:
        raise RegctlError(f"recipe {recipe.name}: a step's arguments do not survive the journal")
    return data


def load_step(data: Mapping[str, Any]) -> Step:
    """Build a step again; RegctlError if its class is gone or takes other arguments now."""
    name = str(data["step"])
    module_name, _, qualified = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualified.split("."):
            found = getattr(found, part)
        if not (isinstance(found, type) and issubclass(found, Step)):
            raise TypeError("it is not a step")
        return found.model_validate_json(json.dumps(data["args"]))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise RegctlError(
            f"the step {name} cannot be built again: {error}",
            hint="resume with the version of regctl that began the run (`regctl run show` names it)",
        ) from error


def _load_item(data: Mapping[str, Any]) -> Item:
    because = str(data.get("because", ""))
    if "across" in data:
        rows = tuple(_load_row(row) for row in data["across"])
        return Across(rows, data["canary"], data["at_once"], data["max_fail"], because)
    return _load_one(data)


def _load_one(data: Mapping[str, Any]) -> Do | Within:
    because = str(data.get("because", ""))
    return Do(load_step(data["do"]), because) if "do" in data else _load_within(data, because)


def _load_row(data: Mapping[str, Any]) -> Row:
    return Row(data["host"], tuple(_load_one(part) for part in data["body"]))


def _load_within(data: Mapping[str, Any], because: str) -> Within:
    scopes = []
    for part in data["within"]:
        scope = load_step(part)
        if not isinstance(scope, Scope):
            raise RegctlError(f"the step {part['step']} is not a scope any more")
        scopes.append(scope)
    return Within(tuple(scopes), tuple(_load_item(part) for part in data["body"]), because)


def load(data: Mapping[str, Any]) -> Recipe:
    """Build a recipe again from its JSON."""
    return Recipe(
        name=data["name"],
        title=data.get("title", ""),
        resources=tuple(data["resources"]),
        undo_on_failure=bool(data.get("undo_on_failure", False)),
        items=tuple(_load_item(item) for item in data["items"]),
    )


def plan_hash(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a dumped recipe."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def redact(argv: Sequence[str]) -> list[str]:
    """Return argv with the values of secret-looking options, and passwords in URLs, replaced."""
    result: list[str] = []
    hide_next = False
    for word in argv:
        found = _SECRET_OPTION.match(word)
        if hide_next and not word.startswith("-"):
            result.append("***")
        elif found and found["value"] is not None:
            result.append(word.partition("=")[0] + "=***")
        else:
            result.append(_USERINFO.sub(r"\g<scheme>:***@", word))
        hide_next = bool(found) and found is not None and found["value"] is None
    return result
