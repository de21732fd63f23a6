"""A node kept stopped for a while, and started again if it ran before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.steps.node_doors import identity
from ctl.steps.read_only_checks import environment_problems, loaded_problems, other_writers
from ctl.steps.read_only_node import READY, SETTLE, ReadOnlyNode


class Stopped(Scope):
    """Within it nothing of a node runs, proved by its process and its port. What was stopped stays so."""

    registry: str
    node: str

    def title(self) -> str:
        """Name the node."""
        return f"keep {self.registry} on {self.node} stopped"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """Say what stands in the way."""
        node = self._on(here)
        parsed = node.parsed(node.read())
        state = node.service.state()
        for mistake in (*parsed.mistakes, *_fatal(node, parsed.data)):
            if state.running:
                yield Problem(
                    f"{node.name}: {node.config_file}: {mistake.path} {mistake.message}; it would not start "
                    "again as it runs now",
                    mistake.hint,
                )
        yield from environment_problems(node, state)
        yield from other_writers(node, parsed.data, state)
        if not state.running:
            yield from self._still_stopped(node)
            return
        yield from loaded_problems(node)
        ping = node.client.ping()
        if ping.state != "ready":
            yield Problem(
                f"{node.name} runs but is not well: {ping.detail}; that it is as before could not be proved",
                "put it right first: regctl service tail",
            )

    def observe(self, here: Target) -> Before:
        """Remember whether it ran, which process, and what it answered."""
        node = self._on(here)
        state = node.service.state()
        answers = node.client.probe_write().state if state.running else "stopped"
        return {"running": state.running, "process": identity(state.process), "answers": answers}

    def preview(self, here: Target) -> Preview:
        """Say whether it would be stopped."""
        node = self._on(here)
        if not node.service.state().running:
            return Preview(f"{node.name} is stopped already and stays so", changes=False)
        seconds = node.grace().total_seconds()
        return Preview(f"stop {node.name}, {seconds:g} s at most to drain; start it afterwards")

    def apply(self, here: Target, before: Before) -> StepReport:
        """Stop it with drain; prove that the process is gone and the port is free."""
        node, warnings = self._on(here), []
        if node.service.state().running:
            here.run.guard()
            if not node.service.stop(node.grace()):
                warnings.append(f"{node.name} did not stop in time and was killed: uploads were cut")
        for problem in self._still_stopped(node):
            raise RegctlError(problem.message, hint=problem.hint)
        return StepReport(changed=bool(before["running"]), warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Tell by the process whether it was stopped."""
        return "pending" if self._on(here).service.state().running else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Prove again that nothing runs and nothing listens."""
        yield from self._still_stopped(self._on(here))

    def leave(self, here: Target, before: Before) -> StepReport:
        """Start it if it ran before, and prove that it answers as it did."""
        node = self._on(here)
        state = node.service.state()
        if not before["running"]:
            if not state.running:
                return StepReport(changed=False)
            return StepReport(changed=False, warnings=(f"{node.name} was started by somebody meanwhile",))
        if not state.running:
            here.run.guard()
            node.service.start()
        node.client.wait_ready(READY)
        self._prove_as_before(node, before)
        return StepReport(changed=identity(state.process) != before["process"])

    def _prove_as_before(self, node: ReadOnlyNode, before: Before) -> None:
        deadline = time.monotonic() + SETTLE
        while (probe := node.client.probe_write()).state != before["answers"]:
            if time.monotonic() > deadline:
                raise RegctlError(
                    f"{node.name} runs again, but is {probe.state} and was {before['answers']} before: "
                    f"{probe.detail}".rstrip(": "),
                    hint="see its log: regctl service tail",
                )
            time.sleep(0.1)

    def _still_stopped(self, node: ReadOnlyNode) -> Iterator[Problem]:
        if node.service.state().running:
            yield Problem(f"{node.name} runs", "who starts it? see regctl service status")
            return
        try:
            node.prove_closed()
        except RegctlError as error:
            yield Problem(error.message, error.hint)

    def _on(self, here: Target) -> ReadOnlyNode:
        return ReadOnlyNode(here, self.registry, self.node)


def _fatal(node: ReadOnlyNode, config: Any) -> list[Any]:
    return [mistake for mistake in node.engine.check_config(config, node.version) if mistake.fatal]
