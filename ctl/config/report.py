"""The site and its schema as reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ctl.config.document import Path, show_path
from ctl.config.dump import to_yaml
from ctl.config.load import LoadedSite
from ctl.config.secrets import hidden, is_reference, secret_leaves
from ctl.errors import Outcome
from ctl.report.model import Report, Table, Text

if TYPE_CHECKING:
    from pydantic import BaseModel


def site_report(loaded: LoadedSite, *, with_origins: bool) -> Report:
    """Show a site, or each of its values with the place where it stands."""
    site = _shown(loaded)
    data: dict[str, Any] = {"files": list(loaded.files), "site": site}
    if not with_origins:
        return Report("config-show", Outcome.OK, data, (Text(to_yaml(site).rstrip("\n")),))
    rows = tuple((show_path(path), _word(value), _origin(loaded, path)) for path, value in _leaves(site, ()))
    data["origins"] = {show_path(path): str(origin) for path, origin in loaded.origins.items()}
    return Report("config-show", Outcome.OK, data, (Table(("setting", "value", "where"), rows),))


def schema_report(model: type[BaseModel]) -> Report:
    """Return the JSON Schema of a site."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "regctl site",
        **{key: value for key, value in model.model_json_schema().items() if key != "title"},
    }
    return Report("config-schema", Outcome.OK, {"json_schema": schema}, (Text(json.dumps(schema, indent=2)),))


def _shown(loaded: LoadedSite) -> dict[str, Any]:
    """Return the site with the defaults that apply, references as they are, anything else secret hidden."""
    site: dict[str, Any] = loaded.site.model_dump(mode="json", exclude_none=False)
    pulps = {name: one.model_dump(mode="json", exclude_none=True) for name, one in loaded.site.pulps.items()}
    for registry in site["registries"].values():
        inline = [path for path, value in secret_leaves(registry["config"]) if not is_reference(value)]
        if inline:  # refused when a site is read; a plugin's model may not
            registry["config"] = hidden(registry["config"])
    trimmed: dict[str, Any] = _without_none({**site, "registries": {}})
    trimmed["registries"] = {
        name: {**_without_none({**registry, "config": {}}), "config": registry["config"]}
        for name, registry in site["registries"].items()
    } | pulps
    return trimmed


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(below) for key, below in value.items() if below is not None}
    return [_without_none(below) for below in value] if isinstance(value, list) else value


def _leaves(value: Any, path: Path) -> list[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, below in value.items() for leaf in _leaves(below, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, below in enumerate(value) for leaf in _leaves(below, (*path, index))]
    return [(path, value)]


def _origin(loaded: LoadedSite, path: Path) -> str:
    origin = loaded.origins.get(path)
    return str(origin) if origin is not None else "default"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
