"""The JSON Schema of recipes in YAML, for editors: the language, and every registered step's arguments."""

from __future__ import annotations

from typing import Any

from ctl.errors import RegctlError
from ctl.recipes.arguments import CONSENT
from ctl.recipes.text import RecipeModel
from ctl.recipes.vocabulary import Vocabulary, arguments_of

_REFERENCE = {"type": "string", "pattern": r"\$"}  # a parameter may stand for any value


def recipe_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the schema. A step of a broken plugin is named, with whatever arguments."""
    schema = RecipeModel.model_json_schema()
    parts = schema["$defs"]
    steps = {name: _arguments(vocabulary, name) for name in vocabulary.steps()}
    for part, key in (("StepItem", "step"), ("CheckItem", "check")):
        _narrow(parts[part], key, steps)
    recipes = {name: _recipe_arguments(vocabulary, name) for name in vocabulary.recipes()}
    _narrow(parts["RecipeItem"], "recipe", recipes)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "regctl recipe",
        "description": "An ordered list of steps; docs/reference/recipe.md explains every key.",
    }


def _narrow(part: dict[str, Any], key: str, choices: dict[str, dict[str, Any] | None]) -> None:
    """Say which names there are, and what belongs under `with` for each."""
    part["properties"][key] = {"enum": sorted(choices), **_described(part["properties"][key])}
    part["allOf"] = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {
                "properties": {"with": arguments},
                **({"required": ["with"]} if arguments["required"] else {}),
            },
        }
        for name, arguments in sorted(choices.items())
        if arguments is not None
    ]


def _described(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("title", "description") if key in given}


def _arguments(vocabulary: Vocabulary, name: str) -> dict[str, Any] | None:
    try:
        kind = vocabulary.step(name)
    except RegctlError:
        return None
    known = kind.model_json_schema()
    fields = {
        field: {"anyOf": [_flat(one, known), _REFERENCE]}
        for field, one in known.get("properties", {}).items()
        if field != CONSENT
    }
    required = [field for field in known.get("required", []) if field != CONSENT]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _recipe_arguments(vocabulary: Vocabulary, name: str) -> dict[str, Any] | None:
    try:
        takes = arguments_of(vocabulary.recipe(name))
    except RegctlError:
        return None
    takes.pop(CONSENT, None)
    required = sorted(argument for argument, one in takes.items() if one.required)
    fields: dict[str, Any] = {argument: {} for argument in takes}
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _flat(value: Any, schema: dict[str, Any]) -> Any:
    """Write references within a step's own schema out: the parts are moved into another."""
    if isinstance(value, dict):
        if "$ref" in value:
            name = str(value["$ref"]).rsplit("/", 1)[-1]
            return _flat(schema["$defs"][name], schema)
        return {key: _flat(one, schema) for key, one in value.items()}
    return [_flat(one, schema) for one in value] if isinstance(value, list) else value
