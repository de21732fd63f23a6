"""What a recipe requires of a registry before anything else is looked at: engine, version, feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator

from ctl.config.mistakes import did_you_mean
from ctl.errors import Outcome
from ctl.recipes.model import Look, Problem, Target


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError('must be versions as in ">=4.30" or ">=4.30,<5"') from None
    return text


class RequireEngine(Look):
    """Refuse a registry whose engine, program or features are not what a recipe was written for."""

    registry: str
    engine: str | None = None
    version: Annotated[str, AfterValidator(_specifier)] | None = None  # of the program, on every node
    feature: str | None = None  # of the engine's table, on every node

    def title(self) -> str:
        wanted = " ".join(filter(None, (self.engine, self.version, self.feature and f"with {self.feature}")))
        return f"see that {self.registry} is {wanted or 'there'}"

    def check(self, here: Target) -> Iterator[Problem]:
        engine = here.world.engine(self.registry)
        if self.engine is not None and engine.name != self.engine:
            yield Problem(
                f"{self.registry} is run by the engine {engine.name}; this recipe is for {self.engine}",
                "choose another recipe: `regctl recipe list`",
            )
            return
        if self.version is None and self.feature is None:
            return
        for node in here.world.registry(self.registry).nodes:
            yield from self._node(here, node.host)

    def _node(self, here: Target, host: str) -> Iterator[Problem]:
        name = f"{self.registry} on {host}"
        version = here.world.version(self.registry, host)
        if self.version is not None and not SpecifierSet(self.version).contains(version, prereleases=True):
            yield Problem(f"{name} is version {version}; this recipe is for {self.version}")
        if self.feature is None:
            return
        features = here.world.engine(self.registry).features(version)
        if self.feature not in features:
            yield Problem(
                f"the engine of {name} knows no feature {self.feature!r}"
                + did_you_mean(self.feature, sorted(features)),
                outcome=Outcome.CONFIG,
            )
        elif not features[self.feature]:
            yield Problem(f"{name} is version {version}, which has not got {self.feature}")
