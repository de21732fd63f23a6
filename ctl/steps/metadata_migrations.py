"""What a metadata database has of the program's migrations, and what it lacks; only reads.

Computed from the bookkeeping tables by SQL and from the program's `up --dry-run`, never from `status -u`,
which judges one of the two kinds. The program creates its bookkeeping tables whenever it is asked, so it is
asked only where they are there already, and never on a standby.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.engines.metadata import MigrationLimits, PendingMigrations, ProgramFailure
from ctl.errors import ConfigError, Outcome
from ctl.recipes.model import Problem

if TYPE_CHECKING:
    from ctl.catalog.metadata_schema import InvalidIndex, SchemaState
    from ctl.config.models import Node, Site
    from ctl.world import World

_ASK = timedelta(minutes=1)  # a plan takes less than 0.1 s; a silent host costs its connect timeout


@dataclass(frozen=True)
class MetadataMigrations:
    """What is applied and pending for one registry's program on its metadata database."""

    registry: str
    database: str
    host: str
    state: SchemaState
    pending: PendingMigrations | None  # None: the program was not asked, or did not answer; see `reason`
    reason: str = ""
    failure: ProgramFailure | None = None  # what the program said instead of a plan
    unknown: tuple[str, ...] = ()  # applied by a newer program than this one
    unconfigured: bool = False  # the node's file names no database at all: its program cannot be asked
    unnamed: tuple[str, ...] = ()  # the kinds, "pre" or "post", of which all is pending and nothing is named

    @property
    def gaps(self) -> tuple[str, ...]:
        """Pending ids below the newest applied one of their kind: planned, but never applied."""
        if self.pending is None:
            return ()
        newest_pre = max(self.state.pre_ids, default="")
        newest_post = max(self.state.post_ids, default="")
        return tuple(
            [one for one in self.pending.pre if one < newest_pre]
            + [one for one in self.pending.post if one < newest_post]
        )

    @property
    def up_to_date(self) -> bool | None:
        """Whether nothing is pending of what was asked for; None where nobody can tell."""
        if self.unnamed:
            return False
        return not self.pending.ids if self.pending is not None else None

    @property
    def complete(self) -> bool:
        """Whether `pending` names all that is pending."""
        return self.pending is not None and not self.unnamed


def pending(world: World, registry: str, limits: MigrationLimits | None = None) -> PendingMigrations:
    """Return what `up` would apply; empty where nothing is pending.

    RegctlError where nobody can tell: an empty database (its names are not known before the program has
    created its tables), a standby, a newer database, a program that failed.
    """
    from ctl.errors import RegctlError

    found = look_at_migrations(world, registry, limits=limits)
    if found.pending is None or not found.complete:
        failure = found.failure
        raise RegctlError(
            f"database {found.database}: what is pending cannot be told: {found.reason}",
            hint=failure.hint if failure else "run `regctl database migrate status`",
        )
    return found.pending


def look_at_migrations(
    world: World, registry: str, host: str = "", limits: MigrationLimits | None = None
) -> MetadataMigrations:
    """Look at a registry's metadata database and ask the program of one node, the first unless `host`.

    Raises ConfigError where the node's configuration names another database than the site, and
    UnreachableError where the database does not answer.
    """
    from ctl.catalog.metadata_schema import read_schema
    from ctl.steps.metadata_doors import metadata_database

    limits = limits or MigrationLimits()
    database = metadata_database(world, registry)
    node = migrating_node(world, registry, host)
    with database.connect(read_only=True) as session:
        state = read_schema(session)
    found = MetadataMigrations(registry, database.name, node.host, state, None)
    if state.read_only:
        return replace(found, reason="it takes no writes, and the program cannot even be asked there")
    if not configured(world, registry, node):
        reason = (
            f"{node.config_file} on {node.host} names no metadata database, so the program cannot be asked"
        )
        return replace(found, reason=reason, unconfigured=True)
    demand_same_database(world, registry, node)
    return _asked_where_possible(world, found, node, limits)


