"""What GitLab's programs say when they fail, in our words. Pure.

Every text was seen on 4.32.0 unless the line says otherwise; transcripts lie in tests/cases/gitlab/.
"""

from __future__ import annotations

import re

from ctl.engines.metadata import ProgramFailure

_SECRET = re.compile(r"(?i)(password=)(\S+)|(://[^:/@\s]+:)([^@\s]+)(@)")
_LOGGED = re.compile(r'\b(?:error|err)="(?P<error>(?:[^"\\]|\\.)*)"')
_CHATTER = re.compile(r'time="[^"]*" level=(?:info|debug) ')  # the program logs its own steps there too
_LONGEST = 500
_RERUN = "what was applied stays, and running it again goes on from there"

# kind, pattern in the program's words, our message, what to do. The first that fits wins.
_KNOWN: tuple[tuple[str, str, str, str], ...] = (
    (
        "password",
        r"password authentication failed for user \"(?P<what>[^\"]*)\"|28P01|28000",
        "the database refuses the login of {what}",
        "compare user and password in the registry's configuration with the server's; a password with a "
        "space or a backslash cannot work, because the program's driver misreads it",
    ),
    (
        "no-database",
        r"database \"(?P<what>[^\"]*)\" does not exist|3D000",
        "there is no database {what} on the server",
        "create it, owned by the registry's user, or correct database.dbname",
    ),
    (
        "unknown-host",
        r"hostname resolving error: lookup (?P<what>\S+).*no such host|no such host",
        "the name of the database's host, {what}, is not known",
        "correct database.host, or the name service of the registry's host",
    ),
    (
        "refused",
        r"dial tcp (?P<what>\S+): connect: connection refused|connection refused",
        "nobody listens at {what}",
        "is PostgreSQL running there, and are database.host and database.port right?",
    ),
    (
        "timeout",
        r"context deadline exceeded|i/o timeout|connection timed out",
        "the database's host does not answer in time",
        "a firewall that drops packets looks like this; check the way from the registry's host to it",
    ),
    (
        "unreachable",
        r"no route to host|network is unreachable|connection reset by peer|unexpected EOF"
        r"|57P0[123]|the database system is (?:starting up|shutting down)",
        "the connection to the database was lost, or is not possible",
        f"see that PostgreSQL is up and reachable, then run it again: {_RERUN}",
    ),
    (
        "too-many-connections",
        r"too many (?:clients already|connections)|remaining connection slots|53300",
        "the database server has no connection left",
        "raise its max_connections, or lower database.pool.maxopen of the registries",
    ),
    (
        "locks",
        r"out of shared memory|53200|max_locks_per_transaction",
        "the database server's lock table is too small for these migrations",
        "set max_locks_per_transaction = 256 or more on the server and restart it; "
        f"about 6,400 locks are needed, and {_RERUN}",
    ),
    (
        "disk-full",
        r"53100|No space left on device",
        "the disk of the database server is full",
        f"make room there; {_RERUN}",
    ),
    (
        "permission",
        r"permission denied for (?P<what>(?:schema|database|table|relation) \S+)"
        r"|must be owner of (?P<other>.*?) \(SQLSTATE|42501",
        "the registry's database user may not do this: {what}",
        "let that user own the database: ALTER DATABASE ... OWNER TO ...; since PostgreSQL 15 only the owner "
        "may create tables",
    ),
    (
        "read-only",
        r"read-only transaction|25006|read-only mode \(in recovery\)|is in recovery",
        "the database takes no changes: it is a replica, or default_transaction_read_only is set",
        "point the registry at the primary; migrations run there alone",
    ),
    (
        "newer-database",
        r"because of (?P<what>\d{14}_\w+): unknown migration in database",
        "a newer program has migrated this database: {what} is not known to this one",
        "install the version that did, or a newer one; an older program may serve, but cannot migrate",
    ),
    (
        "gap",
        r"because of : unknown migration with version id (?P<what>\d+)",
        "migration {what} is missing below others that are applied, and the program cannot fill such a gap",
        "install the version that applied the later ones, or restore the row that was removed from "
        "the bookkeeping table",
    ),
    (
        "background",
        r"background migration: \[(?P<what>[^\]]*)\]: background migration must be complete",
        "a migration needs finished background migrations: {what}",
        "run `regctl database background run`, then migrate again",
    ),
    (
        "needs-post",  # from the source; no shipped migration declares this
        r"required post-deploy schema migration (?P<what>\S+) not yet applied and can not be skipped",
        "a migration needs the post-deployment migration {what}, which was to be skipped",
        "migrate without --skip-post-deployment",
    ),
    (
        "needs-pre",  # from the source; no shipped migration declares this
        r"cannot be applied until the following pre-deploy migrations? (?:is|are) applied:? ?(?P<what>.*)",
        "a post-deployment migration needs pre-deployment ones first: {what}",
        "migrate without --post-limit",
    ),
    (
        "null-index",
        r"NULL index is required for NULL batching strategy",
        "the background migrations need indexes that only post-deployment migrations create",
        "run `regctl database migrate up` in full first",
    ),
    (
        "not-migrated",
        r"there are pending database migrations|relation \"(?P<what>[^\"]*)\" does not exist|42P01",
        "the database lacks migrations",
        "run `regctl database migrate up`",
    ),
    (
        "concurrent",
        r"duplicate key value violates unique constraint \"(?:pg_type_typname_nsp_index|"
        r"(?:post_deploy_)?schema_migrations_pkey)\"|relation \"(?P<what>[^\"]*)\" already exists",
        "somebody else is migrating this database at the same time",
        "let the other finish; then this one has nothing left to do",
    ),
    (
        "old-postgres",
        r"lower than the minimal supported version (?P<what>[\d.]+)",
        "the database server is too old: {what} is the least",
        "upgrade PostgreSQL first",
    ),
    (
        "tls",
        r"tls: |x509: |server refused TLS|SSL is not enabled",
        "the TLS connection to the database fails",
        "compare database.sslmode, sslrootcert and the server's certificate",
    ),
    (
        "config",
        r"configuration error: |configuration path unspecified|error parsing |failed to parse configuration",
        "the program cannot read its configuration",
        "`regctl config check` says what is wrong with it",
    ),
)


