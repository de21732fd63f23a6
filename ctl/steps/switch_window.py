"""A read-only window in which a node may change its backend, and which opens on the one that was accepted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.model import Text
from ctl.steps.config_plan import shown_diff
from ctl.steps.node_settings import setting_problems, text_with
from ctl.steps.omnibus import is_generated
from ctl.steps.read_only import READ_ONLY_KEY
from ctl.steps.read_only_checks import problems
from ctl.steps.set_settings import forget_kept
from ctl.steps.switch_node import SwitchNode
from ctl.steps.switch_node import Text as FileText

Backend = Literal["database", "filesystem"]


class SwitchWindow(Scope):
    """Within it a node accepts no write. It opens as it was, or switched once `AcceptBackend` said so.

    One decision serves all nodes of the run, so that none opens on another backend than its neighbour. A
    node that was read-only or stopped before is so afterwards.
    """

    registry: str
    node: str
    to: Backend
    values: dict[str, dict[str, Any]]  # the settings of the other backend, secrets as references
    secrets: str  # the folder of the site's secrets
    closed_before: bool = False  # kept read-only since an import: it opens once it is switched

    def title(self) -> str:
        return f"keep {self.registry} on {self.node} read-only until it serves from the {self.to}"

    def host(self) -> str:
        return self.node

    def check(self, here: Target) -> Iterator[Problem]:
        node = self._on(here)
        if is_generated(here.world, self.registry, self.node):
            # The lines for gitlab.rb would be asked for too early here: before what must go before them.
            yield Problem(
                f"{node.name}: {node.config_file} is written by gitlab-ctl, so regctl cannot switch it",
                "`regctl enable-db` asks for what leads into the database, in its turn; nothing asks for the "
                "way back yet: take the registry out of gitlab-ctl's hands for it (generated_by: nobody)",
            )
            return
        yield from problems(node)
        halfway = node.host.stat(node.switched_path(here.run.id)) is not None  # this run's own, resumed
        if not halfway:
            yield from setting_problems(node, self.values, self.secrets, node.recorded())
        if node.service.state().running and node.serves_database() is None:
            yield Problem(
                f"{node.name} does not say which backend it serves (the header of /v2/)",
                "set `credentials` of the registry in the site; only a known user's answer has the header",
            )
        if node.recorded() is not None and not self.closed_before:
            yield Problem(
                f"{node.name} is kept read-only by `regctl read-only on`, whose way back leads to the other "
                "backend",
                "run `regctl read-only off` first; the switch closes the registry by itself",
            )

    def observe(self, here: Target) -> Before:
        return self._on(here).observe_switch(here.run.id, self.values, self.secrets)

    def preview(self, here: Target) -> Preview:
        node = self._on(here)
        data = node.recorded() or node.read()
        changed = text_with(node, data, self.values, self.secrets)
        running = node.service.state().running
        lines = [f"{node.config_file}: {READ_ONLY_KEY}: true meanwhile (the original is kept beside it)"]
        if running:
            lines.append(f"restart {node.name} to close it, to switch it and to open it again, each proved")
        else:
            lines.append(f"{node.name} is stopped and stays so")
        return Preview(
            self.title(),
            data != changed,
            (Text("\n".join(lines)), Text(shown_diff(data, changed, node.config_file))),
            {"restarts": running},
        )

    def apply(self, here: Target, before: Before) -> StepReport:
        node = self._on(here)
        try:
            warnings = node.close_for_switch(before, self.values, self.secrets)
        except RegctlError as error:
            back = partial(self._open, node, before, switched=False)
            raise node.brought_back(before, error, back) from error
        return StepReport({"read_only_before": not before["changes"]}, warnings=tuple(warnings))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # closing again writes and restarts only what is not closed yet

    def verify(self, here: Target) -> Iterator[Problem]:
        try:
            self._on(here).prove_closed()
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def leave(self, here: Target, before: Before) -> StepReport:
        switched = accepted(here, self.registry)
        return self._open(self._on(here), before, switched)

    def _open(self, node: SwitchNode, before: Before, switched: bool) -> StepReport:
        wanted: FileText = "switched" if switched else "closed" if before["recorded"] else "original"
        node.put(before, wanted)
        if wanted == "original":
            node._restore_time(before)
        database = (self.to == "database") is switched
        warnings = node.follow(before, closed=node.is_closed_text(before, wanted), database=database)
        node.forget(before, switched=switched)
        if switched:
            forget_kept(node)  # also where a run that backs out comes to no further step
        return StepReport({"backend": "database" if database else "filesystem"}, warnings=tuple(warnings))

    def _on(self, here: Target) -> SwitchNode:
        return SwitchNode(here, self.registry, self.node)


def accepted(here: Target, registry: str) -> bool:
    """Say whether this run has accepted the new backend of a registry: from then on there is no way back."""
    return here.run.notes("AcceptBackend").get("accepted") == registry