def _asked_where_possible(
    world: World, found: MetadataMigrations, node: Node, limits: MigrationLimits
) -> MetadataMigrations:
    """Ask for the kinds that are meant and have their table: asking creates a missing one."""
    pre = limits.post is None or limits.pre is not None
    post = not limits.skip_post and (limits.pre is None or limits.post is not None)
    unnamed = tuple(
        kind
        for kind, meant, applied in (("pre", pre, found.state.pre), ("post", post, found.state.post))
        if meant and applied is None
    )
    if unnamed:
        kinds = " and ".join(f"{kind}-deployment" for kind in unnamed)
        text = f"nothing of the {kinds} migrations was ever applied, so all that the program has are pending"
        found = replace(found, unnamed=unnamed, reason=text)
    if "pre" in unnamed or (not pre and "post" in unnamed):
        return found
    if "post" in unnamed:
        limits = MigrationLimits(pre=limits.pre, skip_post=True)
    return _asked(world, found, node, limits)


def _asked(
    world: World, found: MetadataMigrations, node: Node, limits: MigrationLimits
) -> MetadataMigrations:
    from ctl.steps.metadata_doors import programs
    from ctl.steps.registry_program import program

    known = programs(world, found.registry)
    command = known.migrate_up_command(node.binary, node.config_file, limits, dry_run=True)
    result = world.host(node.host).run(program(world, found.registry, node.host, command, _ASK))
    stdout, stderr = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    if result.exit_code == 0:
        return replace(found, pending=known.parse_plan(stdout))
    failure = known.explain(stderr)
    if result.timed_out:
        failure = ProgramFailure(
            "timeout", f"the program did not answer within {_ASK.total_seconds():.0f} s", "", ""
        )
    unknown = _unknown(world, found.registry, node) if failure.kind == "newer-database" else ()
    return replace(found, reason=failure.message, failure=failure, unknown=unknown)


def _unknown(world: World, registry: str, node: Node) -> tuple[str, ...]:
    """Ask for the ids that the program does not know: its status table marks them."""
    from ctl.engines import gitlab_migrations
    from ctl.steps.registry_program import program

    command = gitlab_migrations.status_command(node.binary, node.config_file)
    result = world.host(node.host).run(program(world, registry, node.host, command, _ASK))
    rows = gitlab_migrations.parse_status(result.stdout.decode(errors="replace"))
    return tuple(row.id for row in rows if row.unknown)


def migrating_node(world: World, registry: str, host: str = "") -> Node:
    """Return the node whose program migrates: the one named, else the one that collects garbage too."""
    from ctl.steps.collection import collecting_node

    return world.node(registry, host) if host else collecting_node(world, registry)


def metadata_registries(site: Site) -> dict[str, tuple[str, ...]]:
    """Return {database: registries} of every metadata database of the site, in the site's order."""
    found: dict[str, list[str]] = {}
    for name, registry in site.registries.items():
        if registry.engine == "gitlab" and registry.database is not None:
            found.setdefault(registry.database, []).append(name)
    return {database: tuple(names) for database, names in found.items()}


def configured(world: World, registry: str, node: Node) -> bool:
    """Say whether a node's file names a metadata database, switched on or not."""
    from ctl.steps.collection import node_config
    from ctl.steps.metadata_doors import programs

    return bool(programs(world, registry).database_settings(node_config(world, registry, node)))


def unconfigured(registry: str, node: Node) -> ConfigError:
    """Return the error for a node whose file names no metadata database."""
    return ConfigError(
        f"{registry}/{node.host}: {node.config_file} names no metadata database",
        hint=f"`regctl enable-db {registry}` turns it on; `regctl config apply {registry}` writes what "
        "the site already says",
    )


