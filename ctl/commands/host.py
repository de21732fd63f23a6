"""The hosts of the site: list them, check that work can be done there, run a program on many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.commands.host_options import at_once, canary, max_fail
from ctl.commands.host_trust import command as trust
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.group("host")
def command() -> None:
    """The hosts of the site: list them, check that work can be done there, run a program on many.

    PATTERN says which hosts: a NAME, a GLOB (proxy*), LABEL=VALUE (role=content-proxy), registry=NAME for
    the hosts of its nodes, `all` or `local`. A comma between two means both; & means and, &! means and not:
    'role=content-proxy&!proxy3'.
    """


command.add_command(trust)


@command.command("list")
@click.argument("pattern", required=False, default="*")
@pass_context
def list_(context: Context, pattern: str) -> None:
    """List the hosts that PATTERN means, all without one. Connects to none of them."""
    from ctl.fleet.describe import list_report

    context.show(list_report(context.site, pattern))


@command.command("check")
@click.argument("pattern", required=False, default="*")
@click.option(
    "--max-skew",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How far a host's clock may be from this one's.",
)
@click.option(
    "--min-free",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    metavar="MIB",
    help="How much room there must be in the host's state folder.",
)
@click.option(
    "--at-once", type=click.IntRange(min=1), default=20, show_default=True, help="Hosts side by side."
)
@pass_context
def check(context: Context, pattern: str, max_skew: float, min_free: int, at_once: int) -> None:
    """Log in to each host and look whether work can be done there. Only looks.

    Who we are there, whether we may become who the site says, whether the state folder can be written,
    which programs are missing, how far its clock is off and how much room there is. Exit code 0 if all is
    well, 3 for findings, 6 where a host is there but not usable, 7 where one is unreachable.
    """
    from ctl.fleet.describe import Limits, check_report
    from ctl.fleet.reach import reach
    from ctl.fleet.select import select

    hosts = select(context.site, pattern)
    found = reach(context.world, hosts, at_once)
    context.show(check_report(context.site, found, Limits(max_skew, min_free * 2**20)))


@command.command("run")
@click.argument("pattern", required=False, default="")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="-- ARGV...")
@canary
@at_once("--serial")
@max_fail
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="End the program on a host after this long.",
)
@click.option("--user", metavar="NAME", help="Run it as this user. [default: as `become` of the host says]")
@click.option(
    "--stdin-secret", metavar="REFERENCE", help="Give it a secret on stdin: file:/path, env:NAME, command:..."
)
@click.option("--unfinished", metavar="RUN", help="Take up what that run has not done, and nothing else.")
@pass_context
def run(
    context: Context,
    pattern: str,
    argv: tuple[str, ...],
    canary: int,
    serial: int,
    max_fail: int,
    timeout: float,
    user: str | None,
    stdin_secret: str | None,
    unfinished: str | None,
) -> None:
    """Run a program on the hosts that PATTERN means, as a job that outlives the connection.

    ARGV is the program and its arguments, after --; no shell is between (`-- sh -c '...'` for one). Before
    it begins anywhere, every host must answer and let us work there. It is begun once on each host, found
    again after a broken connection, and never begun twice.
    """
    from ctl.fleet.select import select
    from ctl.steps.hosts_report import run_report
    from ctl.steps.run_on_hosts import Asked, recipe, unfinished_recipe

    asked = Asked(argv, canary, serial, max_fail, timeout, user, stdin_secret)
    if unfinished:
        built = unfinished_recipe(context.world, unfinished, pattern, asked)
    else:
        built = recipe(select(context.site, pattern), asked)
    context.show(run_report(context.run(built), built))
