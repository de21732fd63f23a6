"""Options of commands that work on many hosts: who goes first, how many at once, and when it is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

canary = click.option(
    "--canary", type=click.IntRange(min=0), default=0, metavar="N", help="So many hosts first, alone."
)
max_fail = click.option(
    "--max-fail",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Begin on no further host once more than N have failed or are unreachable.",
)


def at_once(name: str) -> Callable[[Any], Any]:
    """Return the option under a name: `--at-once`, or `--serial` as those who know Ansible expect."""
    return click.option(
        name,
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        metavar="N",
        help="Hosts side by side.",
    )
