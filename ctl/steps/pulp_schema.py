"""How the schema of a Pulp's host stands, as a value, and what keeps it from being migrated. Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.engines.pulp_migrations import EXPIRES, LiveService, explained_history
from ctl.engines.pulp_releases import CONTAINER, CORE
from ctl.errors import CommandFailedError, Outcome, RegctlError, UnreachableError
from ctl.recipes.model import Problem
from ctl.steps.pulp_doors import ask_one, pulp_node, pulp_nodes

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode
    from ctl.hosts.base import Host
    from ctl.recipes.model import Target
    from ctl.world import World

_MANY = 6  # names in a sentence
SESSION = "regctl-migrate"  # what the sessions of a migration that regctl began are called in PostgreSQL
DEFAULT_SETTINGS = "/etc/pulp/settings.py"  # of Pulp, where no PULP_SETTINGS is set
_AWAY = ("OperationalError", "InterfaceError")


@dataclass(frozen=True)
class HostSchema:
    """The schema of one host's database, as the code that is installed there sees it."""

    registry: str
    host: str
    versions: Mapping[str, str]  # what is installed, by Pulp's own names of its parts
    newest: Mapping[str, str]  # the last applied migration of `core` and `container`
    pending: tuple[str, ...] = ()
    count: int = 0  # of applied migrations
    newer: tuple[str, ...] = ()  # applied, by newer code than what is installed
    code: int | None = 0  # of `migrate --check`; None: it raised, `why`
    why: str = ""
    services: tuple[LiveService, ...] = ()  # that live, looked for where something is pending
    silent: str = ""  # why nobody can tell which live
    preparing: bool = False  # somebody prepares its content now
    migrating: int = 0  # sessions of a migration that some regctl began
    server: str = ""  # PostgreSQL's version
    applied: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # (migration, time), in order

    @property
    def name(self) -> str:
        """What names this database among the others in a report."""
        return f"{self.registry}/{self.host}"

    @property
    def up_to_date(self) -> bool | None:
        """Whether nothing is pending; None where its history cannot be read by the installed code."""
        return None if self.code is None else not self.pending and self.code == 0

    @property
    def version(self) -> str:
        """The last applied migrations of both parts, "" for none."""
        return " ".join(f"{part}.{self.newest[part]}" for part in ("core", "container") if self.newest[part])

    @property
    def strangers(self) -> tuple[LiveService, ...]:
        """Processes that live and run other versions than what is installed."""
        return tuple(one for one in self.services if one.others(self.versions))


def look(world: World, registry: str, host: str, *, applied: bool = False) -> HostSchema:
    """Ask one host; UnreachableError where its database is away, CommandFailedError where it is no Pulp."""
    try:
        answer = ask_one(world, registry, host, "schema", {"applied": applied, "session": SESSION})
    except CommandFailedError as error:
        if any(word in line for line in (error.message, *error.details) for word in _AWAY):
            raise UnreachableError(error.message, hint=error.hint, details=error.details) from error
        raise
    return HostSchema(
        registry,
        host,
        answer["versions"],
        answer["newest"],
        tuple(answer["pending"]),
        answer["count"],
        tuple(answer["newer"]),
        answer["code"],
        answer["why"],
        tuple(
            LiveService(one["kind"], one["name"], one["versions"], one["expires_seconds"])
            for one in answer["services"]
        ),
        answer["silent"],
        answer["preparing"],
        answer["migrating"],
        answer["server"],
        tuple((one, when) for one, when in answer.get("applied", ())),
    )


def look_at_all(
    world: World, registry: str, hosts: Sequence[str] = (), *, applied: bool = False
) -> dict[str, HostSchema | RegctlError]:
    """Ask all hosts at once; one that has no answer comes with its error. The server stands first."""
    from ctl.probing import NoAnswer, ask
    from ctl.steps.pulp_doors import PATIENCE

    def one(host: str) -> HostSchema | RegctlError:
        try:
            return look(world, registry, host, applied=applied)
        except RegctlError as error:
            return error

    nodes = pulp_nodes(world, registry, hosts)
    answers: dict[str, Any] = ask(
        {node.host: partial(one, node.host) for node in nodes}, PATIENCE.total_seconds()
    )
    return {
        host: RegctlError(f"{registry} on {host}: {found.why}") if isinstance(found, NoAnswer) else found
        for host, found in answers.items()
    }


def problems(found: HostSchema) -> Iterator[Problem]:
    """Yield what keeps this schema from being migrated, or trusted, as far as the database itself tells."""
    where = found.name
    if found.newer:
        yield Problem(
            f"{where}: its database was migrated by a newer Pulp than what is installed: {few(found.newer)}",
            "install that release again, or restore the backup from before it",
        )
    if found.code is None:
        failure = explained_history(found.why, found.newest, found.versions)
        yield Problem(f"{where}: {failure.message}", failure.hint)
    elif (found.code == 0) != (not found.pending):
        yield Problem(
            f"{where}: `migrate --check` ends with {found.code}, and {len(found.pending)} migrations are "
            "planned: they contradict each other",
            "run `pulpcore-manager migrate --plan` there",
        )


