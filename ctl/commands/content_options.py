"""Which Pulp a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.context import Context

hosts = click.option(
    "--host", "hosts", multiple=True, metavar="HOST", help="Only this host; repeatable. Else all of them."
)


def pulp_name(context: Context, given: str | None) -> str:
    """Return the Pulp meant: the one given, else the only one; UsageError names the choices."""
    from ctl.errors import UsageError

    names = sorted(context.site.pulps)
    if given is not None:
        if given in context.site.registries:
            engine = context.site.registries[given].engine
            raise UsageError(
                f"{given} is run by the engine {engine}; only a Pulp's content is prepared",
                hint=f"name one of {', '.join(names)}" if names else "the site has no Pulp",
            )
        context.world.pulp(given)
        return given
    if len(names) == 1:
        return names[0]
    raise UsageError(
        "which Pulp? the site has several" if names else "the site has no Pulp",
        hint=f"name one of {', '.join(names)}" if names else "describe one with `engine: pulp`",
    )


def release(given: str | None) -> Version | None:
    """Return the release that was named; UsageError where it is none."""
    from packaging.version import InvalidVersion, Version

    from ctl.errors import UsageError

    try:
        return Version(given) if given is not None else None
    except InvalidVersion:
        raise UsageError(f"--to: {given!r} is no release", hint="as in --to 2.27.14") from None
