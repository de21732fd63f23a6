"""Ask for a change of a file that gitlab-ctl writes, wait until it is written, and prove what it means."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from ctl.config.files import make_folder, write_atomically
from ctl.config.gitlab_rb import Fragment
from ctl.errors import InterruptedRunError, Outcome, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Json, Text
from ctl.steps.node_doors import NodeDoors, sha256
from ctl.steps.omnibus import (
    RECONFIGURE,
    SETTINGS_FILE,
    Asked,
    asked_of_site,
    fragment_path,
    proved_checksum,
    record_path,
)

POLL = 0.5  # seconds
READY = timedelta(seconds=60)


class AskReconfigure(Step):
    """Write the lines for gitlab.rb to a file, and wait for the operator's reconfigure to take them up.

    regctl itself writes neither gitlab.rb nor the registry's file, and runs no reconfigure.
    """

    registry: str
    node: str
    wait: int = 0  # seconds; 0 asks and does not wait

    interruptible: ClassVar[bool] = True
    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Name the node."""
        return f"have gitlab-ctl write the configuration of {self.registry} on {self.node}"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """What is asked must be possible, and right for the program."""
        node = self._on(here)
        try:
            wanted = self._asked(here)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        for mistake in node.engine.check_config(wanted.settings, node.version):
            if mistake.fatal:
                yield Problem(f"{mistake.path}: {mistake.message}", mistake.hint, outcome=Outcome.CONFIG)
        for unsaid in wanted.fragment.unsaid if wanted.fragment else ():
            yield Problem(
                f"{node.name}: {SETTINGS_FILE} cannot say this: {unsaid}",
                f"take it out of registries.{self.registry}.config, or set generated_by: nobody where the "
                "registry is run without gitlab-ctl",
            )

    def observe(self, here: Target) -> Before:
        """Remember which file it was."""
        return {"sha256": sha256(self._on(here).read())}

    def preview(self, here: Target) -> Preview:
        """Show the lines, secrets hidden."""
        node, wanted = self._on(here), self._asked(here)
        if wanted.fragment is None:
            new = proved_checksum(here.world, self.registry, self.node) != sha256(node.read())
            title = f"remember that {node.config_file} on {self.node} means what the site says"
            return Preview(title, changes=new)
        data: dict[str, Json] = {"path": node.config_file, "changes": True, "settings": list(wanted.changed)}
        return Preview(self.title(), True, (Text(_instruction(wanted.fragment)),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the lines, wait, and remember what was proved."""
        wanted = self._asked(here)
        if wanted.fragment is None:
            return self._prove(here, changed=False)
        path = fragment_path(here.world, self.registry, self.node)
        here.run.guard()
        make_folder(os.path.dirname(path), 0o700)
        write_atomically(path, f"{wanted.fragment.text}\n".encode(), 0o600)
        where = f"the lines for {SETTINGS_FILE} are in {path}; put them in, then run: {RECONFIGURE}"
        here.run.emit(Message(where, "warning"))
        if not self.wait:
            done = f"{where}; `regctl config apply {self.registry} --wait 600` waits for it and proves it"
            return StepReport({"fragment": path, "settings": list(wanted.changed)}, warnings=(done,))
        self._wait(here)
        return self._prove(here, changed=True)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Asking again is safe."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Where it was waited for, the file must mean what was asked."""
        wanted = self._asked(here)
        if self.wait and wanted.fragment is not None:
            left = ", ".join(wanted.changed)
            yield Problem(f"{self._on(here).config_file} does not say what was asked: {left}")

    def _wait(self, here: Target) -> None:
        node, deadline = self._on(here), time.monotonic() + self.wait
        first = sha256(node.read())
        while (wanted := self._asked(here)).fragment is not None:
            if here.run.stopping():
                raise InterruptedRunError("stopped waiting; nothing was changed by regctl")
            if time.monotonic() > deadline:
                raise self._late(here, wanted, changed=sha256(node.read()) != first)
            time.sleep(POLL)

    def _late(self, here: Target, wanted: Asked, *, changed: bool) -> RegctlError:
        node, left = self._on(here), ", ".join(wanted.changed)
        how = f"was written anew, but does not say what was asked: {left}" if changed else "was not written"
        return RegctlError(
            f"{node.name}: {node.config_file} {how} within {self.wait} s",
            hint=f"put {fragment_path(here.world, self.registry, self.node)} into {SETTINGS_FILE}, run "
            f"`{RECONFIGURE}`, then the same command again",
        )

    def _prove(self, here: Target, *, changed: bool) -> StepReport:
        """The process must be younger than the file, where one runs: then it means what the file says."""
        node = self._on(here)
        self._restarted(node)
        data = node.read()
        record = record_path(here.world, self.registry, self.node)
        here.run.guard()
        make_folder(os.path.dirname(record), 0o700)
        proof = {
            "sha256": sha256(data),
            "config_file": node.config_file,
            "proved_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        write_atomically(record, json.dumps(proof).encode(), 0o640)
        if changed:
            node.host.remove(fragment_path(here.world, self.registry, self.node))
        return StepReport({"path": node.config_file, "sha256": proof["sha256"]}, changed=changed)

    def _restarted(self, node: NodeDoors) -> None:
        deadline = time.monotonic() + READY.total_seconds()
        while (state := node.service.state()).running:
            if state.since is None or state.since + 1.0 >= node.info().mtime:
                node.client.wait_ready(READY)
                return
            if time.monotonic() > deadline:
                raise RegctlError(
                    f"{node.name}: {node.config_file} says what was asked, but the registry runs without it",
                    hint="restart it: gitlab-ctl restart registry",
                )
            time.sleep(POLL)

    def _asked(self, here: Target) -> Asked:
        return asked_of_site(here.world, self.registry, self.node, self._on(here).read())

    def _on(self, here: Target) -> NodeDoors:
        return NodeDoors(here, self.registry, self.node)


def _instruction(lines: Fragment) -> str:
    where = f"into {SETTINGS_FILE}, in place of the settings of the same name; then: {RECONFIGURE}"
    return f"{where}\n{lines.shown}"
