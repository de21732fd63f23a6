"""Scope: a node's workers of online garbage collection take one task after the other, without long pauses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ctl.config.ownership import classify
from ctl.engines.gitlab_gc import faster, gc_settings
from ctl.engines.metadata import metadata_of
from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.model import Text
from ctl.steps.effective_config import effective_sections
from ctl.steps.node_doors import identity, sha256
from ctl.steps.node_settings import fatal_problems
from ctl.steps.omnibus import is_generated, refused
from ctl.steps.read_only_checks import NEWER_NAME, loaded_problems
from ctl.steps.read_only_node import ReadOnlyNode

_CLOCK_SLACK = 2.0  # seconds between a file's time and a process's start that prove nothing
_SECTION = "gc"


class FasterGc(Scope):
    """Within it a node runs with shorter intervals; afterwards its file's original bytes are back.

    The node is restarted with drain at both ends: the registry reads its settings only when it starts. A
    stopped node stays stopped, and its file as it is.
    """

    registry: str
    node: str
    interval: str  # between two tasks of a worker, as the registry's file says it: 200ms
    max_backoff: str = "5m"  # the longest pause after errors

    skippable: ClassVar[tuple[str, ...]] = (NEWER_NAME,)

    def title(self) -> str:
        return f"let the collection of {self.registry} on {self.node} take a task every {self.interval}"

    def host(self) -> str:
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        node = self._on(here)
        state = node.service.state()
        data = node.read()
        if is_generated(here.world, self.registry, self.node):
            told = refused(here.world, self.registry, self.node, data, {_SECTION: self._values()})
            yield Problem(told.message, told.hint)
            return
        if not state.running or node.host.stat(node.kept_path(here.run.id)) is not None:
            return  # nothing to change here, or changed by this run already
        if classify(data).state == "drifted":
            yield Problem(
                f"{node.name}: {node.config_file} is managed by regctl and was edited by hand",
                f"see `regctl config diff {self.registry}`, then settle it by `config apply` or `adopt`",
            )
        yield from self._of_text(node, data)
        yield from self._of_settings(here, node, data)
        yield from loaded_problems(node)
        if state.since is not None and node.info().mtime > state.since + _CLOCK_SLACK:
            yield Problem(
                f"{node.name}: {node.config_file} is newer than the running process: a restart would load "
                "changes that it does not run with now",
                "restart it once at a time of your choice: regctl service restart",
                name=NEWER_NAME,
            )

    def _of_text(self, node: _GcNode, data: bytes) -> Iterator[Problem]:
        try:
            changed = node.faster_text(data, self._values())
        except RegctlError as error:
            yield Problem(f"{node.name}: {error.message}", error.hint, outcome=error.outcome)
            return
        yield from fatal_problems(node, changed)

    def _of_settings(self, here: Target, node: _GcNode, data: bytes) -> Iterator[Problem]:
        effective = effective_sections(here.world, self.registry, node.node, (_SECTION,))
        if effective[_SECTION] != (node.parsed(data).data.get(_SECTION) or {}):
            yield Problem(
                f"{node.name}: variables of the environment (REGISTRY_GC_...) override the section gc of "
                f"{node.config_file}: what is set there would have no effect",
                "move the settings into the file, remove the variables, restart once",
            )
        settings = gc_settings(effective)
        if not any(settings.works(worker) for worker in settings.workers):
            yield Problem(
                f"{node.name}: online garbage collection is off in {node.config_file}",
                f"`regctl gc online on {self.registry}` turns it on",
            )

    def observe(self, here: Target) -> Before:
        return self._on(here).observe_faster(here.run.id, self._values())

    def preview(self, here: Target) -> Preview:
        node = self._on(here)
        if not node.service.state().running:
            return Preview(f"{node.name} is stopped and stays so", changes=False)
        lines = [
            f"{node.config_file}: gc.blobs.interval and gc.manifests.interval: {self.interval}, "
            f"gc.noidlebackoff: true, gc.maxbackoff: {self.max_backoff} (the original is kept beside it)",
            f"restart {node.name} now and at the end, {node.grace().total_seconds():g} s at most to drain",
        ]
        return Preview(self.title(), blocks=(Text("\n".join(lines)),), data={"restarts": True})

    def apply(self, here: Target, before: Before) -> StepReport:
        node = self._on(here)
        if not before["running"]:
            return StepReport(changed=False, not_applicable="the service was stopped, and stays so")
        try:
            warnings = node.speed_up(before, self._values())
        except RegctlError as error:
            raise node.brought_back(
                before, error, lambda: node.slow_down(before), "made to collect faster"
            ) from error
        return StepReport({"interval": self.interval}, warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # applying again writes and restarts only what does not stand yet

    def leave(self, here: Target, before: Before) -> StepReport:
        if not before["running"]:
            return StepReport(changed=False)
        return self._on(here).slow_down(before)

    def _values(self) -> dict[str, Any]:
        return faster(self.interval, self.max_backoff)

    def _on(self, here: Target) -> _GcNode:
        return _GcNode(here, self.registry, self.node)


@dataclass(frozen=True)
class _GcNode(ReadOnlyNode):
    """A node whose section gc is changed for a while."""

    def observe_faster(self, run: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the node as it is; JSON-able, holds no secret."""
        data, info, state = self.read(), self.info(), self.service.state()
        return {
            "running": state.running,
            "process": identity(state.process),
            "probe": self.client.probe_write().state if state.running else "stopped",
            "config_file": self.config_file,
            "kept": self.kept_path(run),
            "sha256": sha256(data),
            "ours": sha256(self.faster_text(data, values)),
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
            "mtime": info.mtime,
        }

    def faster_text(self, data: bytes, values: Mapping[str, Any]) -> bytes:
        """Return the file's bytes with the faster settings; RefusedError where that is not provable."""
        programs = metadata_of(self.engine)
        if programs is None:
            raise RefusedError(f"the engine of {self.registry} has no online garbage collection")
        return programs.section_text(data, _SECTION, values)

    def speed_up(self, before: Before, values: Mapping[str, Any]) -> list[str]:
        """Keep the original, write the change, restart, prove that it answers as before."""
        data = self.read()
        if sha256(data) == before["sha256"] != before["ours"]:
            self.here.run.guard()
            self.host.write(before["kept"], data, mode=0o600)
            self.here.run.guard()
            self._write(self.faster_text(data, values), before)
        elif sha256(data) != before["ours"]:
            raise RefusedError(
                f"{self.name}: {self.config_file} has changed since it was looked at; it is left as it is",
                hint="run the same command again",
            )
        warnings = []
        if before["ours"] != before["sha256"] and identity(self.service.state().process) == before["process"]:
            warnings = self._restart()
        self._as_before(before)
        return warnings

    def slow_down(self, before: Before) -> StepReport:
        """Bring back bytes, mode, owner and time; restart a process that had loaded the change."""
        current = sha256(self.read())
        if current == before["ours"] != before["sha256"]:
            self.here.run.guard()
            self._write(self._original(before, None), before)
        elif current != before["sha256"]:
            raise self._drifted(before)
        self._restore_time(before)
        now, warnings = self.service.state(), []
        back = self.here.run.notes("FasterGc").get(f"back {self.host_name}")
        if now.running and identity(now.process) not in (before["process"], back):
            warnings = self._restart()
            self.here.run.note(**{f"back {self.host_name}": identity(self.service.state().process)})
        elif not now.running:
            warnings = [*self._restart(), f"{self.name} had stopped meanwhile and was started again"]
        self._as_before(before)
        self.here.run.guard()
        self.host.remove(before["kept"])
        return StepReport(warnings=tuple(warnings))

    def _as_before(self, before: Before) -> None:
        """Prove that the node accepts, or refuses, writes as it did."""
        probe = self._probe_until(before["probe"])
        if probe.state != before["probe"]:
            said = f"{self.name} is {probe.state} and was {before['probe']} before: {probe.detail}"
            raise RegctlError(said.rstrip(": "), hint="see its log: regctl service tail")