def demand_same_database(world: World, registry: str, node: Node) -> None:
    """Raise ConfigError unless the node's program connects to the database that the site names.

    Otherwise our lock and our looks would be at another place than its work. Names of hosts may differ, as
    a machine has several; the port and the name of the database may not.
    """
    from ctl.steps.collection import node_config
    from ctl.steps.metadata_doors import programs

    where = f"{registry}/{node.host}: {node.config_file}"
    if not configured(world, registry, node):
        raise unconfigured(registry, node)
    section = programs(world, registry).database_settings(node_config(world, registry, node))
    described = world.site.databases[world.registry(registry).database or ""]
    wanted = {"dbname": described.dbname, "port": described.port}
    given = {"dbname": section.get("dbname"), "port": section.get("port") or 5432}
    for key, value in wanted.items():
        if str(given[key]) != str(value):
            raise ConfigError(
                f"{where} has database.{key} {given[key]}, and the site has {value}",
                hint=f"correct databases.{world.registry(registry).database} in the site, or the file",
            )


def migration_problems(found: MetadataMigrations) -> Iterator[Problem]:
    """Say what keeps migrations from being applied, as far as the bookkeeping and the program tell."""
    name = found.database
    if found.unknown or (found.failure and found.failure.kind == "newer-database"):
        ids = ", ".join(found.unknown) or found.reason
        yield Problem(
            f"database {name} was migrated by a newer program than {found.registry}/{found.host} runs; "
            f"not known to this one: {ids}",
            "install the version that did, or a newer one. To go back to an older one, run it as it is: "
            "it serves, and needs no migration",
        )
    elif found.failure is not None:
        failure = found.failure
        yield Problem(
            f"the program on {found.host} cannot plan the migration of {name}: {failure.message}",
            failure.hint,
            outcome=Outcome.UNREACHABLE if failure.kind in UNREACHABLE else Outcome.REFUSED,
        )
    if found.gaps:
        yield Problem(
            f"database {name} lacks migrations below others that are applied: {', '.join(found.gaps)}; "
            "the program plans them, and then refuses every migration",
            "either a row was removed from the bookkeeping, or this version brought a migration with an "
            "older date: install a version that lists it as applied, or restore the bookkeeping's row",
        )


def newer_programs(world: World, registry: str, host: str) -> Iterator[Problem]:
    """Warn where another node runs a newer program: it may know migrations that this one does not."""
    nodes = world.registry(registry).nodes
    if len(nodes) < 2:
        return
    mine = world.version(registry, host)
    newer = [
        f"{one.host} has {version}"
        for one in nodes
        if one.host != host and (version := world.version(registry, one.host)) > mine
    ]
    if newer:
        yield Problem(
            f"{registry}: the program on {host} is {mine}, and {', '.join(newer)}: that one may bring more "
            "migrations",
            "name the node with the newest program with --node",
            blocking=False,
        )


UNREACHABLE = frozenset({"refused", "timeout", "unknown-host", "unreachable", "too-many-connections"})


def index_problems(state: SchemaState, database: str) -> Iterator[Problem]:
    """Name each unfinished index with the SQL that repairs it; `--skip invalid-indexes` passes over them."""
    for index in state.broken_indexes:
        yield Problem(
            f"database {database}: index {index.full_name} on {index.table} is not valid, so no query uses "
            "it: its creation was cut off"
            + (", or one of its parts is invalid" if index.partitioned else ""),
            f"`regctl database repair-indexes --database {database}` builds it anew; by hand: "
            + "; ".join(repair_statements(index)),
            name="invalid-indexes",
        )


def repair_statements(index: InvalidIndex) -> tuple[str, ...]:
    """Return the SQL that repairs an invalid index, for people; see `ctl.steps.repair_indexes`."""
    if index.partitioned:
        return (f"repair its parts, then: ALTER INDEX {index.full_name} ATTACH PARTITION <a part>",)
    attach = (f"ALTER INDEX {index.parent} ATTACH PARTITION {index.full_name}",) if index.parent else ()
    return (f"REINDEX INDEX CONCURRENTLY {index.full_name}", *attach)
