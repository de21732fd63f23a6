"""What keeps a PostgreSQL database from being a metadata database, all of it at once; looks only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome, RegctlError
from ctl.recipes.model import Problem

if TYPE_CHECKING:
    from ctl.config.models import Database as DatabaseModel
    from ctl.database.base import Session
    from ctl.world import World

OLDEST = 150000  # server_version_num: GitLab's registry 4.x refuses an older server
LOCKS = 6400  # `migrate up` of 4.32 locks all partitions of several tables at once; with 2,560 it dies
_LOCAL = ("127.0.0.1", "::1", "localhost")

_LOOK = """
SELECT current_setting('server_version_num')::int,
       current_setting('server_version'),
       pg_is_in_recovery(),
       (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'),
       current_database(),
       current_user::text,
       pg_get_userbyid(d.datdba)::text,
       pg_has_role(current_user, d.datdba, 'USAGE'),
       has_database_privilege(current_database(), 'CREATE'),
       CASE WHEN to_regnamespace('public') IS NOT NULL THEN has_schema_privilege('public', 'CREATE') END,
       current_setting('bytea_output'),
       (SELECT source FROM pg_settings WHERE name = 'bytea_output'),
       current_setting('max_locks_per_transaction')::int,
       current_setting('max_connections')::int,
       current_setting('max_prepared_transactions')::int,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
  FROM pg_database d WHERE d.datname = current_database()
"""
_FOREIGN = """
SELECT n.nspname || '.' || c.relname, pg_get_userbyid(c.relowner)::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('public', 'partitions') AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
   AND NOT pg_has_role(current_user, c.relowner, 'USAGE')
 ORDER BY 1 LIMIT 3
"""
_OTHERS = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('public.schema_migrations')
                      AND a.attname = 'id' AND NOT a.attisdropped)
   AND c.relname NOT IN ('gorp_migrations', 'post_deploy_schema_migrations')
 ORDER BY 1 LIMIT 3
"""


@dataclass(frozen=True)
class DatabaseFacts:
    """What a server says of itself and of the database that we are in."""

    version: int  # server_version_num
    version_text: str
    in_recovery: bool
    read_only: bool  # what a new session's transactions are by default
    database: str
    role: str
    owner: str
    owns: bool  # the role is the owner, a member of it, or a superuser
    may_create_schemas: bool
    may_create_tables: bool | None  # in the schema public; None where there is none
    bytea_output: str
    bytea_source: str
    locks_per_transaction: int
    connections: int
    prepared: int
    encrypted: bool
    foreign: tuple[tuple[str, str], ...] = ()  # (table, owner) that the role cannot change
    others: tuple[str, ...] = ()  # tables of something that is no registry

    @property
    def locks(self) -> int:
        """How many locks the server has room for."""
        return self.locks_per_transaction * (self.connections + self.prepared)


def database_problems(world: World, name: str, *, writing: bool = True) -> Iterator[Problem]:
    """Say what keeps the site's database `name` from serving a registry; looks only, in read-only sessions.

    With `writing` False only what matters to a reader: that it answers and is recent enough. A database
    that cannot be reached gives one problem, whose outcome says why.
    """
    yield from _described(world, name)
    database = world.database(name)
    if database.embedded:
        yield Problem(
            f"database {name} is regctl's embedded one; a registry needs a server of its own",
            "describe the server by host, dbname, user and password under databases",
            outcome=Outcome.CONFIG,
        )
        return
    try:
        # Before the first session that sets anything: behind a transaction pooler it would stay set.
        between = database.pooling()
        if between == "transaction":
            yield _transaction_pooler(name)
            return
        with database.connect(read_only=True) as session:
            facts = look_at(session)
    except RegctlError as error:
        yield Problem(error.message, error.hint, outcome=error.outcome)
        return
    if between == "session":
        yield Problem(
            f"database {name}: a pooler stands between us and the server; it keeps sessions apart, which is "
            "enough for now",
            "give the server's own address, at least to imports and migrations",
            blocking=False,
        )
    yield from judge(facts, name, world.site.databases[name], writing=writing)


def look_at(session: Session) -> DatabaseFacts:
    """Ask a session for all that `judge` needs."""
    row = session.one(_LOOK)
    if row is None:
        raise RegctlError("the server does not know the database that it has let us into")
    foreign = tuple((str(table), str(owner)) for table, owner in session.rows(_FOREIGN))
    others = tuple(str(table) for (table,) in session.rows(_OTHERS))
    values: list[Any] = [*row[:3], row[3] == "on", *row[4:], foreign, others]
    names = [field.name for field in fields(DatabaseFacts)]
    return DatabaseFacts(**dict(zip(names, values, strict=True)))


def judge(
    facts: DatabaseFacts, name: str, described: DatabaseModel, *, writing: bool = True
) -> Iterator[Problem]:
    """Say what is wrong with what `look_at` saw, each with what to do about it. Pure."""
    where = f"database {name}"
    if facts.version < OLDEST:
        yield Problem(
            f"{where}: the server is PostgreSQL {facts.version_text}; GitLab's registry needs 15 or newer",
            "upgrade the server, or name another one under databases",
        )
    yield from _encryption(facts, name, described)
    if not writing:
        return
    yield from _writable(facts, where)
    yield from _rights(facts, where)
    if facts.bytea_output != "hex":
        yield _bytea(facts, where)
    if facts.locks < LOCKS:
        yield Problem(
            f"{where}: the server has room for {facts.locks} locks (max_locks_per_transaction "
            f"{facts.locks_per_transaction} x connections); migrations need about {LOCKS} and would die with "
            "'out of shared memory'",
            f"set max_locks_per_transaction to {-(-LOCKS // max(1, facts.connections + facts.prepared))} "
            "or more in postgresql.conf and restart the server",
        )
    if facts.others:
        yield Problem(
            f"{where} holds tables of something else: {', '.join(facts.others)}",
            "give the registry a database of its own",
        )


def _writable(facts: DatabaseFacts, where: str) -> Iterator[Problem]:
    if facts.in_recovery:
        yield Problem(
            f"{where}: the server is in recovery: it is a replica, which takes no writes",
            "name the primary under databases; a Geo secondary needs a writable database of its own",
        )
    elif facts.read_only:
        yield Problem(
            f"{where}: default_transaction_read_only is on, so that nothing can be written",
            f'ALTER DATABASE "{facts.database}" SET default_transaction_read_only = off (and see the role\'s '
            "and the server's own setting)",
        )


def _rights(facts: DatabaseFacts, where: str) -> Iterator[Problem]:
    if not facts.owns:
        yield Problem(
            f"{where}: {facts.database} belongs to {facts.owner}, and the registry logs in as {facts.role}",
            f'as a superuser: ALTER DATABASE "{facts.database}" OWNER TO "{facts.role}"',
        )
    if not facts.may_create_schemas:
        yield Problem(
            f"{where}: {facts.role} may not create schemas in {facts.database}; migrations create one",
            f'as a superuser: GRANT CREATE ON DATABASE "{facts.database}" TO "{facts.role}"',
        )
    if facts.may_create_tables is None:
        yield Problem(
            f"{where}: there is no schema public in {facts.database}",
            f'as its owner: CREATE SCHEMA public AUTHORIZATION "{facts.role}"',
        )
    elif not facts.may_create_tables:
        yield Problem(
            f"{where}: {facts.role} may not create tables in the schema public (since PostgreSQL 15 only the "
            "database's owner may)",
            f'in that database, as a superuser: GRANT CREATE ON SCHEMA public TO "{facts.role}", or make it '
            "the owner",
        )
    if facts.foreign:
        table, owner = facts.foreign[0]
        yield Problem(
            f"{where}: the table {table} belongs to {owner}, and {facts.role} cannot change it",
            f'as a superuser, in that database: REASSIGN OWNED BY "{owner}" TO "{facts.role}"',
        )


def _bytea(facts: DatabaseFacts, where: str) -> Problem:
    place = {
        "database": "set on the database",
        "user": "set on the role",
        "database user": "set on the role in this database",
        "configuration file": "set in the server's configuration",
    }.get(facts.bytea_source, f"from {facts.bytea_source}")
    return Problem(
        f"{where}: bytea_output is {facts.bytea_output} ({place}); the registry reads digests only as hex",
        f'ALTER DATABASE "{facts.database}" SET bytea_output = \'hex\'; ALTER ROLE "{facts.role}" SET '
        "bytea_output = 'hex'",
    )


def _transaction_pooler(name: str) -> Problem:
    return Problem(
        f"database {name}: a pooler in transaction mode (such as PgBouncer) stands in the way: two sessions "
        "at once are served by one backend; migrations and imports need sessions of their own",
        "give the server's own address and port under databases, or the pooler's in session mode",
    )


def _encryption(facts: DatabaseFacts, name: str, described: DatabaseModel) -> Iterator[Problem]:
    host = described.host or ""
    if not facts.encrypted and host not in _LOCAL and not host.startswith("/"):
        yield Problem(
            f"database {name}: the connection to {host} is not encrypted (sslmode {described.sslmode})",
            "set sslmode: verify-full, and sslrootcert where the server's authority is your own",
            blocking=False,
        )


def _described(world: World, name: str) -> Iterator[Problem]:
    """Find values that the registry's program cannot pass on to its driver."""
    described = world.site.databases[name]
    values: dict[str, str] = {key: getattr(described, key) or "" for key in ("host", "dbname", "user")}
    if described.password:
        try:
            values["password"] = world.resolve_secret(described.password).reveal()
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
    if described.sslrootcert:
        values["sslrootcert"] = described.sslrootcert
    for key, value in values.items():
        wrong = next((word for sign, word in _SIGNS.items() if sign in value), "")
        if wrong:
            yield Problem(
                f"databases.{name}.{key} has {wrong} in it: the registry's program (4.32) garbles it on the "
                "way to its driver, and cannot log in",
                f"choose another {key}, without spaces and backslashes",
                outcome=Outcome.CONFIG,
            )


_SIGNS = {" ": "a space", "\\": "a backslash", "\t": "a tab", "\n": "a line break"}
