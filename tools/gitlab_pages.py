"""The pages about GitLab's registry that are tables of the engine: every setting, every feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ctl.engines import gitlab_schema as schema
from ctl.engines.distribution_schema import Kind
from ctl.engines.gitlab_environment import FLAGS, variable_of
from ctl.engines.gitlab_features import TABLE

_WORDS = {
    "text": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "duration": "duration",
    "texts": "list of texts",
    "headers": "map of lists",
    "map": "map",
    "any": "any",
}
_RULED = {
    "version": "`0.1`",
    "database.enabled": "`false`, `true`, `prefer`",
    "gc.reviewafter": "duration, or `-1`",
}


def settings_page() -> str:
    """Return docs/reference/gitlab-settings.md."""
    parts = [
        "# Settings of GitLab's registry",
        "Every key that `regctl config check` knows, with its type, the environment variable that overrides"
        " it and the version that brought it. The program ignores other keys. A duration has Go's units"
        " (`24h`, `5m30s`, `500ms`; there are no days); a bare number there means nanoseconds: regctl says"
        " so. What the keys must say together stands in [the engine's page](gitlab.md#configuration).",
    ]
    for name, kind in schema.TOP.items():
        if name in ("storage", "auth"):
            continue
        rows = "\n".join(_rows((name,), kind))
        parts.append(f"## {name}\n\n| key | type | variable | since |\n|---|---|---|---|\n{rows}")
    parts.append(_group("storage: drivers", "storage", schema.DRIVERS, schema.REQUIRED))
    parts.append(_group("storage: beside the driver", "storage", schema.STORAGE_EXTRAS, {}))
    parts.append(_group("auth: exactly one kind", "auth", schema.AUTH, schema.AUTH_REQUIRED))
    return "\n\n".join(parts) + "\n"


def features_page() -> str:
    """Return docs/reference/gitlab-features.md."""
    rows = "\n".join(
        f"| `{one.name}` | {one.text} | {'both' if len(one.backends) > 1 else one.backends[0]} |"
        f" {one.since} | {one.until or '-'} | {'yes' if one.seen else 'read'} |"
        for one in TABLE
    )
    flags = "\n".join(f"| `{key}` | `{variable}` |" for key, variable in FLAGS.items())
    return f"""# Features of GitLab's registry

What its versions can do, and with which metadata. `regctl registry features` holds this table against every
node. "seen" is yes where it was seen on a running 4.32, and "read" where only the change log says so.

| feature | what it is | metadata | since | until | seen |
|---|---|---|---|---|---|
{rows}

## Feature flags

The site says them under `features` of the registry; see [the engine's page](gitlab.md#feature-flags).

| key | variable |
|---|---|
{flags}
"""


def _rows(path: tuple[str, ...], kind: Kind) -> Iterator[str]:
    dotted = ".".join(path)
    if kind.name == "section":
        for key, below in kind.keys.items():
            yield from _rows((*path, key), below)
    elif kind.name == "list":
        for key, below in kind.keys.items():
            yield from _rows((*path[:-1], f"{path[-1]}[]", key), below)
    else:
        words = ", ".join(f"`{word}`" for word in kind.choices if word) or _WORDS[kind.name]
        plain: tuple[str | int, ...] = tuple(
            piece for part in path for piece in ((part[:-2], 0) if part.endswith("[]") else (part,))
        )
        variable = variable_of(plain) if path != ("version",) else None
        yield (
            f"| `{dotted}` | {_RULED.get(dotted, words)} | {f'`{variable}`' if variable else '-'} |"
            f" {_since(dotted)} |"
        )


def _since(dotted: str) -> str:
    return next((v for p, v in schema.SINCE.items() if dotted == p or dotted.startswith(f"{p}.")), "-")


def _group(
    title: str, section: str, known: Mapping[str, Mapping[str, Kind]], needed: Mapping[str, tuple[str, ...]]
) -> str:
    rows = [
        f"| `{section}.{name}` | {', '.join(f'`{key}`' for key in keys) or '-'} |"
        f" {', '.join(f'`{key}`' for key in needed.get(name, ())) or '-'} | {_since(f'{section}.{name}')} |"
        for name, keys in known.items()
    ]
    return f"## {title}\n\n| section | keys | needed | since |\n|---|---|---|---|\n" + "\n".join(rows)
