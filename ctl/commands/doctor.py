"""Look for what would make regctl fail on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ctl.context import Context, pass_context
from ctl.diagnosis import (
    Finding,
    helper_programs,
    private_file,
    programs_named_regctl,
    python_and_libraries,
    site_secrets,
    state_directory,
)
from ctl.errors import ConfigError, Outcome
from ctl.report.model import Report, Table

if TYPE_CHECKING:
    from ctl.config.models import Site


@click.command("doctor")
@pass_context
def command(context: Context) -> None:
    """Look for what would make regctl fail: PATH, libraries, permissions, programs, the site.

    Only looks. Exit code 0, or 3 if anything needs attention.
    """
    found = list(_findings(context))
    bad = [finding for finding in found if finding.level != "ok"]
    counts = {level: sum(f.level == level for f in found) for level in ("ok", "warning", "error")}
    rows = tuple((f.level, f.check, f.message, f.fix) for f in found)
    context.show(
        Report(
            command="doctor",
            outcome=Outcome.WARNING if bad else Outcome.OK,
            data={
                **counts,
                "findings": [
                    {"check": f.check, "level": f.level, "message": f.message, "fix": f.fix} for f in found
                ],
            },
            blocks=(Table(("level", "check", "what was found", "what to do"), rows),),
        )
    )


def _findings(context: Context) -> Iterator[Finding]:
    yield from programs_named_regctl(os.environ.get("PATH", ""))
    yield from python_and_libraries()
    yield from _plugins(context)
    site, finding = _site(context)
    if finding is not None:
        yield finding
    if os.path.exists(context.site_file):
        yield private_file(context.site_file, "the site file", secret=False)
    if site is not None:
        yield state_directory(context.world.state_dir)
        yield from site_secrets(site)
    yield from helper_programs(site)


def _site(context: Context) -> tuple[Site | None, Finding | None]:
    try:
        site = context.site
    except ConfigError as error:
        more = f" ({error.details[0]})" if error.details else ""
        return None, Finding("site", "error", f"{error.message}{more}", fix=error.hint)
    names = ", ".join([*site.registries, *site.pulps]) or "no registry"
    return site, Finding("site", "ok", f"{context.site_file} describes {names}")


def _plugins(context: Context) -> Iterator[Finding]:
    for plugin in context.plugins.all():
        if plugin.broken:
            message = f"plugin {plugin.name} of {plugin.package} {plugin.version}: {plugin.broken}"
            yield Finding("plugins", "error", message, fix="reinstall or remove that package")
