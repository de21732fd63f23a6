"""The steps between a node's old process and its new one: switch what stands, start, prove."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Text
from ctl.steps.bring_back import prove_answers, write_config
from ctl.steps.node_doors import sha256
from ctl.steps.read_only_node import READY
from ctl.steps.rolling_node import Roll, RollingNode
from ctl.steps.target_program import demand, same_release

_INSTALL = timedelta(minutes=30)  # that the operator's command may take


class _RollStep(Step):
    roll: Roll

    def host(self) -> str:
        return self.roll.node

    def _node(self, here: Target) -> RollingNode:
        return RollingNode(here, self.roll)


class InstallProgram(_RollStep):
    """Run the site's command that puts the target's program on the host, unless it is there already."""

    def title(self) -> str:
        return f"install {self.roll.version} on {self.roll.node}"

    def preview(self, here: Target) -> Preview:
        if same_release(self._node(here).version_at(self.roll.target), self.roll.version):
            return Preview(f"{self.roll.target} on {self.roll.node} is there already", changes=False)
        return Preview(self.title(), True, (Text(" ".join(self.roll.install)),))

    def apply(self, here: Target, before: Before) -> StepReport:
        node = self._node(here)
        if same_release(node.version_at(self.roll.target), self.roll.version):
            return StepReport(changed=False)
        here.run.guard()
        demand(node.host, self.roll.install, f"{self.title()}: failed", _INSTALL)
        return StepReport({"version": self.roll.version})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"  # it looks by itself whether anything is left to do

    def verify(self, here: Target) -> Iterator[Problem]:
        found = self._node(here).version_at(self.roll.target)
        if not same_release(found, self.roll.version):
            yield Problem(
                f"{self.roll.target} on {self.roll.node} is {found or 'not there'} after the site's command, "
                f"and not {self.roll.version}",
                "correct `upgrade` of the node in the site",
            )


class SwitchProgram(_RollStep):
    """Have a stopped node's file and program be the target's. What it had is kept by the way back."""

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"switch {self.roll.registry} on {self.roll.node} to {self.roll.version}"

    def observe(self, here: Target) -> Before:
        node = self._node(here)
        info = node.old.info()
        return {
            "config_file": node.old.config_file,
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
            "sha256": sha256(node.old.read()),
            "ours": sha256(node.host.read(node.paths()["kept_new"])),
        }

    def apply(self, here: Target, before: Before) -> StepReport:
        node, roll = self._node(here), self.roll
        if roll.way == "in-place" and roll.install:
            if not same_release(node.version_at(roll.target), roll.version):
                here.run.guard()
                demand(node.host, roll.install, f"{self.title()}: the site's command failed", _INSTALL)
            if roll.running:
                node.stop()  # a package may have started it again
        self._write(node, before)
        if roll.way == "link" and node.link() != roll.target:
            node.lead_link(roll.target)
        return StepReport({"version": roll.version, "config_changed": before["sha256"] != before["ours"]})

    def _write(self, node: RollingNode, before: Before) -> None:
        data = node.old.read()
        if sha256(data) == before["ours"]:
            return
        if sha256(data) != before["sha256"]:
            raise RefusedError(
                f"{self.roll.name}: {before['config_file']} changed since it was looked at; it is left",
                hint="run the same command again",
            )
        wanted = node.host.read(node.paths()["kept_new"])
        if sha256(wanted) != before["ours"]:
            raise RefusedError(f"{self.roll.name}: what its file is to become was changed; it is left")
        write_config(node, before, wanted)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # each part of it looks whether it is done

    def verify(self, here: Target) -> Iterator[Problem]:
        node = self._node(here)
        found = node.version_at(self.roll.target if self.roll.way != "link" else self.roll.was)
        if not same_release(found, self.roll.version):
            yield Problem(f"{self.roll.name}: its program is {found or 'not there'}, not {self.roll.version}")


class StartNode(_RollStep):
    """Start a node on its new program and wait until it answers."""

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"start {self.roll.registry} on {self.roll.node} with {self.roll.version}"

    def apply(self, here: Target, before: Before) -> StepReport:
        node = self._node(here)
        here.run.guard()
        node.new.service.start()  # nothing happens where it runs already
        node.new.client.wait_ready(READY)
        return StepReport()

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"  # a process that runs is left alone


class ProveNode(_RollStep):
    """Prove a node: the version that its process executes, writes as before, and an image pulled whole."""

    def title(self) -> str:
        return f"prove {self.roll.version} on {self.roll.node}"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def apply(self, here: Target, before: Before) -> StepReport:
        node, noted = self._node(here), here.run.notes("WayBack")
        running = node.running_version()
        if not same_release(running, self.roll.version):
            raise RegctlError(
                f"{self.roll.name}: its process is {running or 'gone'}, not {self.roll.version}",
                hint="see its log: regctl service tail",
            )
        prove_answers(node, str(noted["answers"]))
        sample = noted.get("sample")
        pulled = _pulled(node, sample) if isinstance(sample, list) and sample else 0
        return StepReport(
            {"version": self.roll.version, "answers": noted["answers"], "pulled_bytes": pulled}, changed=False
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"


def _pulled(node: RollingNode, sample: list[object]) -> int:
    """Pull the image that was chosen before, each byte hashed; RegctlError if the node does not serve it."""
    from ctl.catalog.api import pull_tags

    repository, digest = map(str, sample)
    if node.old.client.manifest(repository, digest) is None:
        raise RegctlError(f"{node.roll.name} does not serve {repository}@{digest}, which it served before")
    done = pull_tags(node.old.client, [(repository, digest, digest)], connections=1)
    if done.broken:
        what = done.differences[0]
        raise RegctlError(
            f"{node.roll.name} does not serve {repository}@{digest} whole, as it did before: "
            f"{what.expected}: {what.found}",
            hint="see its log: regctl service tail",
        )
    return done.bytes
