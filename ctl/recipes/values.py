"""Values for a recipe's parameters: examples for the reader, and what an operator gave for the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ctl.config.mistakes import did_you_mean
from ctl.errors import UsageError
from ctl.recipes.parameters import (
    VARIABLES,
    ParameterError,
    Value,
    parse_boolean,
    parse_duration,
    parse_integer,
    written,
)
from ctl.recipes.text import Parameter, RecipeModel

if TYPE_CHECKING:
    from ctl.config.models import Site

Filled = Mapping[str, Value | None]


def parse(parameter: Parameter, text: str) -> Value:
    """Return the value that a text means for a parameter, the site left aside; ParameterError otherwise."""
    if parameter.type == "integer":
        return parse_integer(text, parameter.minimum, parameter.maximum)
    if parameter.type == "duration":
        return parse_duration(text)
    if parameter.type == "boolean":
        return parse_boolean(text)
    if parameter.type == "choice" and text not in parameter.choices:
        near = did_you_mean(text, parameter.choices)
        near = near if near.startswith("; did") else ""
        raise ParameterError(f"must be {' or '.join(parameter.choices)}, not {text!r}{near}")
    if not text.strip() or any(ord(character) < 32 for character in text):
        raise ParameterError("must be text of one line, not empty")
    return text


def settle(model: RecipeModel, name: str, parameter: Parameter) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with a parameter's description: the key, and what about it."""
    if parameter.type == "choice" and len(parameter.choices) < 2:
        yield ("type",), "needs `choices`, at least two of them"
    if parameter.choices and parameter.type != "choice":
        yield ("choices",), "are only for the type choice"
    if parameter.of is not None and parameter.type != "node":
        yield ("of",), "is only for the type node: which registry it is a node of"
    if parameter.type == "node" and registry_of(model, parameter) is None:
        yield ("of",), "must name the parameter of the type registry or pulp whose node it is"
    for key in ("minimum", "maximum"):
        if getattr(parameter, key) is not None and parameter.type != "integer":
            yield (key,), "is only for the type integer"
    lowest, highest = parameter.minimum, parameter.maximum
    if lowest is not None and highest is not None and lowest > highest:
        yield ("minimum",), "is larger than maximum"
    if parameter.default is not None and not (parameter.type == "choice" and len(parameter.choices) < 2):
        try:
            parse(parameter, written(parameter.default))
        except ParameterError as error:
            yield ("default",), str(error)


def registry_of(model: RecipeModel, parameter: Parameter) -> str | None:
    """Return the parameter that names a node's registry or Pulp: the one it says, else the only one."""
    registries = model.with_nodes()
    if parameter.of is not None:
        return parameter.of if parameter.of in registries else None
    return registries[0] if len(registries) == 1 else None


def examples(model: RecipeModel) -> Iterator[Filled]:
    """Yield sets of values to try a recipe's arguments with: every choice, and without what may be absent."""
    first: dict[str, Value | None] = {name: name for name in VARIABLES}
    absent = dict(first)
    for name, parameter in model.parameters.items():
        first[name] = _example(parameter)
        absent[name] = None if parameter.may_be_absent else first[name]
    yield first
    if absent != first:
        yield absent
    for name, parameter in model.parameters.items():
        for choice in parameter.choices[1:]:
            yield {**first, name: choice}
        if parameter.type == "boolean":
            yield {**first, name: not first[name]}


def _example(parameter: Parameter) -> Value:
    if parameter.default is not None:
        try:
            return parse(parameter, written(parameter.default))
        except ParameterError:
            pass  # said where the parameter stands
    if parameter.type == "integer":
        return parameter.minimum if parameter.minimum is not None else 1
    if parameter.type == "duration":
        return 60
    if parameter.type == "boolean":
        return True
    return parameter.choices[0] if parameter.choices else parameter.type


def given_values(model: RecipeModel, given: Mapping[str, str], site: Site) -> dict[str, Value | None]:
    """Return a value for every parameter from what was given by `--set`, else its default.

    A registry, or a Pulp, that is not named is the site's only one. UsageError says what is missing or wrong.
    """
    for name in given:
        if name not in model.parameters:
            known = did_you_mean(name, list(model.parameters)) or "; it has none"
            raise UsageError(f"the recipe {model.name} has no parameter {name!r}{known}")
    values: dict[str, Value | None] = {}
    order = sorted(model.parameters, key=lambda name: model.parameters[name].type == "node")
    for name in order:
        values[name] = _value(model, name, given.get(name), site, values)
    return values


def _value(model: RecipeModel, name: str, given: str | None, site: Site, known: Filled) -> Value | None:
    parameter = model.parameters[name]
    if given is None and parameter.default is not None:
        given = written(parameter.default)
    if given is None:
        return _unasked(model, name, site)
    try:
        value = parse(parameter, given)
    except ParameterError as error:
        raise UsageError(f"{name} {error}", hint=f"{name}: {parameter.help}") from None
    there = _there(model, parameter, site, known)
    if there is not None and value not in there:
        wrong = f"{name} must be {parameter.sort}: {_not_one(parameter.type, str(value), site, there)}"
        raise UsageError(wrong, hint=f"{name}: {parameter.help}")
    return value


def _not_one(kind: str, value: str, site: Site, there: list[str]) -> str:
    """Say why a name is none of those that a parameter may have."""
    if kind == "registry" and value in site.pulps:
        return f"{value} is a Pulp{did_you_mean(value, there)}"
    if kind == "pulp" and value in site.registries:
        return f"{value} is run by the engine {site.registries[value].engine}{did_you_mean(value, there)}"
    return f"there is no {value!r}{did_you_mean(value, there)}"


def hosts_of(site: Site, name: str) -> list[str]:
    """Return the hosts of a registry's or a Pulp's nodes, in the order of the site."""
    nodes = site.pulps[name].nodes if name in site.pulps else site.registries[name].nodes
    return [node.host for node in nodes]


def _unasked(model: RecipeModel, name: str, site: Site) -> Value | None:
    parameter = model.parameters[name]
    known = {"registry": sorted(site.registries), "pulp": sorted(site.pulps)}.get(parameter.type, [])
    if len(known) == 1:
        return known[0]
    if parameter.may_be_absent:
        return None
    hint = f"{name}: {parameter.help}"
    if known:
        hint = f"the site has {', '.join(known)}"
    elif parameter.type == "pulp":
        hint = "the site has no Pulp: describe one with `engine: pulp`"
    raise UsageError(f"the recipe {model.name} needs --set {name}=VALUE ({parameter.sort})", hint=hint)


def _there(model: RecipeModel, parameter: Parameter, site: Site, known: Filled) -> list[str] | None:
    """Return the names in the site that a parameter may have; None where it is not of the site."""
    if parameter.type == "node":
        registry = registry_of(model, parameter)
        return hosts_of(site, str(known[registry or ""]))
    if parameter.type == "registry":
        return sorted(site.registries)
    if parameter.type == "pulp":
        return sorted(site.pulps)
    if parameter.type == "host":
        return sorted(site.hosts)
    return sorted(site.databases) if parameter.type == "database" else None
