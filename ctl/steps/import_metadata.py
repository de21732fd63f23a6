"""Import a registry's storage into its metadata database with the registry's own program, supervised."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from ctl.catalog import import_facts
from ctl.catalog.lockfiles import read_lock_files
from ctl.engines.metadata import ImportOptions, ImportStep
from ctl.errors import Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.import_attempts import Attempts, Imported, lock_files
from ctl.steps.import_checks import SESSIONS, ImportChecks
from ctl.steps.import_job import end_imports, forget_imports, import_call, importing_node
from ctl.steps.metadata_doors import metadata_database
from ctl.steps.read_only_node import ReadOnlyNode

LISTED = 1000  # entries that the report lists; all of them are in the run's folder
SKIPPED_FILE = "import-skipped.jsonl"
_TAGS = (ImportStep.ALL, ImportStep.TWO)
_WORDS = {
    ImportStep.ALL: "import {0} into its metadata database",
    ImportStep.ONE: "import the manifests of {0} (step one)",
    ImportStep.TWO: "import the tags of {0} (step two)",
    ImportStep.THREE: "import the remaining blobs of {0} (step three)",
}


class ImportMetadata(Undoable):
    """Import into the metadata database: everything, or one of the three steps.

    Steps that write tags demand that no node takes a write, proved by a refused one, before and after. The
    program runs detached; its job is journaled before it starts, so that it is found again after a crash. A
    failure leaves the lock files as they were; undoing does too, and leaves what was imported, which no
    registry serves.
    """

    registry: str
    step: ImportStep = ImportStep.ALL
    rehearsal: bool = False  # the registry goes on with its storage: the lock files are put back at the end
    retry: bool = False  # take out the tags of an earlier import that nobody ever used
    trial: bool = False  # the program's own dry run: reads everything, commits nothing; step one only
    row_count: bool = False
    skip_recent_seconds: float | None = None
    statistics: bool = True
    dynamic_media_types: bool = True
    tag_concurrency: int | None = None
    log_directory: str = ""  # on the importing node's host: where its complete log is kept, compressed
    debug_server: str = ""
    attempts: int = 3  # how often it is begun at most, where the connection breaks
    deferred: bool = False  # earlier steps make its database: only the storage is looked at beforehand

    interruptible: ClassVar[bool] = True
    skippable: ClassVar[tuple[str, ...]] = (SESSIONS,)

    def title(self) -> str:
        words = _WORDS[self.step].format(self.registry)
        return f"{words}, on trial" if self.trial else words

    def check(self, here: Target) -> Iterator[Problem]:
        if self.trial and self.step is not ImportStep.ONE:
            yield Problem(
                "a trial is possible of step one only: of the others it would write lock files",
                "`--trial` alone, or with `--step one`",
                outcome=Outcome.USAGE,
            )
        beforehand = self.deferred and not here.run.id
        # within a window only what can have changed since: the steps before it have proved the rest
        again = bool(here.run.id) and (not self.deferred or self.step in _TAGS)
        checks = ImportChecks(here, self.registry, self.step, self.retry, self._began(here), again)
        yield from checks.of_the_storage() if beforehand else checks.problems()
        yield from self._log_folder(here)

    def observe(self, here: Target) -> Before:
        with metadata_database(here.world, self.registry).connect(read_only=True) as session:
            newest = import_facts.newest_statistics_id(session)
        return {"locks": lock_files(self.registry).observe(here), "statistics_id": newest}

    def preview(self, here: Target) -> Preview:
        call = import_call(here.world, self.registry, self._options())
        line = shlex.join(call.argv)
        node = importing_node(here.world, self.registry)
        user = f" as {node.user}" if node.user else ""
        lines = [f"on {node.host}{user}: {line}"]
        if self.retry:
            lines.insert(0, "take out the tags that are there, if no registry ever served from them")
        if self.step in _TAGS and not self.rehearsal:
            lines.append("then the storage's lock file is database-in-use; after a failure it is as it was")
        return Preview(self.title(), True, (Text("\n".join(lines)),), {"argv": line, "step": self.step.value})

    def apply(self, here: Target, before: Before) -> StepReport:
        self._demand_closed(here)
        if (known := here.run.notes(type(self).__name__).get("done")) and isinstance(known, dict):
            forget_imports(here, self.registry, type(self).__name__)
            return StepReport(known, changed=not self.trial)  # killed before its outcome was journaled
        began = time.monotonic()
        attempts = Attempts(
            here, self.registry, type(self).__name__, self._options(), before, max(1, self.attempts)
        )
        done = attempts.run()
        self._demand_closed(here, restore=attempts)
        if self.rehearsal:
            attempts.restore_lock_files()
        self._keep_log(here)
        report = self._report(here, done, time.monotonic() - began)
        # with the figures: what the program printed goes now, and after a kill nothing else would tell them
        here.run.note(imported=not self.rehearsal, done=dict(report.data))
        forget_imports(here, self.registry, type(self).__name__)
        return report

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        # Applying again finds an import that runs, reads what an ended one said, and starts a new one only
        # where the old one is proved dead; so there is always something to do and never harm in doing it.
        return "partial"

    def settle(self, here: Target, before: Before) -> None:
        end_imports(here, self.registry, type(self).__name__)
        if self.step in _TAGS and before:
            lock_files(self.registry).undo(here, before["locks"])

    def undo(self, here: Target, before: Before) -> None:
        self.settle(here, before)

    def verify(self, here: Target) -> Iterator[Problem]:
        if self.trial or self.rehearsal or self.step is ImportStep.ONE:
            return
        locks = read_lock_files(here.world.storage(self.registry))
        if not locks.database_in_use or locks.filesystem_in_use:
            yield Problem(
                f"after the import the storage has {locks.describe()}, and should have database-in-use alone",
                "see `regctl lockfiles show`",
                outcome=Outcome.FAILED,
            )

    # -- inside ------------------------------------------------------------------------------------

    def _options(self) -> ImportOptions:
        recent = self.skip_recent_seconds
        return ImportOptions(
            step=self.step,
            dry_run=self.trial,
            row_count=self.row_count,
            skip_recent=None if recent is None else timedelta(seconds=recent),
            # of a trial there would be a row that nothing tells from a real import's
            statistics=self.statistics and not self.trial,
            dynamic_media_types=self.dynamic_media_types,
            tag_concurrency=self.tag_concurrency,
            debug_server=self.debug_server,
        )

    def _began(self, here: Target) -> bool:
        """Whether this run has begun it already: what it left in the tables is then its own."""
        return bool(here.run.notes(type(self).__name__).get("jobs"))

    def _demand_closed(self, here: Target, restore: Attempts | None = None) -> None:
        """Prove that no node takes a write; a push during step two would be lost without a trace."""
        if self.step not in _TAGS or self.trial:
            return
        for node in here.world.registry(self.registry).nodes:
            try:
                ReadOnlyNode(here, self.registry, node.host).prove_closed()
            except RegctlError as error:
                if restore is not None:
                    restore.restore_lock_files()
                raise RefusedError(
                    f"tags are imported only while no node takes a write: {error.message}",
                    hint="import within the scope `read-only` or `stopped`; `regctl registry import` does",
                ) from error

    def _log_folder(self, here: Target) -> Iterator[Problem]:
        if self.log_directory:
            host = here.world.host(importing_node(here.world, self.registry).host)
            info = host.stat(self.log_directory)
            if info is None or info.kind != "directory":
                yield Problem(
                    f"{self.log_directory} on {host.name} is no directory",
                    "make it first, or leave --log-directory out",
                    outcome=Outcome.USAGE,
                )

    def _keep_log(self, here: Target) -> None:
        if not self.log_directory:
            return
        from ctl.hosts.base import Command
        from ctl.steps.import_job import jobs_of

        host = here.world.host(importing_node(here.world, self.registry).host)
        for job in jobs_of(here, type(self).__name__):
            source = os.path.join(here.world.state_dir, "jobs", job, "stdout")
            target = os.path.join(self.log_directory, f"{job}.jsonl.gz")
            if host.stat(source) is not None:
                host.run(Command(("sh", "-c", 'umask 077; gzip -c -- "$1" > "$2"', "sh", source, target)))

    def _report(self, here: Target, done: Imported, seconds: float) -> StepReport:
        ledger = done.ledger
        effects = ledger.by_effect()
        lost, kept = effects["dropped"], effects["incomplete"] + effects["altered"]
        entries = self._write_skipped(here, done)
        last = ImportStep.ONE if self.step is ImportStep.ONE else ImportStep.TWO
        rows = done.output.rows
        figures = {
            "repositories": rows.get("repositories", ledger.repositories[last]),
            "tags": ledger.tags[last] - lost,
            "manifests": rows.get("manifests", (done.statistics or {}).get("manifests_count") or 0),
            "blobs": rows.get("blobs", ledger.blobs),
            "bytes": ledger.blob_bytes,
        }
        data: dict[str, Any] = {
            **figures,
            "import_step": self.step.value,
            "trial": self.trial,
            "storage_marked": self.step in _TAGS and not (self.trial or self.rehearsal),
            "import_seconds": round(seconds, 3),
            "attempts": done.attempts,
            "retried_manifests": ledger.retried,
            "problems": lost + kept,
            "tags_dropped": lost,
            "tags_incomplete": kept,
            "by_reason": dict(sorted(ledger.by_reason().items())),
            "problem_list": entries,
            "new_media_types": sorted(ledger.media_types),
            "statistics": done.statistics,
            "rows": dict(rows),
        }
        return StepReport(data, changed=not self.trial)

    def _write_skipped(self, here: Target, done: Imported) -> list[dict[str, str]]:
        """Write every entry beside the run's journal; return the first ones that cost something."""
        first: list[dict[str, str]] = []
        path = os.path.join(here.world.state_dir, "runs", here.run.id, SKIPPED_FILE)
        with open(path, "w", encoding="utf-8") as file:
            for one in done.ledger.passed():
                data = one.data()
                file.write(json.dumps(data) + "\n")
                if one.effect != "none" and len(first) < LISTED:
                    first.append(data)
        return first
