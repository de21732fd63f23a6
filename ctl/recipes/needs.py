"""What a recipe demands before it is built, and what its run must lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ctl.errors import RefusedError, UsageError
from ctl.recipes.across import ROLE
from ctl.recipes.model import Step
from ctl.recipes.only_check import OnlyCheck
from ctl.recipes.remedied import Remedied
from ctl.recipes.text import RecipeModel, Requirement

if TYPE_CHECKING:
    from ctl.config.models import Site
    from ctl.world import World


def locked(steps: Iterable[Step], world: World) -> Iterator[str]:
    """Yield what the run must lock: registries and databases in the steps' arguments, a registry's own."""
    registries = world.site.registries
    for step in steps:
        if isinstance(step, OnlyCheck):
            yield from locked([step.inner()], world)
            continue
        if isinstance(step, Remedied):
            yield from locked([step.looking(), step.mending()], world)
            continue
        for kind in ("registry", "database", "pulp"):
            name = getattr(step, kind, None) if kind in type(step).model_fields else None
            if isinstance(name, str) and name:
                yield f"{kind}/{name}"
            if kind == "registry" and name in registries and registries[name].own_database:
                yield f"database/{registries[name].database}"


def demand_remedies(name: str, asked: frozenset[str], there: list[str]) -> None:
    """Raise UsageError where a remedy was asked for that the recipe does not have."""
    from ctl.config.mistakes import did_you_mean

    for one in sorted(asked - set(there)):
        known = did_you_mean(one, there) or "; it has none here"
        raise UsageError(f"{name} has no remedy {one!r}{known}")


def demand_own_version(model: RecipeModel, version: str) -> None:
    """Raise RefusedError where the recipe needs another version of regctl."""
    from packaging.specifiers import SpecifierSet

    for requirement in model.requires:
        if requirement.regctl and not SpecifierSet(requirement.regctl).contains(version, prereleases=True):
            raise RefusedError(
                f"the recipe {model.name} needs regctl {requirement.regctl}; this is {version}",
                hint="install the version that it names, or a recipe for this one",
            )


def demand_roles(model: RecipeModel, site: Site) -> None:
    """Raise RefusedError where the site has fewer hosts of a role than the recipe requires."""
    for one in model.requires:
        if one.role is None:
            continue
        count = sum(host.labels.get(ROLE) == one.role for host in site.hosts.values())
        if count < one.at_least:
            roles = sorted({host.labels[ROLE] for host in site.hosts.values() if ROLE in host.labels})
            what = "no host" if not count else f"only {count} of the {one.at_least} hosts it needs"
            raise RefusedError(
                f"the recipe {model.name} is for hosts of the role {one.role}, and the site has {what}",
                hint=f"a host's role is its label `role`; there are {', '.join(roles) or 'none'}",
            )


def required(one: Requirement) -> dict[str, Any]:
    """Return a requirement as the arguments of its step."""
    names = ("registry", "engine", "version", "feature")
    return {name: getattr(one, name) for name in names if getattr(one, name) is not None}
