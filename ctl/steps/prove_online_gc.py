"""Prove that online garbage collection is on, or off, on every node: by its file and by its log."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ctl.engines.gitlab_gc import GcLog
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.steps.online_gc import log_of, settings_of

SETTLE = 10.0  # seconds within which a registry that answers has logged its start


class ProveOnlineGc(Step):
    """Look at what every node's file says and what its process logged when it started."""

    registry: str
    enabled: bool

    def title(self) -> str:
        return f"prove that online collection of {self.registry} is {'on' if self.enabled else 'off'}"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        warnings: list[str] = []
        by_log = []
        for node in here.world.registry(self.registry).nodes:
            if settings_of(here.world, self.registry, node).disabled is self.enabled:
                raise RegctlError(
                    f"{self.registry}/{node.host}: {node.config_file} does not say that online collection is "
                    f"{'on' if self.enabled else 'off'}"
                )
            if not here.world.service(self.registry, node.host).state().running:
                continue
            said = self._said(here, node.host)
            if said is None:
                warnings.append(f"{self.registry}/{node.host}: its log does not say; its file does")
            elif said is not self.enabled:
                raise RegctlError(
                    f"{self.registry}/{node.host} logged that online collection is {'on' if said else 'off'}",
                    hint="is it restarted? see `regctl service tail`",
                )
            else:
                by_log.append(node.host)
        return StepReport({"proved_by_log": by_log}, changed=False, warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        return iter(())

    def _said(self, here: Target, host: str) -> bool | None:
        deadline = time.monotonic() + SETTLE
        while (said := _says(log_of(here.world, self.registry, host))) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.2)
        return said


def _says(log: GcLog) -> bool | None:
    """Say what a log since the last start shows; None where it shows neither."""
    if log.disabled:
        return False
    return True if any(worker.started or worker.runs for worker in log.workers.values()) else None
