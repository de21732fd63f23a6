"""Checks of Pulps: services and API, content that the next release needs prepared, migrations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.engines.pulp_releases import serves_unprepared
from ctl.health.model import Looker, Seen

if TYPE_CHECKING:
    from ctl.steps.content_survey import HostSurvey

_NONE = Seen("site", "not-applicable", "the site has no Pulp")


def pulp_services(looker: Looker) -> Iterator[Seen]:
    """Each Pulp's services run; its API has a database, a worker and a content app, all of one version."""
    for pulp in looker.view.pulps:
        for node in pulp.nodes:
            where = f"{pulp.name}/{node.host}"
            wrong = list(node.problems)
            if node.status is not None and not node.status.redis and _caches(looker, pulp.name, node.host):
                wrong.append("its cache is on, and its API has no connection to Redis")
            for text in wrong:
                yield Seen(where, "failed", text, f"regctl service status {where}")
            if not wrong and not node.services and node.status is None:
                yield Seen(where, "not-applicable", "the site names neither its services nor its url")
            elif not wrong:
                yield Seen(where, "ok", "all of it runs")
    if not looker.pulps:
        yield _NONE


def _caches(looker: Looker, name: str, host: str) -> bool:
    """Say whether a host's settings have what it serves kept in Redis: its API does not tell."""
    return any(one.cache for one in looker.surveys[name] if one.host == host)


def pulp_content(looker: Looker) -> Iterator[Seen]:
    """Nothing of a Pulp's content is left to prepare for its next releases, and nothing of it is broken."""
    for name, hosts in looker.surveys.items():
        for one in hosts:
            yield from _content(name, one)
    if not looker.pulps:
        yield _NONE


def _content(name: str, one: HostSurvey) -> Iterator[Seen]:
    where = f"{name}/{one.host}"
    if one.unreachable:
        yield Seen(where, "failed", one.unreachable)
        return
    if one.remaining is None:
        message = (
            "its release brings nothing to prepare yet: after the upgrade to 2.20, before the one to 2.25"
        )
        yield Seen(where, "not-applicable", message)
        return
    bad = one.broken + one.skipped
    if one.broken:
        verify = f"regctl content verify {name} --host {one.host}"
        yield Seen(where, "failed", f"{one.broken:,} manifests have lost what they are read from", verify)
    if one.skipped:
        verify = f"regctl content verify {name} --host {one.host}"
        yield Seen(where, "warned", f"{one.skipped:,} manifests are passed over by Pulp", verify)
    if one.doable:
        yield _to_do(where, f"regctl content prepare {name} --host {one.host}", one)
    elif not bad:
        yield Seen(where, "ok", f"all of its {one.total:,} manifests are prepared")


def _to_do(where: str, remedy: str, one: HostSurvey) -> Seen:
    if one.container is not None and not serves_unprepared(one.container):
        return Seen(where, "failed", f"{one.doable:,} manifests are not prepared: pulls of them fail", remedy)
    message = f"{one.doable:,} manifests are not prepared: needed before 2.25.0 to 2.26.14, and before 2.27"
    return Seen(where, "warned", message, remedy)


def pulp_migrations(looker: Looker) -> Iterator[Seen]:
    """No migration of a Pulp's schema is pending, and none contradicts another one."""
    for name, hosts in looker.surveys.items():
        plan = f"regctl database migrate plan --registry {name}"
        for one in hosts:
            where = f"{name}/{one.host}"
            if one.unreachable:
                yield Seen(where, "failed", one.unreachable)
            elif one.history:
                yield Seen(where, "failed", f"its migrations contradict each other: {one.history}", plan)
            elif one.pending:
                first = ", ".join(one.pending[:3])
                yield Seen(where, "failed", f"{len(one.pending)} migrations are pending: {first}", plan)
            else:
                yield Seen(where, "ok", "no migration is pending")
    if not looker.pulps:
        yield _NONE
