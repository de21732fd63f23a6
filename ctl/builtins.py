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
    return {
        "distribution": "ctl.engines.distribution:Distribution",
        "gitlab": "ctl.engines.gitlab:Gitlab",
    }


@hookimpl
def register_steps() -> Mapping[str, str]:
    """The steps and scopes that regctl's own recipes are made of."""
    return {
        "adopt-config": "ctl.steps.adopt_config:AdoptConfig",
        "clear-read-only": "ctl.steps.set_read_only:ClearReadOnly",
        "collect-garbage": "ctl.steps.collect_garbage:CollectGarbage",
        "compare-collector": "ctl.steps.compare_collector:CompareCollector",
        "import-tree": "ctl.steps.import_tree:ImportTree",
        "keep-aside": "ctl.steps.keep_aside:KeepAside",
        "make-http-secret": "ctl.steps.make_http_secret:MakeHttpSecret",
        "migrate-down": "ctl.steps.migrate:MigrateDown",
        "migrate-up": "ctl.steps.migrate:MigrateUp",
        "put-back": "ctl.steps.put_back:PutBack",
        "read-only": "ctl.steps.read_only:ReadOnly",
        "restart-node": "ctl.steps.restart_node:RestartNode",
        "restart-service": "ctl.steps.service:RestartService",
        "set-read-only": "ctl.steps.set_read_only:SetReadOnly",
        "start-database": "ctl.steps.database_service:StartDatabase",
        "start-service": "ctl.steps.service:StartService",
        "stop-database": "ctl.steps.database_service:StopDatabase",
        "stop-service": "ctl.steps.service:StopService",
        "stopped": "ctl.steps.stopped:Stopped",
        "write-config": "ctl.steps.write_config:WriteConfig",
    }


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
