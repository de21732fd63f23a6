"""Show what installed packages add to regctl."""

from __future__ import annotations

import click

from ctl.context import Context, pass_context
from ctl.errors import Outcome
from ctl.plugins import KINDS, Plugin
from ctl.report.model import Json, Report, Table


@click.group("plugin")
def command() -> None:
    """Show what installed packages add to regctl."""


@command.command("list")
@pass_context
def list_(context: Context) -> None:
    """List the plugins: name, version, and what each adds.

    A plugin that cannot be used is listed as broken, with the reason; regctl goes on without it. Exit code 0,
    or 3 if one is broken or adds a name that is taken.
    """
    plugins = context.plugins.all()
    found = [_object(plugin) for plugin in plugins]
    bad = [plugin for plugin in plugins if plugin.broken or plugin.overruled]
    rows = tuple((p.name, p.package, p.version, "broken" if p.broken else "ok", _summary(p)) for p in plugins)
    context.show(
        Report(
            command="plugin-list",
            outcome=Outcome.WARNING if bad else Outcome.OK,
            data={"plugins": found},
            blocks=(Table(("plugin", "package", "version", "state", "adds"), rows),),
            hints=("a broken plugin is left out; reinstall or remove its package",) if bad else (),
        )
    )


def _object(plugin: Plugin) -> dict[str, Json]:
    adds: dict[str, Json] = {"commands": sorted(plugin.commands)}
    for kind in KINDS:
        adds[kind.replace(" ", "_") + "s"] = sorted(plugin.adds.get(kind, {}))
    return {
        "name": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
        "state": "broken" if plugin.broken else "ok",
        "reason": plugin.broken,
        "adds": adds,
        "overruled": list(plugin.overruled),
    }


def _summary(plugin: Plugin) -> str:
    parts = []
    if plugin.broken:
        parts.append(plugin.broken)
    if plugin.commands:
        parts.append("commands: " + ", ".join(sorted(plugin.commands)))
    for kind, names in plugin.adds.items():
        parts.append(f"{kind}{'s' if len(names) > 1 else ''}: " + ", ".join(sorted(names)))
    if plugin.overruled:
        parts.append("not used, taken: " + ", ".join(plugin.overruled))
    return "; ".join(parts) or "nothing"
