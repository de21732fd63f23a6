"""Options that the commands on metadata databases share."""

from __future__ import annotations

import click

node = click.option(
    "--node",
    metavar="HOST",
    help="The node whose program is used; the first one unless given. Of a Pulp: only this host, else all.",
)
wait = click.option(
    "--wait",
    type=click.IntRange(min=0),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another controller at work on the same metadata database.",
)
