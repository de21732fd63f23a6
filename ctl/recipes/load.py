"""A recipe's file -> a checked value, or every mistake at once, each with its file, line and column.

Reading touches nothing but the text and the names in the vocabulary: no site, no host, no door. See
`ctl.recipes.expand` for what makes a Recipe of it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ctl.config.document import Document, Located, Mistake, Origin, read_document
from ctl.errors import ConfigError, UsageError
from ctl.recipes.text import RecipeModel
from ctl.recipes.vocabulary import Vocabulary

SUFFIX = ".yml"
FOLDER = "recipes.d"  # beside the site file: the operator's own
_HINT = "correct the lines above; docs/reference/recipe.md has every key, `regctl recipe schema` the schema"

Source = Literal["shipped", "plugin", "site"]


@dataclass(frozen=True)
class RecipeFile:
    """A recipe's file, not read yet."""

    name: str  # the file's name without its ending, which is the recipe's
    path: str
    source: Source


@dataclass(frozen=True)
class RecipeText:
    """A recipe as its file says it, with the place of every value."""

    file: RecipeFile
    model: RecipeModel
    root: Located

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.model.name


def own_folder(site_file: str) -> str:
    """Return the folder of the operator's own recipes: recipes.d beside the site file."""
    return os.path.join(os.path.dirname(os.path.abspath(site_file)), FOLDER)


def recipe_files(shipped: Sequence[str], plugins: Sequence[str], own: str) -> list[RecipeFile]:
    """List the recipes in the folders, by name; what ships comes before a plugin's, before the site's own.

    Two of one name are both listed: `find_recipe` refuses them, and `regctl recipe check` names both.
    """
    found = [
        RecipeFile(entry[: -len(SUFFIX)], os.path.join(folder, entry), source)
        for source, folders in _sources(shipped, plugins, own)
        for folder in folders
        for entry in _entries(folder)
    ]
    return sorted(found, key=lambda one: one.name)


def _sources(
    shipped: Sequence[str], plugins: Sequence[str], own: str
) -> tuple[tuple[Source, Sequence[str]], ...]:
    return ("shipped", shipped), ("plugin", plugins), ("site", (own,))


def _entries(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be read: {error.strerror}") from None
    return sorted(name for name in names if name.endswith(SUFFIX) and name[0] != ".")


def find_recipe(files: Sequence[RecipeFile], name: str) -> RecipeFile:
    """Return a recipe's file by its name; UsageError names the ones there are."""
    from ctl.config.mistakes import did_you_mean

    found = [one for one in files if one.name == name]
    if not found:
        names = sorted({one.name for one in files})
        raise UsageError(
            f"there is no recipe {name!r}{did_you_mean(name, names)}",
            hint=f"`regctl recipe list` shows all; your own go in {FOLDER}/ beside the site file",
        )
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} recipes are called {name}",
            details=tuple(one.path for one in found),
            hint="rename yours: a recipe never takes the place of another without a word",
        )
    return found[0]


def read_file(file: RecipeFile, vocabulary: Vocabulary) -> RecipeText:
    """Read and check a recipe; ConfigError.details holds a line for every mistake."""
    return read_recipe(_read(file), file, vocabulary)


def _read(file: RecipeFile) -> bytes:
    try:
        with open(file.path, "rb") as stream:
            for number in (stream.fileno(), os.path.dirname(file.path) or "."):
                mode = os.stat(number).st_mode
                mounted = not isinstance(number, int) and os.statvfs(number).f_flag & os.ST_RDONLY
                if (
                    mode & 0o002 and not mode & 0o1000 and not mounted
                ):  # a ConfigMap's folder is open, but fixed
                    place = file.path if isinstance(number, int) else number
                    raise ConfigError(
                        f"everybody may write to {place}, which says what regctl runs",
                        hint=f"chmod o-w {shlex.quote(str(place))}",
                    )
            return stream.read((1 << 20) + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no recipe at {file.path}") from None
    except OSError as error:
        raise ConfigError(f"the recipe {file.path} cannot be read: {error.strerror}") from None


def read_recipe(data: bytes, file: RecipeFile, vocabulary: Vocabulary) -> RecipeText:
    """Check a recipe's text; ConfigError.details holds a line for every mistake."""
    from ctl.recipes.meaning import meaning

    document = read_document(data, file.path)
    mistakes = list(document.mistakes)
    model = _validate(document, mistakes)
    if model is not None and document.root is not None:
        mistakes += meaning(model, document.root, file.name, vocabulary)
    if model is None or document.root is None or mistakes:
        raise recipe_error(file.path, mistakes)
    return RecipeText(file, model, document.root)


def recipe_error(path: str, mistakes: Sequence[Mistake]) -> ConfigError:
    """Make the error that lists a recipe's mistakes in the order of its lines."""
    ranked = sorted(dict.fromkeys(mistakes), key=lambda one: (one.origin.line, one.origin.column))
    count = len(ranked)
    return ConfigError(
        f"the recipe {path} has {'a mistake' if count == 1 else f'{count} mistakes'}",
        hint=_HINT,
        details=tuple(mistake.line() for mistake in ranked),
    )


def _validate(document: Document, mistakes: list[Mistake]) -> RecipeModel | None:
    from pydantic import ValidationError

    from ctl.config.mistakes import from_pydantic

    root = document.root
    if root is None or not isinstance(root.value, dict):
        if not mistakes:
            origin = root.origin if root is not None else Origin(document.file, 1, 1)
            mistakes.append(Mistake(origin, (), "must be a mapping, starting with version: 1"))
        return None
    try:
        return RecipeModel.model_validate(root.plain())
    except ValidationError as error:
        found = error.errors(include_url=False)
        mistakes += from_pydantic(found, root, RecipeModel.model_json_schema())
    return None
