"""Look at every host of a Pulp before an upgrade: two questions to each, side by side. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ctl.engines import pulp_releases as releases
from ctl.engines.pulp_migrations import explained_history
from ctl.errors import RegctlError, UsageError
from ctl.plans.pulp_upgrade_facts import PulpFacts, PulpHost
from ctl.plans.pulp_upgrade_rules import SKIPPABLE

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.config.pulp import PulpNode
    from ctl.steps.content_survey import HostSurvey
    from ctl.steps.pulp_schema import HostSchema
    from ctl.world import World


def demand_skips(names: tuple[str, ...], reason: str) -> dict[str, str]:
    """Return what is passed over, and why; UsageError for a name that no check has, or without a reason."""
    from difflib import get_close_matches

    if names and not reason.strip():
        raise UsageError("--skip needs --skip-reason", hint="say why, for whoever reads the plan")
    for name in names:
        if name not in SKIPPABLE:
            near = get_close_matches(name, SKIPPABLE, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"no check of this plan has the name {name!r}",
                hint=f"{meant}checks that can be skipped: {', '.join(SKIPPABLE)}",
            )
    return dict.fromkeys(names, reason.strip())


def look(world: World, registry: str, target: Version, skips: Mapping[str, str]) -> PulpFacts:
    """Ask every host what is installed, what is pending, what lives, and what is left to prepare."""
    from ctl.steps.content_survey import survey
    from ctl.steps.pulp_doors import pulp_nodes
    from ctl.steps.pulp_schema import look_at_all

    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(survey, world, registry)
        schemas = look_at_all(world, registry)
        surveys = {one.host: one for one in asked.result()}
    hosts = tuple(
        _host(node, surveys[node.host], schemas[node.host], target) for node in pulp_nodes(world, registry)
    )
    return PulpFacts(
        registry,
        target,
        hosts,
        releases.core_text(target),
        releases.serves_unprepared(target),
        releases.was_tried(target),
        releases.repairs_by_sync(target),
        _brings(hosts, target),
        skips,
    )


def _host(node: PulpNode, survey: HostSurvey, schema: HostSchema | RegctlError, target: Version) -> PulpHost:
    away = survey.unreachable or (schema.message if isinstance(schema, RegctlError) else "")
    services = tuple(one.name for one in node.services)
    if away or isinstance(schema, RegctlError):
        return PulpHost(node.host, node.role, unreachable=away, services=services)
    container, core = survey.container, survey.core
    history = remedy = ""
    if schema.code is None:
        failure = explained_history(schema.why, schema.newest, schema.versions)
        history, remedy = failure.message, failure.hint
    return PulpHost(
        node.host,
        node.role,
        container,
        core,
        survey.total,
        survey.remaining,
        survey.doable,
        survey.named.get("artifactless-manifests"),
        survey.hindered,
        survey.estimated_seconds,
        schema.pending,
        history,
        remedy,
        schema.newer,
        tuple(f"{one.kind} {one.name}" for one in schema.strangers),
        services,
        node.reindex is not None,
        container is None or releases.serves_unprepared(container),
        container is None or releases.is_fixed(container),
        survey.mode != "none",
        releases.skipped_releases(container, core, target) if container is not None else "",
    )


def _brings(hosts: tuple[PulpHost, ...], target: Version) -> tuple[str, ...]:
    oldest = min((host.container for host in hosts if host.container is not None), default=None)
    if oldest is None:
        return ()
    return tuple(
        one.name for one in releases.PRE_MIGRATIONS if one.since is not None and oldest < one.since <= target
    )