def busy(found: HostSchema) -> Iterator[Problem]:
    """Yield what must rest or end before pending migrations may be applied."""
    where = found.name
    if not found.pending:
        return
    if found.preparing:
        yield Problem(
            f"{where}: its content is being prepared",
            f"wait for it, or end it: regctl content prepare {found.registry} --abort",
            outcome=Outcome.LOCKED,
        )
    if found.migrating:
        yield Problem(
            f"{where}: a migration is at work in its database, or its last statement is",
            "wait for it; one that waits for a lock ends with whoever holds that",
            outcome=Outcome.LOCKED,
        )
    if found.silent:
        yield Problem(f"{where}: nobody can tell which of its services live: {found.silent}")
    for one in found.strangers:
        other = one.others(found.versions)
        yield Problem(
            f"{where}: the {_KINDS.get(one.kind, one.kind)} {one.name} lives and runs {_parts(other)}; "
            f"installed is {_parts({part: found.versions[part] for part in other})}",
            f"stop it; {EXPIRES}, this one in {one.expires:.0f} s",
        )


def _parts(versions: Mapping[str, str]) -> str:
    """Name the versions of the two parts that matter here; of the others only where they are all."""
    named = [part for part in (CONTAINER, CORE) if part in versions] or sorted(versions)
    return ", ".join(f"{part} {versions[part]}" for part in named)


_KINDS = {"api": "API process", "content": "content app", "worker": "worker"}


def running_services(here: Target, found: HostSchema) -> Iterator[Problem]:
    """Yield the node's services that run, where nothing shows that they run what is installed.

    A process that lost its database is no longer among those that live, and goes on with its old code when
    the database is back. So a running service is only passed over where all that live run what is installed.
    """
    from ctl.steps.service_of_host import RunService

    if not found.pending or (found.services and not found.strangers):
        return
    node = pulp_node(here.world, found.registry, found.host)
    for service in node.services:
        step = RunService(
            host_name=node.host, kind=service.kind, name=service.name, verb="stop", settle_seconds=0
        )
        try:
            runs = bool(step.observe(here)["running"])
        except RegctlError as error:
            yield Problem(
                f"{found.name}: whether {service.name} runs is not known: {error.message}", error.hint
            )
            continue
        if runs:
            yield Problem(
                f"{found.name}: {service.name} runs, and nothing shows that it runs what is installed",
                f"stop it until the schema is migrated: regctl service stop {found.registry}/{found.host}",
            )


def api_answers(world: World, found: HostSchema) -> Iterator[Problem]:
    """Yield what the API of the node tells where it answers: it is up, and not what is installed, or mute."""
    from ctl.engines.pulp_status import read_status

    node = pulp_node(world, found.registry, found.host)
    if not found.pending or node.url is None:
        return
    stop = (
        f"stop its services until the schema is migrated: regctl service stop {found.registry}/{found.host}"
    )
    try:
        status = read_status(world.pulp_client(found.registry, found.host).status())
    except UnreachableError:
        return  # it is down, as it should be
    except RegctlError as error:
        yield Problem(f"{found.name}: its API is up, and cannot say what it runs: {error.message}", stop)
        return
    known = {one.name for one in found.services}
    said = [LiveService("api", node.url, status.versions)]
    said += [LiveService(one.kind, one.name, one.versions) for one in status.apps if one.name not in known]
    for one in said:
        if other := one.others(found.versions):
            runs = _parts(other)
            yield Problem(
                f"{found.name}: {one.name} is up and runs {runs}, which is not what is installed", stop
            )


def already_migrating(world: World, node: PulpNode) -> Iterator[Problem]:
    """Yield that somebody's `migrate` is at work on the host already: two of them would cross each other."""
    host = world.host(node.host)
    for process in host.processes():
        words = process.argv
        if node.manager not in words or "migrate" not in words or {"--check", "--plan"} & set(words):
            continue
        if _settings_of(host, process.pid) in (node.settings_file, ""):
            yield Problem(
                f"{node.host}: somebody migrates already (process {process.pid})",
                "wait for it to end",
                outcome=Outcome.LOCKED,
            )


def _settings_of(host: Host, pid: int) -> str:
    """Return which settings a process of Pulp works with; "" where we may not know."""
    try:
        words = host.read(f"/proc/{pid}/environ").decode(errors="replace").split("\0")
    except (RegctlError, OSError):
        return ""
    named = [word.partition("=")[2] for word in words if word.startswith("PULP_SETTINGS=")]
    return named[0] if named else DEFAULT_SETTINGS


def few(ids: Sequence[str], count: int = _MANY) -> str:
    """Name a few, and say how many more there are."""
    more = f" and {len(ids) - count} more" if len(ids) > count else ""
    return ", ".join(ids[:count]) + more
