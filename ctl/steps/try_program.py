"""A new program started for a moment with its new file: what would end at once is told before any roll."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.engines.upgrades import upgrades_of
from ctl.errors import CommandFailedError
from ctl.hosts.base import Command
from ctl.hosts.services import last_words
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target
from ctl.report.model import Text
from ctl.steps.rolling_node import Roll, RollingNode

if TYPE_CHECKING:
    from ctl.hosts.base import Result

_SECONDS = 2  # that it must live; what is wrong with a file ends it within a tenth of one
_SURVIVED = 124  # what timeout(1) ends with when it had to end the program


class TryProgram(Step):
    """Start the target with the file that it will get, over no storage, on a free port of the loopback.

    The binaries take a wrong key without a word and panic on others: only starting one tells. It stores
    nothing and ends by itself after a moment, also if regctl is killed.
    """

    roll: Roll

    def title(self) -> str:
        """Name the node."""
        return f"try {self.roll.version} with the configuration of {self.roll.registry} on {self.roll.node}"

    def host(self) -> str:
        """The node's host."""
        return self.roll.node

    def preview(self, here: Target) -> Preview:
        """Nothing stays changed."""
        text = Text("over an empty storage in memory, on a free port of the loopback, for a moment")
        return Preview(self.title(), False, (text,))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Start it; CommandFailedError with its last words where it ends by itself."""
        node = RollingNode(here, self.roll)
        settings = self._settings(node)
        if settings is None:
            return StepReport(changed=False, not_applicable="this engine cannot be tried without its storage")
        try:
            result = self._tried(node, settings)
        finally:
            node.host.remove(self._path(node))
        if result.exit_code != _SURVIVED:
            words = (result.stdout + result.stderr).decode(errors="replace").splitlines()
            raise CommandFailedError(
                f"{self.roll.target} on {self.roll.node} does not serve with {node.old.config_file} as it "
                f"would be: it ended with exit code {result.exit_code}",
                hint="nothing was changed; correct the file or `config` in the site, then run this again",
                details=last_words(words, 5),
            )
        return StepReport(changed=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Trying again is safe."""
        return "pending"

    def settle(self, here: Target, before: Before) -> None:
        """The program ends by itself; its file goes."""
        node = RollingNode(here, self.roll)
        node.host.remove(self._path(node))

    def _settings(self, node: RollingNode) -> dict[str, Any] | None:
        upgrades = upgrades_of(node.old.engine)
        if upgrades is None:
            return None
        return upgrades.trial(node.old.parsed(node.target_text(node.old.read())).data)

    def _tried(self, node: RollingNode, settings: dict[str, Any]) -> Result:
        import yaml

        path, user = self._path(node), node.old.node.user
        data = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()
        node.here.run.guard()
        node.host.write(path, data, mode=0o600, owner=user)
        command = node.old.engine.serve_command(self.roll.target, path, Version(self.roll.version))
        argv = ("timeout", "-k", "2", str(_SECONDS), *command.argv)
        limit = timedelta(seconds=30)
        return node.host.run(Command(argv, env=command.env, user=user, timeout=limit))

    def _path(self, node: RollingNode) -> str:
        folder, name = os.path.split(node.old.config_file)
        return os.path.join(folder, f".{name}.regctl-trial-{node.here.run.id}")
