"""What keeps a Pulp from being upgraded: every reason at once, each with what to do about it. Pure.

What no release will serve, or what would be lost on the way, blocks. Nothing passes over work that can
still be done; only what is lost anyway may be accepted as lost, by its name and with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ctl.plans.pulp_upgrade_facts import PulpFacts, PulpHost, is_done

BROKEN_NAME = "broken-content"  # of the checks that may be passed over
MIXED_NAME = "mixed-versions"
SKIPPABLE = (BROKEN_NAME, MIXED_NAME)
_SHOWN = 4


@dataclass(frozen=True)
class PulpBlock:
    """Why it may not begin; `name` where an operator may pass over it by `--skip NAME`."""

    host: str  # "" for all of them
    message: str
    hint: str = ""
    name: str = ""
    unreachable: bool = False
    content: bool = False  # it is about content that is not prepared


def blocked(facts: PulpFacts) -> Iterator[PulpBlock]:
    """Yield what stands in the way, host by host."""
    for host in facts.hosts:
        if host.unreachable:
            yield PulpBlock(
                host.host,
                f"{host.host} cannot be asked: {host.unreachable}",
                "every host must be seen before one is upgraded: what is left on it would be lost unseen",
                unreachable=True,
            )
            continue
        yield from _release_blocked(facts, host)
        yield from _schema_blocked(facts, host)
        if not facts.target_serves:
            yield from _content_blocked(facts, host)
    yield from _mixed_blocked(facts)


def _release_blocked(facts: PulpFacts, host: PulpHost) -> Iterator[PulpBlock]:
    if host.container is None:
        yield PulpBlock(host.host, f"{host.host}: which release is installed could not be told")
        return
    if is_done(host, facts.target):
        return
    if host.container > facts.target:
        yield PulpBlock(
            host.host,
            f"{host.host}: {host.container} is installed, and {facts.target} is older: Pulp has no way back",
            "restore a backup from before its upgrade instead",
        )
    elif host.through:
        yield PulpBlock(
            host.host,
            f"{host.host}: the way from {host.container} to {facts.target} skips a release: {host.through}",
            "plan that step first: regctl upgrade plan, with --to a release of that line",
        )


def _schema_blocked(facts: PulpFacts, host: PulpHost) -> Iterator[PulpBlock]:
    where = host.host
    if host.history:
        yield PulpBlock(where, f"{where}: {host.history}", host.remedy)
    if host.newer:
        yield PulpBlock(
            where,
            f"{where}: its database was migrated by a newer release than what is installed: {host.newer[-1]}",
            "install that release again, or restore the backup from before it",
        )
    elif host.pending and not is_done(host, facts.target):
        yield PulpBlock(
            where,
            f"{where}: {len(host.pending)} migrations of the installed {host.container} are not applied: the "
            "next release may build on them",
            f"regctl database migrate up --registry {facts.registry} --node {where}",
        )


def _content_blocked(facts: PulpFacts, host: PulpHost) -> Iterator[PulpBlock]:
    """The target fails on what is not prepared: with work left it waits, whatever else is accepted."""
    where, here = host.host, is_done(host, facts.target)
    fails = "fail now" if here else f"would fail on {facts.target}"
    if host.remaining is None and (host.pending or host.history):
        if host.total:
            yield PulpBlock(
                where,
                f"{where}: its {host.total:,} manifests can be prepared once its schema is migrated: pulls "
                f"of them {fails}",
                f"then: regctl content prepare {facts.registry} --host {where} --to {facts.target}",
                content=True,
            )
        return
    if host.remaining is None:
        if host.total:
            yield PulpBlock(
                where,
                f"{where}: none of its {host.total:,} manifests can be prepared by {host.container}, and "
                f"pulls of them {fails}",
                "upgrade to a release of 2.20 to 2.24 first, and prepare them there",
                content=True,
            )
        return
    if host.doable:
        if not host.can_prepare:
            hint = f"{host.container} has no code for it: go through 2.20 to 2.24, and prepare there"
        else:
            hint = f"regctl content prepare {facts.registry} --host {where} --to {facts.target}"
        yield PulpBlock(
            where,
            f"{where}: {host.doable:,} of {host.total:,} manifests are not prepared: pulls of those whose "
            f"text is still in a file {fails}",
            hint,
            content=True,
        )
    if host.stuck and host.at_risk:
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(host.hindered.items()))
        yield PulpBlock(
            where,
            f"{where}: {host.stuck:,} manifests cannot be prepared ({reasons or 'nobody knows why'}): pulls "
            f"of {host.at_risk:,} {fails}",
            f"regctl content verify {facts.registry} names each with its remedy; where they may be lost: "
            f"--skip {BROKEN_NAME} --skip-reason WHY",
            BROKEN_NAME,
            content=True,
        )


def _mixed_blocked(facts: PulpFacts) -> Iterator[PulpBlock]:
    """A server and proxies of several releases: allowed while the target is rolled out, server first."""
    known = [host for host in facts.hosts if host.container is not None and not host.unreachable]
    left = [host for host in known if not is_done(host, facts.target)]
    if len({host.container for host in left}) > 1:
        said = ", ".join(f"{host.host} {host.container}" for host in left[:_SHOWN])
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        yield PulpBlock(
            "",
            f"{facts.registry}: its hosts have several releases before they begin: {said}{more}",
            f"bring them to one release first, or --skip {MIXED_NAME} --skip-reason WHY",
            MIXED_NAME,
        )
    server = next((host for host in known if host.role == "server"), None)
    ahead = [host.host for host in known if _ahead(host, server)]
    if server is not None and ahead:
        yield PulpBlock(
            "",
            f"{facts.registry}: {', '.join(ahead)} has a newer release than the server {server.host} "
            f"({server.container})",
            f"upgrade the server next: a proxy follows it; or --skip {MIXED_NAME} --skip-reason WHY",
            MIXED_NAME,
        )


def _ahead(host: PulpHost, server: PulpHost | None) -> bool:
    if server is None or host is server or host.container is None or server.container is None:
        return False
    return host.container > server.container


def states_mixed(facts: PulpFacts) -> str:
    """Name the state in which hosts have several releases; "" where they have one."""
    known = [host for host in facts.hosts if host.container is not None and not host.unreachable]
    releases = sorted({host.container for host in known if host.container is not None})
    if len(releases) < 2:
        return ""
    said = "; ".join(
        f"{release} on {', '.join(host.host for host in known if host.container == release)}"
        for release in releases
    )
    return f"mixed: the hosts have several releases now: {said}"
