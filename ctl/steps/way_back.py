"""A node's way back to the program and the file that it had, kept until the new ones are accepted."""

from __future__ import annotations

import os
from collections.abc import Iterator

from packaging.version import Version

from ctl.config.load import load_site
from ctl.config.persist import persist
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.model import Json, Text
from ctl.steps.accept_node import accepted
from ctl.steps.bring_back import bring_back
from ctl.steps.config_plan import shown_diff
from ctl.steps.node_doors import identity, sha256
from ctl.steps.read_only_checks import environment_problems, loaded_problems
from ctl.steps.read_only_record import read_record
from ctl.steps.rolling_node import Roll, RollingNode
from ctl.steps.target_program import mistakes_for, raw_binary, same_release

_COPIES = 3  # of earlier configurations, beside the file


class WayBack(Scope):
    """Within it a node is led to another program; left without acceptance, it is as it was, and proved so.

    The configuration is kept as FILE.before-RUN, the one it becomes beside it, both 0600. Where a package
    replaces the program, a copy of that is kept too.
    """

    roll: Roll

    def title(self) -> str:
        """Name the node and its versions."""
        roll = self.roll
        return f"keep a way back for {roll.registry} on {roll.node} until {roll.version} is proved"

    def host(self) -> str:
        """The node's host."""
        return self.roll.node

    def check(self, here: Target) -> Iterator[Problem]:
        """The program must be there and the file translatable; nothing else may be going on."""
        node, roll = RollingNode(here, self.roll), self.roll
        data = node.old.read()
        if here.run.id and node.host.stat(node.paths()["kept"]) is not None:
            return  # this run's own, resumed: it was looked at
        state = node.old.service.state()
        if state.running is not roll.running:
            yield Problem(
                f"{roll.name} {'runs' if state.running else 'is stopped'} now, and was not so when this was "
                "planned",
                "run the same command again",
            )
        found = node.version_at(roll.target)
        arrives = roll.way == "in-place" and bool(roll.install)
        if not arrives and here.run.id and not same_release(found, roll.version):
            yield Problem(f"{roll.name}: {roll.target} is {found or 'not there'}, not {roll.version}")
        if read_record(here.world.state_dir, roll.registry, roll.node) is not None:
            yield Problem(
                f"{roll.name} is kept read-only by `regctl read-only on`, whose way back is to the old file",
                "run `regctl read-only off` first",
            )
        yield from self._file_problems(node, data)
        yield from environment_problems(node.old, state)
        if state.running:
            yield from loaded_problems(node.old)
            probe = node.old.client.probe_write()
            if probe.state not in ("writable", "read-only"):
                yield Problem(
                    f"{roll.name}: whether it accepts writes cannot be proved: {probe.detail or probe.state}",
                    "set `credentials` of the registry in the site to a user who may push",
                )

    def _file_problems(self, node: RollingNode, data: bytes) -> Iterator[Problem]:
        try:
            changed = node.target_text(data)
        except RegctlError as error:
            yield Problem(f"{self.roll.name}: {error.message}", error.hint, outcome=error.outcome)
            return
        for mistake in mistakes_for(node.old, changed, Version(self.roll.version)):
            yield Problem(
                f"{self.roll.name}: {node.old.config_file}: {mistake.path}: {mistake.message}; "
                f"{self.roll.version} would not start",
                mistake.hint,
            )

    def observe(self, here: Target) -> Before:
        """Describe the node as it is: file, program, process, what it answers, and an image to pull again."""
        node = RollingNode(here, self.roll)
        data, info, state = node.old.read(), node.old.info(), node.old.service.state()
        return {
            **node.paths(),
            "config_file": node.old.config_file,
            "sha256": sha256(data),
            "ours": sha256(node.target_text(data)),
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
            "mtime": info.mtime,
            "link": node.link() if self.roll.way == "link" else "",
            "running": state.running,
            "process": identity(state.process),
            "answers": node.old.client.probe_write().state if state.running else "stopped",
            "sample": list(node.pull_sample()) if state.running else [],
        }

    def preview(self, here: Target) -> Preview:
        """Show the diff of the configuration, secrets hidden."""
        node = RollingNode(here, self.roll)
        data = node.old.read()
        changed = node.target_text(data)
        ways = {
            "site": f"the site names {self.roll.target} as its binary from then on",
            "link": f"{self.roll.was} leads to {self.roll.target} from then on",
            "in-place": f"{self.roll.was} is replaced where it lies",
        }
        blocks = [Text(f"{self.roll.name}: {ways.get(self.roll.way, '')}")]
        if changed != data:
            blocks.append(Text(shown_diff(data, changed, node.old.config_file)))
        facts: dict[str, Json] = {"node": self.roll.node, "version": self.roll.version}
        return Preview(self.title(), True, tuple(blocks), {**facts, "config_changes": changed != data})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Keep what the way back needs."""
        node = RollingNode(here, self.roll)
        data = node.old.read()
        if sha256(data) == before["sha256"]:
            for path, text in ((before["kept_new"], node.target_text(data)), (before["kept"], data)):
                here.run.guard()
                node.host.write(path, text, mode=0o600)
        if self.roll.way == "in-place" and node.host.stat(before["kept_program"]) is None:
            process = node.process()
            node.copy_program(
                f"/proc/{process.pid}/exe" if process else self.roll.was, before["kept_program"]
            )
        here.run.note(answers=before["answers"], sample=list(before["sample"]))
        return StepReport({"kept": before["kept"]})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Keeping it again is safe: only what still stands is kept."""
        return "partial"

    def leave(self, here: Target, before: Before) -> StepReport:
        """Remember the new program in the site where it was accepted; else bring everything back."""
        node = RollingNode(here, self.roll)
        if accepted(here, self.roll):
            self._remember(here)
            self._forget(node, before, keep_config=before["sha256"] != before["ours"])
            return StepReport({"accepted": True, "version": self.roll.version})
        changed = bring_back(node, before)
        self._forget(node, before, keep_config=False)
        warned = (f"{self.roll.name} is back on what it had before",) if changed else ()
        return StepReport({"accepted": False}, changed, warned)

    # -- inside ----------------------------------------------------------------------------------

    def _remember(self, here: Target) -> None:
        if self.roll.way != "site":
            return
        site = load_site(self.roll.site, type(here.world.site)).site
        described = next(
            one for one in site.registries[self.roll.registry].nodes if one.host == self.roll.node
        )
        if described.binary == self.roll.target:
            return
        was = raw_binary(here.world.described(site), self.roll.registry, described)
        here.run.guard()
        moved = {self.roll.node: {"was": was, "binary": self.roll.target}}
        changes = {"registries": {self.roll.registry: {"upgraded": moved}}}
        persist(self.roll.site, changes, type(here.world.site))

    def _forget(self, node: RollingNode, before: Before, *, keep_config: bool) -> None:
        gone = [before["kept_new"], before["kept_program"]]
        gone += [] if keep_config else [before["kept"]]
        for path in gone:
            node.here.run.guard()
            node.host.remove(path)
        folder, name = os.path.split(before["config_file"])
        copies = [one for one in node.host.list_directory(folder) if one.startswith(f"{name}.before-")]
        for old in sorted(copies)[:-_COPIES]:
            node.here.run.guard()
            node.host.remove(os.path.join(folder, old))
