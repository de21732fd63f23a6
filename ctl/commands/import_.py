"""Alias of `registry import`."""

from __future__ import annotations

import click

from ctl.commands.registry import command as registry

command: click.Command = registry.commands["import"]
