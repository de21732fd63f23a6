"""The recipes of commands, by the names under which a recipe in YAML takes them in whole.

A tricky window is written once, in Python, by the command that owns it. Each function takes plain arguments,
so that a text can be checked against them; `world`, `site_file` and `secrets` are handed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctl.config.mistakes import did_you_mean
from ctl.errors import UsageError

if TYPE_CHECKING:
    from ctl.recipes.model import Recipe
    from ctl.world import World

_IMPORTS = ("nothing", "one-step", "three-step")
_WINDOWS = ("read-only", "stopped")


def enable_db(
    world: World,
    site_file: str,
    secrets: str,
    *,
    registry: str,
    imports: str,
    admin: str | None = None,
    quarantine: bool = False,
    retry: bool = False,
    skip_recent_seconds: int | None = None,
) -> Recipe:
    """Move a registry into its metadata database: what `regctl enable-db` does, up to the switch."""
    from ctl.steps.enable_recipe import Enabling, Place, enable_recipe
    from ctl.steps.metadata_doors import metadata_database

    how = _one_of("imports", imports, _IMPORTS)
    asked = Enabling(
        registry,
        metadata_database(world, registry).name,
        how,  # type: ignore[arg-type]
        admin=admin or "",
        quarantine=quarantine,
        retry=retry,
        skip_recent_seconds=skip_recent_seconds,
    )
    return enable_recipe(world, asked, Place(site_file, secrets))


def finish_enable_db(world: World, site_file: str, secrets: str, *, registry: str) -> Recipe:
    """Verify, record the blobs that are left, turn online collection on: `regctl enable-db --finish`."""
    from ctl.steps.enable_recipe import Place
    from ctl.steps.finish_recipe import finish_recipe

    return finish_recipe(world, registry, Place(site_file, secrets))


def disable_db(
    world: World,
    site_file: str,
    secrets: str,
    *,
    registry: str,
    pull: int = 20,
    accept_data_loss: bool = False,
) -> Recipe:
    """Lead a registry back to its storage tree: what `regctl disable-db` does."""
    from ctl.steps.backend_evidence import gather
    from ctl.steps.disable_recipe import Disabling, disable_recipe
    from ctl.steps.enable_recipe import Place

    repositories = gather(world, registry).repositories
    holds = repositories is None or repositories.rows > 0
    return disable_recipe(
        world, Disabling(registry, pull, accept_data_loss, holds), Place(site_file, secrets)
    )


def gc(world: World, *, registry: str, window: str = "read-only", delete_untagged: bool = False) -> Recipe:
    """Collect a registry's garbage in a proved window: what `regctl gc` does."""
    from ctl.steps.collection_recipe import collection_recipe

    return collection_recipe(
        world, registry, mode=_one_of("window", window, _WINDOWS), delete_untagged=delete_untagged
    )


def import_metadata(
    world: World, *, registry: str, step: str = "all", window: str = "read-only", reopen: bool = False
) -> Recipe:
    """Import into the metadata database without switching to it: what `regctl registry import` does."""
    from ctl.engines.metadata import ImportStep
    from ctl.recipes.identity import operator
    from ctl.steps.import_recipe import import_recipe

    chosen = ImportStep(_one_of("step", step, tuple(one.value for one in ImportStep)))
    mode = _one_of("window", window, _WINDOWS)
    return import_recipe(
        world,
        registry,
        chosen,
        mode=mode,  # type: ignore[arg-type]
        reopen=reopen,
        by=operator(),
    )


def content_prepare(
    world: World,
    *,
    pulp: str,
    rate: float = 0.0,
    load: float = 0.0,
    to: str | None = None,
    although_short: bool = False,
    canary: int = 0,
    at_once: int = 10,
    max_fail: int = 0,
) -> Recipe:
    """Prepare a Pulp's old content on all of its hosts: what `regctl content prepare` does."""
    from packaging.version import InvalidVersion, Version

    from ctl.steps.content_recipe import Asked, content_recipe
    from ctl.steps.content_survey import survey

    try:
        wanted = Version(to) if to else None
    except InvalidVersion:
        raise UsageError(f"to: {to!r} is no release", hint="as in to=2.27.14") from None
    asked = Asked(
        rate=rate,
        load=load,
        canary=canary,
        at_once=at_once,
        max_fail=max_fail,
        to=wanted,
        although_short=although_short,
    )
    return content_recipe(world, pulp, survey(world, pulp), asked)


def _one_of(name: str, given: str, choices: tuple[str, ...]) -> str:
    if given not in choices:
        raise UsageError(f"{name}: {given!r} is none of its words{did_you_mean(given, choices)}")
    return given
