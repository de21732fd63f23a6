"""Import what a registry holds into its database, verify the copy, see what its version can do."""

from __future__ import annotations

import click

from ctl.commands import (
    registry_features,
    registry_import,
    registry_preflight,
    registry_quarantine,
    registry_verify,
)


@click.group("registry")
def command() -> None:
    """Read what a registry holds: import it into the registry's database, verify the copy."""


# One module each, with its work imported inside: the whole group is loaded for any of them.
for _module in (registry_features, registry_import, registry_preflight, registry_quarantine, registry_verify):
    command.add_command(_module.command)
