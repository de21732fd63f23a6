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
        "pulp": "ctl.engines.pulp:Pulp",
    }


@hookimpl
def register_steps() -> Mapping[str, str]:
    """The steps and scopes that regctl's own recipes are made of."""
    return {
        "accept-backend": "ctl.steps.accept_backend:AcceptBackend",
        "accept-node": "ctl.steps.accept_node:AcceptNode",
        "adopt-config": "ctl.steps.adopt_config:AdoptConfig",
        "ask-reconfigure": "ctl.steps.ask_reconfigure:AskReconfigure",
        "ask-settings": "ctl.steps.ask_settings:AskSettings",
        "auto-migrate": "ctl.steps.auto_migrate:AutoMigrate",
        "check-health": "ctl.health.step:CheckHealth",
        "clear-read-only": "ctl.steps.set_read_only:ClearReadOnly",
        "close-again": "ctl.steps.maintenance_repair:CloseAgain",
        "collect-garbage": "ctl.steps.collect_garbage:CollectGarbage",
        "collect-support-bundle": "ctl.health.bundle_step:CollectSupportBundle",
        "compare-collector": "ctl.steps.compare_collector:CompareCollector",
        "database-runs": "ctl.steps.pulp_services:DatabaseRuns",
        "demand-backend": "ctl.steps.demand_backend:DemandBackend",
        "demand-database": "ctl.steps.enable_checks:DemandDatabase",
        "demand-filesystem": "ctl.steps.enable_checks:DemandFilesystem",
        "demand-importable": "ctl.steps.enable_checks:DemandImportable",
        "demand-pulp-upgradable": "ctl.steps.demand_pulp:DemandPulpUpgradable",
        "demand-quiet-pulp": "ctl.steps.demand_pulp:DemandQuietPulp",
        "demand-upgradable": "ctl.steps.upgrade_checks:DemandUpgradable",
        "demand-verified": "ctl.steps.demand_verified:DemandVerified",
        "empty-metadata": "ctl.steps.empty_metadata:EmptyMetadata",
        "end-maintenance": "ctl.steps.enter_maintenance:EndMaintenance",
        "end-preparing": "ctl.steps.abort_content:EndPreparing",
        "enter-maintenance": "ctl.steps.enter_maintenance:EnterMaintenance",
        "faster-gc": "ctl.steps.faster_gc:FasterGc",
        "follow-queues": "ctl.steps.follow_queues:FollowQueues",
        "forget-copy": "ctl.steps.keep_content:ForgetCopy",
        "forget-kept": "ctl.steps.set_settings:ForgetKept",
        "forget-secret": "ctl.steps.rotate_secret:ForgetSecret",
        "import-metadata": "ctl.steps.import_metadata:ImportMetadata",
        "import-read-only": "ctl.steps.import_window:ImportReadOnly",
        "import-stopped": "ctl.steps.import_window:ImportStopped",
        "import-tree": "ctl.steps.import_tree:ImportTree",
        "install-program": "ctl.steps.roll_node:InstallProgram",
        "keep-aside": "ctl.steps.keep_aside:KeepAside",
        "keep-content": "ctl.steps.keep_content:KeepContent",
        "make-http-secret": "ctl.steps.make_http_secret:MakeHttpSecret",
        "migrate-down": "ctl.steps.migrate:MigrateDown",
        "migrate-for-upgrade": "ctl.steps.migrate_for_upgrade:MigrateForUpgrade",
        "migrate-metadata": "ctl.steps.migrate_metadata:MigrateMetadata",
        "migrate-metadata-down": "ctl.steps.migrate_metadata_down:MigrateMetadataDown",
        "migrate-pulp": "ctl.steps.migrate_pulp:MigratePulp",
        "migrate-up": "ctl.steps.migrate:MigrateUp",
        "not-worth": "ctl.steps.content_worth:NotWorth",
        "open-edited": "ctl.steps.maintenance_repair:OpenEdited",
        "out-of-rotation": "ctl.steps.out_of_rotation:OutOfRotation",
        "owe-reindex": "ctl.steps.reindex_content:OweReindex",
        "packages-rest": "ctl.steps.packages_rest:PackagesRest",
        "pause-timer": "ctl.steps.pause_timer:PauseTimer",
        "prepare-content": "ctl.steps.prepare_content:PrepareContent",
        "prepare-import": "ctl.steps.import_prepare:PrepareImport",
        "prepare-tree": "ctl.steps.write_tree:PrepareTree",
        "prove-backend": "ctl.steps.prove_backend:ProveBackend",
        "prove-empty": "ctl.steps.prove_empty:ProveEmpty",
        "prove-node": "ctl.steps.roll_node:ProveNode",
        "prove-online-gc": "ctl.steps.prove_online_gc:ProveOnlineGc",
        "prove-tree": "ctl.steps.write_tree:ProveTree",
        "prove-upgraded": "ctl.steps.upgrade_checks:ProveUpgraded",
        "provision-database": "ctl.steps.provision_database:ProvisionDatabase",
        "pull-sample": "ctl.steps.pull_sample:PullSample",
        "put-back": "ctl.steps.put_back:PutBack",
        "quarantine": "ctl.steps.quarantine:Quarantine",
        "read-only": "ctl.steps.read_only:ReadOnly",
        "reindex-content": "ctl.steps.reindex_content:ReindexContent",
        "relink-content": "ctl.steps.repair_content:RelinkContent",
        "remember-settings": "ctl.steps.remember_settings:RememberSettings",
        "repair-indexes": "ctl.steps.repair_indexes:RepairIndexes",
        "repair-lock-files": "ctl.steps.repair_lock_files:RepairLockFiles",
        "require-engine": "ctl.steps.require_engine:RequireEngine",
        "restart-cleanly": "ctl.steps.restart_cleanly:RestartCleanly",
        "restart-node": "ctl.steps.restart_node:RestartNode",
        "restart-service": "ctl.steps.service:RestartService",
        "restore-content": "ctl.steps.restore_content:RestoreContent",
        "restore-lock-files": "ctl.steps.repair_lock_files:RestoreLockFiles",
        "restore-quarantine": "ctl.steps.quarantine:RestoreQuarantine",
        "restore-tree": "ctl.steps.restore_tree:RestoreTree",
        "review-now": "ctl.steps.review_now:ReviewNow",
        "rotate-secret": "ctl.steps.rotate_secret:RotateSecret",
        "run-background-migrations": "ctl.steps.background_migrations:RunBackgroundMigrations",
        "run-program": "ctl.steps.run_program:RunProgram",
        "run-service": "ctl.steps.service_of_host:RunService",
        "services-as-before": "ctl.steps.pulp_services:ServicesAsBefore",
        "set-background-migrations": "ctl.steps.set_background:SetBackgroundMigrations",
        "set-feature-flags": "ctl.steps.set_feature_flags:SetFeatureFlags",
        "set-lock-files": "ctl.steps.set_lock_files:SetLockFiles",
        "set-read-only": "ctl.steps.set_read_only:SetReadOnly",
        "set-settings": "ctl.steps.set_settings:SetSettings",
        "start-database": "ctl.steps.database_service:StartDatabase",
        "start-node": "ctl.steps.roll_node:StartNode",
        "start-service": "ctl.steps.service:StartService",
        "stop-database": "ctl.steps.database_service:StopDatabase",
        "stop-service": "ctl.steps.service:StopService",
        "stopped": "ctl.steps.stopped:Stopped",
        "switch-backend": "ctl.steps.switch_backend:SwitchBackend",
        "switch-program": "ctl.steps.roll_node:SwitchProgram",
        "switch-window": "ctl.steps.switch_window:SwitchWindow",
        "timer-rests": "ctl.steps.rest_timers:TimerRests",
        "trust-host-key": "ctl.steps.trust_host_key:TrustHostKey",
        "try-program": "ctl.steps.try_program:TryProgram",
        "unlink-content": "ctl.steps.repair_content:UnlinkContent",
        "wake-timer": "ctl.steps.pause_timer:WakeTimer",
        "way-back": "ctl.steps.way_back:WayBack",
        "write-config": "ctl.steps.write_config:WriteConfig",
        "write-file": "ctl.steps.write_file:WriteFile",
        "write-tree": "ctl.steps.write_tree:WriteTree",
    }


@hookimpl
def register_recipes() -> Mapping[str, str]:
    """The commands' recipes that a recipe in YAML may take in."""
    return {
        "content-prepare": "ctl.steps.named_recipes:content_prepare",
        "disable-db": "ctl.steps.named_recipes:disable_db",
        "enable-db": "ctl.steps.named_recipes:enable_db",
        "finish-enable-db": "ctl.steps.named_recipes:finish_enable_db",
        "gc": "ctl.steps.named_recipes:gc",
        "import-metadata": "ctl.steps.named_recipes:import_metadata",
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
