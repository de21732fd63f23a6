"""Checks of what the registries stand on: databases, hosts, certificates, runs, this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ctl.errors import RegctlError
from ctl.health.model import Looker, Seen
from ctl.hosts.base import Command
from ctl.probing import NoAnswer

if TYPE_CHECKING:
    from ctl.health.model import Word

SKEW, MUCH_SKEW = 5.0, 60.0  # seconds
SOON, VERY_SOON = timedelta(days=21), timedelta(days=3)  # that a certificate is still good for


def database_reachable(looker: Looker) -> Iterator[Seen]:
    """Each database that the registries use answers; the embedded one may be stopped."""
    databases = looker.view.databases
    if not databases:
        yield Seen("site", "not-applicable", "the registries use no database")
    for name, status in databases.items():
        where = f"database {name}"
        if isinstance(status, NoAnswer):
            yield Seen(where, "failed", status.why, "regctl database status")
        elif status.state == "unreachable":
            yield Seen(where, "failed", status.detail or "it does not answer", "regctl database status")
        elif status.reachable:
            yield Seen(where, "ok", f"PostgreSQL {status.version} answers")
        else:
            yield Seen(where, "ok", f"it is {status.state}; a command that needs it starts it")


def database_migrations(looker: Looker) -> Iterator[Seen]:
    """No migration of a database is pending or unusable."""
    from ctl.steps.database_reports import status_report

    names = [name for name, status in looker.view.databases.items() if getattr(status, "reachable", False)]
    if not names:
        yield Seen("site", "not-applicable", "no database answers that could have migrations")
        return
    found = status_report(looker.world, names).data["databases"]
    assert isinstance(found, Mapping)  # noqa: S101 - of the report's own making
    for name in names:
        yield from _migrations(f"database {name}", name, found[name])
    for registry in looker.view.registries:
        migrations = registry.metadata.migrations if registry.metadata else None
        if migrations and migrations.pending_pre and registry.metadata and registry.metadata.uses_database:
            message = (
                f"it does not start again: {migrations.pending_pre} pre-deployment migrations are pending"
            )
            yield Seen(registry.name, "failed", message, "regctl database migrate up")


def _migrations(where: str, name: str, found: object) -> Iterator[Seen]:
    assert isinstance(found, Mapping)  # noqa: S101
    counts = found.get("migrations")
    pending = counts.get("pending") if isinstance(counts, Mapping) else None
    for text in found.get("trouble") or ():
        yield Seen(where, "warned", str(text), f"regctl database migrate status --database {name}")
    if isinstance(pending, int) and pending:
        yield Seen(where, "warned", f"{pending} migrations are pending", "regctl database migrate up")
    elif pending is None:
        yield Seen(where, "not-applicable", "it holds nothing of regctl's, and no registry's record")
    elif not found.get("trouble"):
        yield Seen(where, "ok", "no migration is pending")


def open_runs(looker: Looker) -> Iterator[Seen]:
    """No run of regctl was cut off and waits to be resumed, and no living one holds a lock in vain."""
    view = looker.view
    for run in view.open_runs:
        if run.id in view.working:
            yield Seen(run.id, "ok", f"{run.recipe} is at work since {run.started_at}")
        else:
            message = f"{run.recipe} began at {run.started_at} and was cut off"
            yield Seen(run.id, "failed", message, f"regctl run resume {run.id}")
    if not view.open_runs:
        yield Seen("site", "ok", "no run is open")


def clock(looker: Looker) -> Iterator[Seen]:
    """The clocks of hosts over SSH agree with this machine's: tokens and times of files depend on it."""
    hosts = {node.host for name in looker.registries for node in looker.world.registry(name).nodes}
    hosts |= {node.host for name in looker.pulps for node in looker.world.pulp(name).nodes}
    far = sorted(host for host in hosts if looker.world.site.hosts[host].connection != "local")
    if not far:
        yield Seen("site", "not-applicable", "every node is on this machine")
    for name in far:
        try:
            yield _skew(name, *_ask_time(looker, name))
        except RegctlError as error:
            yield Seen(name, "failed", error.message, error.hint)


