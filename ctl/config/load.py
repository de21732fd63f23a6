"""site.yml and its drop-ins -> one checked Site, or every mistake at once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctl.config.document import Document, Located, Mistake, Origin, Path, read_document
from ctl.errors import ConfigError

if TYPE_CHECKING:
    from ctl.config.models import Site

DEFAULT_SITE = "/etc/regctl/site.yml"
DROP_IN = "50-regctl.yml"  # what commands persist; see ctl.config.persist


@dataclass(frozen=True)
class LoadedSite:
    """A checked site, where each of its values stands, and the files that were read, in order."""

    site: Site
    origins: Mapping[Path, Origin]
    files: tuple[str, ...]


def site_path(given: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the site file meant: the one given, else REGCTL_SITE, else /etc/regctl/site.yml."""
    return os.path.abspath(given or environment.get("REGCTL_SITE") or DEFAULT_SITE)


def drop_in_folder(path: str) -> str:
    """Return the folder of a site's drop-ins: site.d beside site.yml, other.d beside other.yml."""
    return os.path.splitext(path)[0] + ".d"


def load_site(path: str, model: type[Site] | None = None) -> LoadedSite:
    """Read, merge and check a site; ConfigError.details holds a line for every mistake.

    `model` is the class to check with, from `site_model` with what plugins add; the shipped one otherwise.
    """
    return check_site([read_document(data, file) for file, data in read_files(path)], model)


def read_files(path: str) -> list[tuple[str, bytes]]:
    """Return (name, content) of the site file and its drop-ins, in the order in which they are merged."""
    return [(path, _read(path, is_main=True)), *drop_ins(path)]


def drop_ins(path: str) -> list[tuple[str, bytes]]:
    """Return (name, content) of a site's drop-ins, in the order in which they are merged."""
    folder = drop_in_folder(path)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".yml") and name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be read: {error.strerror}") from None
    files = [os.path.join(folder, name) for name in names]
    return [(file, _read(file, is_main=False)) for file in files]


def _read(file: str, *, is_main: bool) -> bytes:
    try:
        with open(file, "rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o002:
                raise ConfigError(
                    f"everybody may write to {file}, which says what regctl runs",
                    hint=f"chmod o-w {shlex.quote(file)}",
                )
            return stream.read((1 << 20) + 1)
    except FileNotFoundError:
        hint = "regctl init writes one from the registry on this host; --site FILE reads another"
        raise ConfigError(f"there is no site file at {file}", hint=hint if is_main else "") from None
    except OSError as error:
        raise ConfigError(f"the site file {file} cannot be read: {error.strerror}") from None


def check_site(documents: list[Document], model: type[Site] | None = None) -> LoadedSite:
    """Merge parsed files and check the result; ConfigError.details holds a line for every mistake."""
    mistakes = [mistake for document in documents for mistake in document.mistakes]
    merged = _merge_documents(documents, mistakes)
    site = None
    readable = all(document.root is not None or not document.mistakes for document in documents)
    if readable and merged is not None:
        site = _validate(merged, model, mistakes)
    if site is None or merged is None or mistakes:
        _raise(documents, mistakes)
    assert site is not None  # noqa: S101 - _raise has raised otherwise
    assert merged is not None  # noqa: S101
    origins = {path: node.key or node.origin for path, node in merged.walk() if path}
    return LoadedSite(site, origins, tuple(document.file for document in documents))


def _merge_documents(documents: list[Document], mistakes: list[Mistake]) -> Located | None:
    merged: Located | None = None
    for index, document in enumerate(documents):
        root = document.root
        if root is None or (root.value is None and index > 0):
            continue  # unreadable: said already; an empty drop-in says nothing
        if not isinstance(root.value, dict):
            mistakes.append(Mistake(root.origin, (), "must be a mapping, starting with version: 1"))
            continue
        merged = root if merged is None else merge(merged, root)
    if merged is None and not mistakes:
        mistakes.append(Mistake(Origin(documents[0].file, 1, 1), (), "is empty: regctl init writes a site"))
    return merged


def merge(base: Located, over: Located) -> Located:
    """Lay one tree over another: mappings merge, lists and scalars replace."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, value in over.value.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return Located(merged, base.origin, base.key)


def _validate(merged: Located, model: type[Site] | None, mistakes: list[Mistake]) -> Site | None:
    from pydantic import ValidationError

    from ctl.config.crosscheck import cross_check
    from ctl.config.mistakes import from_pydantic, locate
    from ctl.config.models import site_model

    checked = model or site_model()
    plain: dict[str, Any] = merged.plain()
    site = None
    try:
        site = checked.model_validate(plain)
    except ValidationError as error:
        found: list[dict[str, Any]] = [{**one} for one in error.errors(include_url=False)]
        found += _behind_engine(checked, plain, found)
        mistakes += from_pydantic(found, merged, checked.model_json_schema())
    said = {mistake.path for mistake in mistakes}
    for path, what in cross_check(plain):
        if path not in said:
            mistakes.append(Mistake(locate(merged, path), path, what))
    return site


def _behind_engine(
    model: type[Site], plain: dict[str, Any], found: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return what else is wrong in registries of an unknown engine, which no engine's class has looked at.

    They are judged by what every registry has; keys of their own may belong to that engine.
    """
    from pydantic import ValidationError

    tags = ("union_tag_invalid", "union_tag_not_found")
    names = {one["loc"][1] for one in found if one["type"] in tags and one["loc"][:1] == ("registries",)}
    registries = {
        name: {**one, "engine": "distribution"} if name in names else one
        for name, one in (plain["registries"].items() if names else ())
    }
    try:
        if names:
            model.model_validate({**plain, "registries": registries})
    except ValidationError as error:
        again: list[dict[str, Any]] = [{**one} for one in error.errors(include_url=False)]
        return [
            one
            for one in again
            if one["loc"][0] == "registries"
            and one["loc"][1] in names
            and not (one["type"] == "extra_forbidden" and len(one["loc"]) == 4)
        ]
    return []


def _raise(documents: list[Document], mistakes: list[Mistake]) -> None:
    order = {document.file: index for index, document in enumerate(documents)}
    ranked = sorted(
        dict.fromkeys(mistakes),
        key=lambda one: (order.get(one.origin.file, 0), one.origin.line, one.origin.column),
    )
    count = len(ranked)
    raise ConfigError(
        f"the site {documents[0].file} has {'a mistake' if count == 1 else f'{count} mistakes'}",
        hint="correct the lines above; docs/reference/site.md has every key, regctl config schema the schema",
        details=tuple(mistake.line() for mistake in ranked),
    )
