"""What the controller remembers of a Pulp's reindex: whether it is owed, since there was new work."""

from __future__ import annotations

import json
import os

from ctl.errors import RegctlError
from ctl.recipes.durable import private_directory, replace_file


def _path(state_dir: str, registry: str) -> str:
    return os.path.join(state_dir, "content", f"{registry}.reindex.json")


def owed_since(state_dir: str, registry: str) -> str:
    """Return the run whose new work no reindex has told of yet, "" where there is none."""
    path = _path(state_dir, registry)
    try:
        with open(path, "rb") as file:
            return str(json.loads(file.read())["run"])
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise RegctlError(f"{path}: {error.strerror}", hint="run regctl as the user that made it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RegctlError(
            f"{path} is damaged: {type(error).__name__}", hint="delete it, and run the reindex by hand once"
        ) from error


def owe(state_dir: str, registry: str, run: str) -> None:
    """Remember that a reindex must follow; durable when it returns. The first run that asked for it stays."""
    if owed_since(state_dir, registry):
        return
    path = _path(state_dir, registry)
    private_directory(os.path.dirname(path))
    replace_file(path, json.dumps({"run": run}).encode())


def settled(state_dir: str, registry: str) -> None:
    """Forget it: the reindex has told of all there was."""
    try:
        os.unlink(_path(state_dir, registry))
    except FileNotFoundError:
        return
