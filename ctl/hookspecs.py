"""The hooks that a plugin may answer. Each returns names and where the thing is: "module:attribute".

References rather than objects, so that nothing is imported before it is used, and `regctl plugin list`
can show what a package adds without running it. A plugin is a module named by an entry point of the group
`regctl`; it answers any of these functions, decorated with `hookimpl`. Commands need no hook: they are
entry points of the group `regctl.commands`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pluggy

hookspec = pluggy.HookspecMarker("regctl")
hookimpl = pluggy.HookimplMarker("regctl")


@hookspec
def register_engines() -> Mapping[str, str]:
    """Name kinds of registry software: a callable without arguments that returns an `Engine`."""
    return {}


@hookspec
def register_steps() -> Mapping[str, str]:
    """Name steps for recipes: subclasses of `ctl.recipes.model.Step`."""
    return {}


@hookspec
def register_storage_drivers() -> Mapping[str, str]:
    """Name storage drivers: a callable that takes its settings as keywords and returns a `Storage`."""
    return {}


@hookspec
def register_report_formats() -> Mapping[str, str]:
    """Name formats for `--output`: a callable that takes `Streams` and returns a `Reporter`.

    Both stand in `ctl.report.reporter`.
    """
    return {}


@hookspec
def register_recipes() -> Mapping[str, str]:
    """Name recipes: a callable that takes the recipe's arguments as keywords and returns a `Recipe`.

    Those that it calls `world`, `site_file` and `secrets` (a folder) are handed to it; the others are what
    `recipe: NAME, with: {...}` gives in a recipe's text, and are checked against their annotations.
    """
    return {}


@hookspec
def register_resources() -> Mapping[str, str]:
    """Name folders of files in the package, "package:folder"; its `templates/` is looked in after ours."""
    return {}
