"""What pydantic found wrong, in an operator's words, each at its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ctl.config.document import Located, Mistake, Origin, Path

Schema = Mapping[str, Any]


def from_pydantic(errors: Iterable[Mapping[str, Any]], root: Located, schema: Schema) -> list[Mistake]:
    """Translate pydantic's list of errors; `schema` is the JSON Schema, asked for the keys there are."""
    return [_translate(error, root, schema) for error in errors if not _is_echo(error)]


def _is_echo(error: Mapping[str, Any]) -> bool:
    """pydantic calls a list too short also when each of its entries is wrong, which is said already."""
    return error["type"] == "too_short" and bool(error.get("input"))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean "x"?`, or the choices if nothing is near, or "" if there are none."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; there {'is' if len(known) == 1 else 'are'}: {', '.join(known)}" if known else ""


def locate(root: Located, path: Path, *, key: bool = False) -> Origin:
    """Say where a path stands, or its nearest parent that exists; `key` asks for the key's own place."""
    found, is_exact = root, True
    for part in path:
        child = _child(found, part)
        if child is None:
            is_exact = False
            break
        found = child
    if found.key is not None and (key or not is_exact):
        return found.key
    return found.origin


def _child(node: Located, part: str | int) -> Located | None:
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _translate(error: Mapping[str, Any], root: Located, schema: Schema) -> Mistake:
    kind = str(error["type"])
    bad_name = error["loc"][-1:] == ("[key]",)
    path = _path_in_data(tuple(error["loc"]), root, kind)
    if bad_name:
        return Mistake(locate(root, path, key=True), path, f"is not a usable name: {_NAMES}")
    if kind == "extra_forbidden":
        word = str(path[-1])
        what = f"is not a known key{did_you_mean(word, _known_keys(schema, path[:-1], root))}"
        return Mistake(locate(root, path, key=True), path, what)
    if kind == "union_tag_invalid":
        path = (*path, str(error["ctx"]["discriminator"]).strip("'"))
    if kind == "union_tag_not_found":
        path, kind = (*path, str(error["ctx"]["discriminator"]).strip("'")), "missing"
    return Mistake(locate(root, path), path, _what(kind, error))


def _path_in_data(loc: tuple[str | int, ...], root: Located, kind: str) -> Path:
    """Drop what pydantic adds to a path for its own use: the tags of unions and the mark of a key."""
    path: list[str | int] = []
    node: Located | None = root
    for index, part in enumerate(loc):
        child = _child(node, part) if node is not None else None
        is_missing_leaf = kind == "missing" and index == len(loc) - 1
        if child is None and not is_missing_leaf:
            continue
        path.append(part)
        node = child
    return tuple(path)


def _what(kind: str, error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if kind == "site":
        return str(context["what"])
    if kind == "missing":
        return "is missing"
    if kind in ("literal_error", "union_tag_invalid"):
        return _choice(kind, error)
    if kind == "too_short":
        return "needs at least one entry"
    if kind in ("greater_than_equal", "less_than_equal"):
        return str(error["msg"]).replace("Input should be", "must be")
    return _PLAIN.get(kind, str(error["msg"]).replace("Input should", "must"))


_NAMES = 'letters, digits, ".", "_" and "-", at most 63, starting with a letter or a digit'
_PLAIN = {
    "string_type": 'must be text: write it in quotes, as in "123"',
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": f"must be {_NAMES}",
    "int_type": "must be a whole number, without quotes",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be a mapping (key: value lines below it)",
    "model_type": "must be a mapping (key: value lines below it)",
    "model_attributes_type": "must be a mapping (key: value lines below it)",
    "tuple_type": 'must be a list (lines that start with "- ")',
    "list_type": 'must be a list (lines that start with "- ")',
}


def _choice(kind: str, error: Mapping[str, Any]) -> str:
    context = error["ctx"]
    expected = str(context["expected_tags" if kind == "union_tag_invalid" else "expected"])
    given = str(context["tag"]) if kind == "union_tag_invalid" else error.get("input")
    choices = [word.strip("'\" ") for word in expected.replace(" or ", ", ").split(",")]
    if given in choices and kind == "literal_error":
        return f"must be {given}, without quotes"
    if not isinstance(given, str):
        return f"must be {' or '.join(choices)}"
    return f"must be {' or '.join(choices)}, not {given!r}{_near_only(given, choices)}"


def _near_only(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near and len(known) > 1 else ""


def _known_keys(schema: Schema, path: Path, root: Located) -> list[str]:
    """The keys that the schema allows at a path, less those that are there already."""
    spots: list[Schema] = [schema]
    node: Located | None = root
    for part in path:
        options = [option for spot in spots for option in _options(spot, schema, node)]
        spots = [below for option in options for below in _below(option, part)]
        node = _child(node, part) if node is not None else None
    options = [option for spot in spots for option in _options(spot, schema, node)]
    allowed = {key for option in options for key in option.get("properties", {})}
    used = set(node.value) if node is not None and isinstance(node.value, dict) else set()
    return sorted(allowed - used)


def _options(spot: Schema, schema: Schema, node: Located | None) -> list[Schema]:
    """Return what may stand there; of a tagged union only what the tag says, where it is one there is."""
    if "$ref" in spot:
        return _options(schema["$defs"][str(spot["$ref"]).rsplit("/", 1)[-1]], schema, node)
    tagged = spot.get("discriminator", {})
    tag = _child(node, str(tagged.get("propertyName"))) if node is not None else None
    if tag is not None and isinstance(tag.value, str) and tag.value in tagged.get("mapping", {}):
        return _options({"$ref": tagged["mapping"][tag.value]}, schema, node)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in spot:
            return [found for option in spot[word] for found in _options(option, schema, node)]
    return [spot]


def _below(option: Schema, part: str | int) -> list[Schema]:
    if isinstance(part, int):
        return [option["items"]] if "items" in option else []
    if part in option.get("properties", {}):
        return [option["properties"][part]]
    for word in ("additionalProperties", "patternProperties"):
        below = option.get(word)
        if isinstance(below, Mapping):
            return [below] if word == "additionalProperties" else list(below.values())
    return []