def _ask_time(looker: Looker, name: str) -> tuple[float, float]:
    """Return a host's distance from our clock in seconds, and how far off that may be."""
    host = looker.world.host(name)
    host.run(Command(("true",)))  # the connection is not to count
    asked = time.time()
    result = host.run(Command(("date", "+%s"), timeout=timedelta(seconds=10)))
    answered = time.time()
    text = result.stdout.decode(errors="replace").strip()
    if result.exit_code != 0 or not text.isdigit():
        raise RegctlError(f"{name} does not tell the time: date ended with exit code {result.exit_code}")
    # it was asked for whole seconds: the middle of that second, against the middle of our asking
    return int(text) + 0.5 - (asked + answered) / 2, 0.5 + (answered - asked) / 2


def _skew(name: str, skew: float, doubt: float) -> Seen:
    certain = max(0.0, abs(skew) - doubt)
    word: Word = "failed" if certain > MUCH_SKEW else "warned" if certain > SKEW else "ok"
    if word == "ok":
        return Seen(name, "ok", f"its clock agrees with ours, as far as {doubt:.1f} s can tell")
    way = "ahead of" if skew > 0 else "behind"
    remedy = "keep both by NTP: timedatectl status, chronyc tracking"
    return Seen(name, word, f"its clock is about {abs(skew):.0f} s {way} ours", remedy)


def certificates(looker: Looker) -> Iterator[Seen]:
    """The certificate of each node that is reached over https is good for more than three weeks."""
    world = looker.world
    urls = [
        (f"{name}/{node.host}", node.url) for name in looker.registries for node in world.registry(name).nodes
    ]
    urls += [
        (f"{name}/{node.host}", node.url)
        for name in looker.pulps
        for node in world.pulp(name).nodes
        if node.url is not None
    ]
    secure = [(where, urlsplit(url)) for where, url in urls if url.startswith("https:")]
    for where, parts in secure:
        yield _certificate(where, str(parts.hostname), parts.port or 443)
    if not secure:
        yield Seen("site", "not-applicable", "no node is reached over https")


def _certificate(where: str, host: str, port: int) -> Seen:
    from ctl.http_tls import certificate_ends

    try:
        ends = certificate_ends(host, port)
    except RegctlError as error:
        return Seen(where, "failed", error.message, f"regctl service tail {where}")
    left = ends - datetime.now(UTC)
    text, remedy = f"{ends:%Y-%m-%d %H:%M} UTC", "renew it, then: regctl service restart"
    if left <= timedelta():
        return Seen(where, "failed", f"its certificate has ended on {text}", remedy)
    if left < SOON:
        word: Word = "failed" if left < VERY_SOON else "warned"
        return Seen(where, word, f"its certificate ends on {text}, in {left.days} days", remedy)
    return Seen(where, "ok", f"its certificate is good until {text}")


def controller(looker: Looker) -> Iterator[Seen]:
    """This machine is as regctl needs it: what `regctl doctor` looks at."""
    from ctl import diagnosis

    site = looker.world.site
    findings = [
        *diagnosis.programs_named_regctl(os.environ.get("PATH", "")),
        *diagnosis.python_and_libraries(),
        diagnosis.state_directory(looker.world.state_dir),
        *diagnosis.site_secrets(site),
        *diagnosis.helper_programs(site),
    ]
    if os.path.exists(looker.site_file):
        findings.append(diagnosis.private_file(looker.site_file, "the site file", secret=False))
    words: dict[str, Word] = {"ok": "ok", "warning": "warned", "error": "failed"}
    for finding in findings:
        yield Seen(finding.check, words[finding.level], finding.message, finding.fix)
