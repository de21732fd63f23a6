"""What ships with regctl, as the first plugin: it answers the same hooks as any other package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ctl.hookspecs import hookimpl

if TYPE_CHECKING:
    from ctl.storage.base import Storage


@hookimpl
def register_engines() -> Mapping[str, str]:
    """The registry software that regctl knows."""
    return {"distribution": "ctl.engines.distribution:Distribution"}


@hookimpl
def register_storage_drivers() -> Mapping[str, str]:
    """The kinds of storage that regctl reads."""
    return {"filesystem": "ctl.builtins:open_filesystem"}


@hookimpl
def register_report_formats() -> Mapping[str, str]:
    """The formats of `--output`."""
    return {
        "table": "ctl.report.console:ConsoleReporter",
        "json": "ctl.report.json:JsonReporter",
        "yaml": "ctl.report.yaml:YamlReporter",
        "jsonl": "ctl.report.jsonl:JsonLinesReporter",
    }


def open_filesystem(rootdirectory: str) -> Storage:
    """Open a storage tree in a local directory."""
    from ctl.storage.filesystem import FilesystemStorage

    return FilesystemStorage(rootdirectory)
