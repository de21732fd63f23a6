"""What an operator does by hand to bring a host of a Pulp to another release, in order. Pure."""

from __future__ import annotations

from ctl.plans.pulp_upgrade_facts import PulpFacts, PulpHost

WHY = (
    "Pulp's packages are the operator's: its plugins, their common pulpcore and the services' units come "
    "from one repository, are installed and started together. regctl installs none of them"
)


def runbook(facts: PulpFacts, host: PulpHost) -> tuple[str, ...]:
    """Return the steps for a host."""
    core = f" with {facts.target_core}" if facts.target_core else ""
    after = bool(facts.brings)
    steps = [
        "keep a backup of its database and of its media folder, of one moment: nothing takes migrations back",
        _services(facts.registry, host, stopping=True) + "; PostgreSQL stays up",
        f"install pulp-container {facts.target}{core}, and every other plugin in a release for that pulpcore",
        f"regctl database migrate up --registry {facts.registry} --node {host.host}",
        _services(facts.registry, host, stopping=False),
        f"regctl content status {facts.registry} --host {host.host}",
    ]
    if after:
        again = ", which tells Katello too" if host.reindex else ""
        steps.append(f"regctl content prepare {facts.registry} --host {host.host}{again}")
    return tuple(steps)


def _services(registry: str, host: PulpHost, *, stopping: bool) -> str:
    verb = "stop" if stopping else "start"
    if host.services:
        order = ", ".join(reversed(host.services) if stopping else host.services)
        return f"regctl service {verb} {registry}/{host.host}, which is in this order: {order}"
    order = "workers, content app, API" if stopping else "API, content app, workers"
    return f"{verb}, in this order: {order}"
