"""Write the first site file from a registry on this host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctl.context import Context
    from ctl.discovery import FoundRegistry
    from ctl.first_site import FirstSite, Wanted
    from ctl.hosts.base import Host
    from ctl.report.model import Report

ENGINES = ("distribution", "gitlab")


@click.command("init")
@click.option("--registry-config", metavar="FILE", help="The configuration that the registry loads.")
@click.option("--registry-binary", metavar="FILE", help="The registry's program.")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="The registry's software; unless given, what its program says that it is.",
)
@click.option(
    "--service", type=click.Choice(["systemd", "runit", "process"]), help="Who runs the registry's process."
)
@click.option("--name", default="main", show_default=True, help="What the registry is called in the site.")
@click.option("--url", metavar="URL", help="Where the registry answers, if its file does not tell.")
@pass_context
def command(context: Context, **given: str | None) -> None:
    """Write the first site file from a registry on this host.

    Without options it takes the registry that runs, or the one that a package installed. Passwords in the
    registry's file are copied to files with mode 0600, and the site points to them. A site file that is there
    is never overwritten. With --dry-run the file is printed and nothing is written.
    """
    from dataclasses import replace

    from ctl.discovery import find_registry
    from ctl.first_site import first_site
    from ctl.hosts.local import LocalHost

    wanted = _wanted(context, given)
    _refuse_existing(wanted.site_file)
    host = LocalHost("localhost", os.path.join(wanted.state_dir, "jobs"))
    found = find_registry(host, given["registry_config"], given["registry_binary"], _places(given["engine"]))
    name = given["engine"] or _engine_of(host, found)
    wanted = replace(wanted, engine=name)
    made = first_site(host, found, context.plugins.find("engine", name)(), wanted)
    _check(wanted.site_file, made)
    if not context.options.dry_run:
        _write(wanted.site_file, made)
    context.show(_report(context, wanted, found, made))


def _wanted(context: Context, given: dict[str, str | None]) -> Wanted:
    import re

    from ctl.config.models import NAME_PATTERN
    from ctl.errors import UsageError
    from ctl.first_site import Wanted

    name = str(given["name"])
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"{name!r} is not a usable name", hint="letters, digits, ., _ and -, at most 63")
    state_dir = context.options.state_dir or os.environ.get("REGCTL_STATE_DIR") or "/var/lib/regctl"
    return Wanted(
        site_file=context.site_file,
        state_dir=os.path.abspath(state_dir),
        name=name,
        engine=given["engine"] or "",
        service=given["service"],
        url=given["url"],
    )


def _places(engine: str | None) -> Sequence[tuple[str, str]]:
    from ctl.discovery import GITLAB_PLACES, USUAL_PLACES

    by_engine = {"gitlab": GITLAB_PLACES, "distribution": USUAL_PLACES}
    return by_engine.get(engine or "", (*GITLAB_PLACES, *USUAL_PLACES))


def _engine_of(host: Host, found: FoundRegistry) -> str:
    """Ask the program: GitLab's says so in its version."""
    from datetime import timedelta

    from ctl.errors import RegctlError
    from ctl.hosts.base import Command

    try:
        result = host.run(Command((found.binary, "--version"), timeout=timedelta(seconds=20)))
    except RegctlError:
        return "distribution"
    return "gitlab" if b"-gitlab" in result.stdout else "distribution"


def _refuse_existing(site_file: str) -> None:
    from ctl.errors import RefusedError

    if os.path.lexists(site_file):
        raise RefusedError(
            f"{site_file} is there already; init never overwrites a site",
            hint="`regctl config check` checks it; `regctl init --site FILE` writes another one",
        )


def _check(site_file: str, made: FirstSite) -> None:
    """The new file must be right together with the drop-ins that are there."""
    from ctl.config.document import read_document
    from ctl.config.load import check_site, drop_ins

    documents = [read_document(data, file) for file, data in drop_ins(site_file)]
    check_site([read_document(made.text.encode(), site_file), *documents])


def _write(site_file: str, made: FirstSite) -> None:
    from ctl.config.files import create, make_folder
    from ctl.config.secrets import keep_secret

    make_folder(os.path.dirname(site_file), 0o755)
    for path, secret in made.secrets.items():
        make_folder(os.path.dirname(path), 0o700)
        keep_secret(path, secret)
    create(site_file, made.text.encode(), 0o640)


def _report(context: Context, wanted: Wanted, found: FoundRegistry, made: FirstSite) -> Report:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text

    registry: dict[str, Any] = made.site["registries"][wanted.name]
    node = registry["nodes"][0]
    dry = context.options.dry_run
    data: dict[str, Any] = {
        "site": wanted.site_file,
        "dry_run": dry,
        "registry": wanted.name,
        "engine": wanted.engine,
        "version": made.version,
        "binary": found.binary,
        "config_file": found.config_file,
        "found": found.how,
        "rootdirectory": registry["storage"]["filesystem"]["rootdirectory"],
        "url": node["url"],
        "service": node["service"],
        "secrets": sorted(made.secrets),
        "warnings": list(made.warnings),
    }
    lines = [
        f"Found {found.binary} {made.version} with {found.config_file} ({found.how}).",
        f"It stores in {data['rootdirectory']} and answers at {node['url']};"
        f" its service is {node['service']['kind']} {node['service']['name']}.",
        *[f"A password of it {'would go' if dry else 'is now also'} in {path}." for path in data["secrets"]],
        *made.warnings,
        f"{'Would write' if dry else 'Wrote'} {wanted.site_file}" + (":" if dry else "."),
    ]
    blocks: tuple[Text, ...] = (Text("\n".join(lines)),)
    if dry:
        data["text"] = made.text
        blocks += (Text(made.text.rstrip("\n")),)
    option = f" --site {wanted.site_file}" if context.options.site else ""
    hints = () if dry else (f"next: regctl{option} status",)
    return Report("init", Outcome.PENDING if dry else Outcome.CHANGED, data, blocks, hints=hints)
