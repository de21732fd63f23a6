"""Write a node's configuration file as the site wants it; take it back byte for byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from ctl.config.ownership import classify
from ctl.config.settings import differences, is_contained
from ctl.errors import ConfigError, Outcome, RefusedError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.config_environment import judged
from ctl.steps.config_plan import ConfigPlan, permissions, plan_config, refuse_unfinished
from ctl.steps.restart_node import restart_if_running

KEPT = 3  # copies of earlier files beside the file, 0600


class WriteConfig(Undoable):
    """Write a node's managed configuration. The file before it is kept beside it, with mode 0600."""

    registry: str
    node: str
    secrets: str  # the folder of the site's secrets
    take_over: bool = False  # write over somebody else's file although it says other things
    overwrite_drift: bool = False  # write over hand edits of a managed file

    def title(self) -> str:
        """Name the file."""
        return f"write the configuration of {self.registry} on {self.node}"

    def host(self) -> str:
        """The node's host."""
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        """The rendering must be right for the binary, and the file must be ours to write."""
        try:
            plan = self._plan(here)
            permissions(here.world, self.registry, self.node, plan.before.info)
        except ConfigError as error:
            yield Problem("; ".join((error.message, *error.details)), hint=error.hint, outcome=Outcome.CONFIG)
            return
        engine, version = here.world.engine(self.registry), here.world.version(self.registry, self.node)
        wrong = [*engine.check_config(plan.settings, version)]
        wrong += judged(here.world, self.registry, self.node, plan.settings)
        for mistake in wrong:
            if mistake.severity == "error":
                what = f"registries.{self.registry}.config: {mistake.path}: {mistake.message}"
                yield Problem(what, hint=mistake.hint, outcome=Outcome.CONFIG)
        yield from self._whose(plan)

    def _whose(self, plan: ConfigPlan) -> Iterator[Problem]:
        before = plan.before
        if before.ownership.state == "generated":
            yield Problem(
                f"{before.path} on {self.node} is written by gitlab-ctl, so regctl does not write it",
                hint=f"`regctl config apply {self.registry}` says what to put into gitlab.rb",
            )
            return
        contained = before.settings is not None and is_contained(before.settings, plan.settings)
        if before.ownership.state == "drifted" and not self.overwrite_drift:
            adopt = f"`regctl config adopt {self.registry}` takes the edits into the site, "
            yield Problem(
                f"{before.path} on {self.node} was edited by hand since regctl wrote it"
                + (" (the site says all that it sets)" if contained else ""),
                hint=f"`regctl config diff {self.registry}` shows it; {'' if contained else adopt}"
                "`regctl config apply --overwrite-drift` writes the file anew",
            )
        if before.ownership.state == "adopted" and not self.take_over:
            if before.settings is None:
                yield Problem(
                    f"{before.path} on {self.node} is not regctl's and cannot be read",
                    hint="`regctl config apply --take-over` replaces it; a copy is kept beside it",
                )
            elif not contained:
                count = sum(1 for _ in differences(before.settings, plan.settings))
                yield Problem(
                    f"{before.path} on {self.node} is not regctl's, and the site differs in {count} settings",
                    hint=f"`regctl config adopt {self.registry}` takes its settings into the site first; "
                    "`regctl config apply --take-over` replaces it by what the site says",
                )

    def observe(self, here: Target) -> Before:
        """Remember the file's hash, mode and owner, and whether the service runs."""
        before = self._plan(here).before
        info = before.info
        return {
            "path": before.path,
            "sha256": _digest(before.data),
            "mode": info.mode if info else 0,
            "owner": info.owner if info else "",
            "group": info.group if info else "",
            "copy": _copy_path(before.path, here.run.id) if before.data is not None else "",
            "running": here.world.service(self.registry, self.node).state().running,
        }

    def preview(self, here: Target) -> Preview:
        """Show the diff, secrets hidden."""
        plan = self._plan(here)
        blocks = (Text(plan.diff()),) if plan.changes else ()
        return Preview(
            self.title(), plan.changes, blocks, {"path": plan.before.path, "changes": plan.changes}
        )

    def apply(self, here: Target, before: Before) -> StepReport:
        """Keep a copy, then replace the file atomically."""
        plan = self._plan(here)
        refuse_unfinished(plan)
        if _digest(plan.before.data) == _digest(plan.wanted):
            return StepReport({"path": plan.before.path}, changed=False)
        if _digest(plan.before.data) != before["sha256"]:
            raise RefusedError(
                f"{plan.before.path} on {self.node} changed since it was looked at; nothing was written",
                hint="run the same command again",
            )
        host = here.world.host(self.node)
        allowed = permissions(here.world, self.registry, self.node, plan.before.info)
        here.run.guard()
        if plan.before.data is not None:
            host.write(str(before["copy"]), plan.before.data, mode=0o600)
        host.write(plan.before.path, plan.wanted, mode=allowed.mode, owner=allowed.owner, group=allowed.group)
        self._prune(here, plan.before.path)
        return StepReport({"path": plan.before.path, "copy": before["copy"]})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Compare the file with what was and what should be."""
        plan = self._plan(here)
        if not plan.changes:
            return "done"
        return "pending" if _digest(plan.before.data) == before["sha256"] else "unknown"

    def verify(self, here: Target) -> Iterator[Problem]:
        """The file must be ours, whole, closed to others, and mean what the site says."""
        plan = self._plan(here)
        if plan.changes or classify(plan.before.data).state != "managed":
            yield Problem(f"{plan.before.path} on {self.node} does not say what the site says")
        elif plan.before.info is None or plan.before.info.mode & 0o037:
            yield Problem(f"{plan.before.path} on {self.node} is open to others")
        elif plan.before.settings is None or any(differences(plan.before.settings, plan.settings)):
            yield Problem(f"{plan.before.path} on {self.node} does not read back as it was written")

    def undo(self, here: Target, before: Before) -> None:
        """Bring back the bytes, the mode and the owner, and start again what ran with them."""
        host, path = here.world.host(self.node), str(before["path"])
        here.run.guard()
        if not before["copy"]:
            host.remove(path)
            return
        current = _digest(_read(here, self.node, path))
        if current != before["sha256"]:
            data = _read(here, self.node, str(before["copy"]))
            if _digest(data) != before["sha256"] or data is None:
                raise RefusedError(
                    f"the copy {before['copy']} is not the file that was; {path} is left as it is"
                )
            host.write(path, data, mode=int(before["mode"]), owner=before["owner"], group=before["group"])
        if before["running"]:
            restart_if_running(here, self.registry, self.node, start=True)

    def _plan(self, here: Target) -> ConfigPlan:
        return plan_config(here.world, self.registry, self.node, self.secrets)

    def _prune(self, here: Target, path: str) -> None:
        """Keep the newest few copies: run ids sort by time."""
        host, folder = here.world.host(self.node), os.path.dirname(path)
        prefix = os.path.basename(_copy_path(path, ""))
        copies = [name for name in host.list_directory(folder) if name.startswith(prefix)]
        for name in sorted(copies)[:-KEPT]:
            host.remove(os.path.join(folder, name))


def _copy_path(path: str, run: str) -> str:
    return f"{path}.before-{run}"


def _digest(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def _read(here: Target, host: str, path: str) -> bytes | None:
    try:
        return here.world.host(host).read(path)
    except FileNotFoundError:
        return None
