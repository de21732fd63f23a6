"""See that a registry's nodes would come up again with the files that they have."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.errors import Outcome
from ctl.recipes.model import Look, Problem, Target
from ctl.steps.config_plan import read_config


class RestartCleanly(Look):
    """Refuse a registry of which a node would not start again: no file, no program, a mistake it dies of."""

    registry: str

    def title(self) -> str:
        return f"see that the nodes of {self.registry} would start again"

    def check(self, here: Target) -> Iterator[Problem]:
        for node in here.world.registry(self.registry).nodes:
            yield from self._node(here, node.host)

    def _node(self, here: Target, host: str) -> Iterator[Problem]:
        name, node = f"{self.registry}/{host}", here.world.node(self.registry, host)
        if here.world.host(host).stat(node.binary) is None:
            yield Problem(
                f"{name}: its program {node.binary} is not there",
                "install it, or correct `binary` of the node in the site",
                outcome=Outcome.CONFIG,
            )
            return
        file = read_config(here.world, self.registry, host)
        if file.settings is None:
            why = file.mistakes[0].message if file.mistakes else "it is not there"
            yield Problem(f"{name}: {file.path}: {why}; it would not start again", outcome=Outcome.CONFIG)
            return
        version = here.world.version(self.registry, host)
        for mistake in here.world.engine(self.registry).check_config(file.settings, version):
            if mistake.fatal:
                yield Problem(
                    f"{name}: {file.path}: {mistake.path}: {mistake.message}; it would not start again",
                    mistake.hint,
                    outcome=Outcome.CONFIG,
                )
