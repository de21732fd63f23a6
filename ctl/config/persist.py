"""What commands remember about a site goes to a drop-in of its own, never into the operator's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ctl.config.document import Path, read_document, show_path
from ctl.config.dump import to_yaml
from ctl.config.files import locked, make_folder, write_atomically
from ctl.config.load import DROP_IN, LoadedSite, check_site, drop_in_folder, read_files
from ctl.errors import RefusedError

if TYPE_CHECKING:
    from ctl.config.models import Site

_COMMENT = """\
# Written by regctl (config adopt, config apply). It rewrites this file whole: comments here do not last.
# A drop-in with a later name, such as 60-mine.yml, wins over what stands here.
"""


def drop_in_path(site: str) -> str:
    """Return where a site's remembered values are kept."""
    return os.path.join(drop_in_folder(site), DROP_IN)


def persist(site: str, changes: Mapping[str, Any], model: type[Site] | None = None) -> LoadedSite:
    """Lay values over those remembered so far and write the drop-in; return the site as it then is.

    Mappings merge, lists and scalars replace. Nothing is written unless the whole site is right with it:
    ConfigError lists the mistakes, RefusedError names a later drop-in that would hide a change.
    """
    preview(site, changes, model)  # raises before anything is made
    make_folder(drop_in_folder(site), 0o750)
    with locked(drop_in_folder(site)):  # two commands may remember at once, for two registries
        text, loaded = preview(site, changes, model)
        write_atomically(drop_in_path(site), text.encode(), 0o640)
    return loaded


def preview(site: str, changes: Mapping[str, Any], model: type[Site] | None = None) -> tuple[str, LoadedSite]:
    """Return the drop-in's new text and the site with it, writing nothing."""
    path = drop_in_path(site)
    files = dict(read_files(site))
    before = read_document(files[path], path).root if path in files else None
    remembered = before.plain() if before is not None and isinstance(before.value, dict) else {}
    text = _COMMENT + to_yaml(laid_over(remembered, changes))
    files[path] = text.encode()
    ordered = [site, *sorted(name for name in files if name != site)]
    loaded = check_site([read_document(files[name], name) for name in ordered], model)
    _refuse_hidden(changes, loaded, path)
    return text, loaded


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with over on top: mappings merge, everything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            laid_over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _refuse_hidden(changes: Mapping[str, Any], loaded: LoadedSite, drop_in: str) -> None:
    for path in _leaves(changes):
        origin = loaded.origins.get(path)
        if (
            origin is not None
            and origin.file > drop_in
            and os.path.dirname(origin.file) == os.path.dirname(drop_in)
        ):
            raise RefusedError(
                f"{origin}: {show_path(path)} would hide what {drop_in} is to say",
                hint="change the value there, or give that drop-in an earlier name than 50-regctl.yml",
            )


def _leaves(value: Mapping[str, Any], path: Path = ()) -> list[Path]:
    found: list[Path] = []
    for key, below in value.items():
        is_branch = isinstance(below, Mapping) and below
        found += _leaves(below, (*path, key)) if is_branch else [(*path, key)]
    return found
