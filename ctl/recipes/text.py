"""The language of recipes in YAML, as checked values: what may stand where, before anything is looked up.

`ctl.recipes.load` reads a file into these; `ctl.recipes.expand` makes a Recipe of them.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ctl.recipes.parameters import KINDS, PARAMETER_NAME, SECRET_NAME, VARIABLES, whole_reference

RECIPE_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
ITEM_KINDS = ("step", "check", "recipe", "within", "for_each", "across")


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("site", "{what}", {"what": message})


def _text(given: str) -> str:
    if not given.strip():
        raise _wrong("must not be empty")
    return " ".join(given.split())


def parameter_name_mistake(name: str) -> str:
    """Return what is wrong with a parameter's name, "" if nothing is."""
    if not PARAMETER_NAME.fullmatch(name):
        return "is not a usable name: small letters, digits and _, starting with a letter"
    if name in VARIABLES:
        return f"is a name that regctl gives a value: {', '.join(sorted(VARIABLES))} are taken"
    if SECRET_NAME.search(name):
        return "would hold a secret: name it in the site as env:, file: or command:, never in a recipe"
    return ""


def _condition(given: str) -> str:
    if whole_reference(given) is None:
        raise _wrong('must be one parameter, as in "$admin": the item is left out where it has no value')
    return given


def _count(given: Any) -> Any:
    """Take a whole number, or the parameter that has it; what else there is, pydantic refuses."""
    if isinstance(given, str) and whole_reference(given) is None:
        raise _wrong('must be a whole number, or a parameter as in "$at_once"')
    return given


def _recipe_name(given: str) -> str:
    if not re.fullmatch(RECIPE_NAME, given):
        raise _wrong('is not a usable name: small letters and digits, words joined by "-"')
    return given


Words = Annotated[str, AfterValidator(_text)]
Condition = Annotated[str, AfterValidator(_condition)]
Count = Annotated[Annotated[int, Field(ge=0, le=100_000)] | str, BeforeValidator(_count)]
Arguments = Annotated[dict[str, Any], Field(alias="with", default_factory=dict)]