def explain(stderr: str) -> ProgramFailure:
    """Say why a call failed, from what it printed on stderr.

    The cause stands in the last line; where that is only a log record, its error field counts, and then
    those before it. `kind` is "other" for words that we do not know, "silent" where there are none.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not _CHATTER.match(line)]
    if not lines:
        hint = "it was ended from outside, or has printed nothing; run it by hand to see more"
        return ProgramFailure("silent", "the program ended without a word", hint, "")
    last = _plain(lines[-1])
    for candidate in [last, *(_error_of(line) for line in reversed(lines[-20:]))]:
        if candidate and (found := _known(candidate, last)):
            return found
    message = last.rsplit(": ", 1)[-1] if len(last) > _LONGEST else last
    hint = "these are the program's own words; --verbose shows all of them"
    return ProgramFailure("other", message[:_LONGEST], hint, last[:_LONGEST])


def _known(text: str, last: str) -> ProgramFailure | None:
    for kind, pattern, message, hint in _KNOWN:
        if match := re.search(pattern, text):
            named = next((value for value in match.groupdict().values() if value), "")
            said = message.format(what=named) if named else _unnamed(message)
            return ProgramFailure(kind, said, hint, last[:_LONGEST])
    return None


def _unnamed(message: str) -> str:
    """Drop the place of a name that the program did not give."""
    return re.sub(r"[:,]? ?(?:of |at )?\{what\},?", "", message)


def _error_of(line: str) -> str:
    match = _LOGGED.search(line)
    return _plain(match["error"].replace('\\"', '"')) if match else ""


def _plain(line: str) -> str:
    """Hide what could be a password; the program's driver does so too, but one line may be anybody's."""
    return _SECRET.sub(
        lambda match: f"{match[1]}***" if match[1] else f"{match[3]}***{match[5]}",
        line,
    )