class Part(BaseModel):
    """What every part of a recipe is: frozen, unknown keys refused, nothing converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Parameter(Part):
    """What the operator gives by `--set NAME=VALUE`."""

    type: Literal[
        "registry", "pulp", "node", "host", "database", "string", "integer", "duration", "choice", "boolean"
    ]
    help: Words
    default: str | int | bool | None = None
    required: bool = True  # without a default: whether it must be given
    choices: tuple[str, ...] = Field(default=(), strict=False)  # of a choice
    of: str | None = None  # of a node: the parameter that names its registry
    minimum: int | None = None  # of an integer
    maximum: int | None = None

    @property
    def may_be_absent(self) -> bool:
        """Say whether it may have no value at all."""
        return self.default is None and not self.required and self.type not in ("registry", "pulp")

    @property
    def sort(self) -> str:
        """Its type, in words."""
        return KINDS[self.type]


class Requirement(Part):
    """What must be so before anything is looked at further: of a registry, or of regctl itself."""

    regctl: Words | None = None  # regctl's own version, as in ">=0.1"
    registry: Words | None = None
    engine: Words | None = None
    version: Words | None = None  # of the registry's program, on every node
    feature: Words | None = None  # of the engine's table
    role: Words | None = None  # that at least one host of the site must have
    at_least: Annotated[int, Field(ge=1)] = 1  # hosts of that role


class Conditional(Part):
    """An item that may depend on a parameter."""

    when: Condition | None = None  # left out where the parameter has no value, or is false
    unless: Condition | None = None  # left out where it has one


class StepItem(Conditional):
    """A step, by its registered name."""

    step: Words
    arguments: Arguments
    because: Words | None = None


class Remedy(Part):
    """A step that mends what a check found; done only where the operator names it by --remedy."""

    name: Annotated[str, AfterValidator(_recipe_name)]
    step: Words
    arguments: Arguments


class CheckItem(Conditional):
    """The checks of a step alone: nothing of it is done."""

    check: Words
    arguments: Arguments
    because: Words | None = None
    # shown where a check blocks; a step is done where it is asked for by its name, never by itself
    remedy: (
        Annotated[
            Annotated[Words, Tag("(text)")] | Annotated[Remedy, Tag("(remedy)")],
            Discriminator(lambda given: "(remedy)" if isinstance(given, dict | Remedy) else "(text)"),
        ]
        | None
    ) = None


class RecipeItem(Conditional):
    """A recipe that is written in Python, in its place."""

    recipe: Words
    arguments: Arguments
    because: Words | None = None


def _kind(given: Any) -> str | None:
    if isinstance(given, BaseModel):
        given = given.model_dump(by_alias=True)
    return next((key for key in ITEM_KINDS if isinstance(given, dict) and key in given), None)


def _one_kind(given: Any) -> Any:
    """Say what is wrong with an item that has no kind, or several."""
    if not isinstance(given, dict):
        raise _wrong("must be a mapping: a line such as `step: NAME`, and `with:` below it")
    kinds = [key for key in ITEM_KINDS if key in given]
    if len(kinds) > 1:
        raise _wrong(f"is a {kinds[0]} and a {kinds[1]} at once: write two items")
    if not kinds:
        near = [key for word in given for key in get_close_matches(str(word), ITEM_KINDS, n=1, cutoff=0.6)]
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise _wrong(f"is none of {', '.join(ITEM_KINDS)}{meant}")
    return given


class ForEachScopes(Conditional):
    """Scopes for each node (or host): all are entered before the body, and left after it."""

    for_each: Literal["node", "host"]
    of: Condition | None = None
    where: dict[str, str] = Field(default_factory=dict)
    do: Annotated[tuple[StepItem, ...], Field(min_length=1, strict=False)]


ScopeItem = Annotated[
    Annotated[StepItem, Tag("(step)")] | Annotated[ForEachScopes, Tag("(for_each)")],
    Discriminator(lambda given: f"({_kind(given)})"),
    BeforeValidator(_one_kind),
]


class WithinItem(Conditional):
    """Scopes, and what is done within them; they are left whatever happens."""

    within: Annotated[tuple[ScopeItem, ...], Field(min_length=1, strict=False)]
    do: Annotated[tuple[Item, ...], Field(min_length=1, strict=False)]
    because: Words | None = None


class ForEachItem(Conditional):
    """Items once for each node of a registry (or each host of the site), one after the other."""

    for_each: Literal["node", "host"]
    of: Condition | None = None  # the registry; the only parameter of that type unless given
    where: dict[str, str] = Field(default_factory=dict)  # labels that the node's host must have
    do: Annotated[tuple[Item, ...], Field(min_length=1, strict=False)]


class Targets(Part):
    """Which hosts: those that all of the keys given here mean."""

    hosts: Annotated[tuple[Words, ...], Field(min_length=1, strict=False)] | None = (
        None  # patterns, any of them
    )
    roles: Annotated[tuple[Words, ...], Field(min_length=1, strict=False)] | None = None  # any of them
    labels: Annotated[dict[str, str], Field(min_length=1)] | None = None  # all of them
    nodes: Condition | None = None  # of the registry that this parameter names; gives $node a value too

    @model_validator(mode="after")
    def _some(self) -> Targets:
        if not self.model_fields_set:
            raise _wrong('needs one of hosts, roles, labels, nodes: "hosts: [all]" means every host')
        return self


class AcrossItem(Conditional):
    """Items once for each of several hosts, side by side; what fails on one does not touch the others."""

    across: Targets
    canary: Count = 0  # so many hosts first, alone
    at_once: Count = 10
    max_fail: Count = 0  # hosts that may fail before no further one is begun
    because: Words | None = None
    do: Annotated[tuple[Item, ...], Field(min_length=1, strict=False)]


Item = Annotated[
    Union[  # noqa: UP007 - two of them are not there yet
        Annotated[StepItem, Tag("(step)")],
        Annotated[CheckItem, Tag("(check)")],
        Annotated[RecipeItem, Tag("(recipe)")],
        Annotated["WithinItem", Tag("(within)")],
        Annotated["ForEachItem", Tag("(for_each)")],
        Annotated["AcrossItem", Tag("(across)")],
    ],
    Discriminator(lambda given: f"({_kind(given)})"),
    BeforeValidator(_one_kind),
]


class RecipeModel(Part):
    """A recipe as its file says it."""

    version: Literal[1]
    name: Annotated[str, AfterValidator(_recipe_name)]
    summary: Words
    why: Words
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    requires: tuple[Requirement, ...] = Field(default=(), strict=False)
    question: Words | None = None  # asked before the first write
    undo_on_failure: bool = False
    items: Annotated[tuple[Item, ...], Field(min_length=1, strict=False)]

    def registries(self) -> list[str]:
        """Return the names of the parameters that name a registry."""
        return [name for name, one in self.parameters.items() if one.type == "registry"]

    def with_nodes(self) -> list[str]:
        """Return the names of the parameters that name what has nodes: a registry, or a Pulp."""
        return [name for name, one in self.parameters.items() if one.type in ("registry", "pulp")]


WithinItem.model_rebuild()
ForEachItem.model_rebuild()
AcrossItem.model_rebuild()
RecipeModel.model_rebuild()

AnyItem = StepItem | CheckItem | RecipeItem | WithinItem | ForEachItem | AcrossItem
