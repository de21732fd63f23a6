"""Make the role and the database that a registry keeps its metadata in, through an administrator's login."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from ctl.errors import ConfigError, Outcome, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.database_checks import OLDEST, database_problems

if TYPE_CHECKING:
    from ctl.config.models import Database as DatabaseModel
    from ctl.database.base import Session
    from ctl.database.provisioning import ServerState

HEX = "hex"


class ProvisionDatabase(Undoable):
    """Create the role and the database of the site's `database`, as the registry needs them.

    What is there already is kept: a role must accept the site's password, a database must belong to it.
    Undone, what this run has made goes again, and a database only while it is empty.
    """

    database: str  # by its name in the site
    admin: str  # a database of the site whose login may create roles and databases

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"make the role and the database of databases.{self.database}, as databases.{self.admin}"

    def check(self, here: Target) -> Iterator[Problem]:
        wanted = self._wanted(here)
        admin = here.world.site.databases.get(self.admin)
        if admin is None:
            known = ", ".join(sorted(here.world.site.databases))
            yield Problem(
                f"the site has no database {self.admin!r}", f"it has {known}", outcome=Outcome.USAGE
            )
            return
        if (admin.host, admin.port) != (wanted.host, wanted.port):
            yield Problem(
                f"databases.{self.admin} is at {admin.host}:{admin.port}, databases.{self.database} at "
                f"{wanted.host}:{wanted.port}",
                "both must be the same server",
                outcome=Outcome.CONFIG,
            )
            return
        try:
            with here.world.database(self.admin).connect(read_only=True) as session:
                state = self._state(here, session)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        yield from self._server(state)
        yield from self._there_already(here, state)

    def observe(self, here: Target) -> Before:
        with here.world.database(self.admin).connect(read_only=True) as session:
            state = self._state(here, session)
        return {
            "role": state.can_login is not None,
            "database": state.owner is not None,
            "bytea_role": state.bytea_role,
            "bytea_database": state.bytea_database,
        }

    def preview(self, here: Target) -> Preview:
        before, wanted = self.observe(here), self._wanted(here)
        lines = []
        if not before["role"]:
            known = "with the password of the site" if wanted.password else "without a password"
            lines.append(f"create the role {wanted.user}, {known}")
        if not before["database"]:
            lines.append(f"create the database {wanted.dbname}, UTF-8, owned by {wanted.user}")
        for key, name in (("bytea_role", wanted.user), ("bytea_database", wanted.dbname)):
            if before[key] != HEX:
                lines.append(f"set bytea_output = 'hex' on {key.removeprefix('bytea_')} {name}")
        return Preview(self.title(), bool(lines), (Text("\n".join(lines)),) if lines else ())

    def apply(self, here: Target, before: Before) -> StepReport:
        from ctl.database import provisioning as make

        wanted = self._wanted(here)
        role, dbname = wanted.user or "", wanted.dbname or ""
        done: list[str] = []
        with here.world.database(self.admin).connect() as session:
            state = self._state(here, session)
            if state.can_login is None:
                password = here.world.resolve_secret(wanted.password) if wanted.password else None
                here.run.guard()
                make.create_role(session, role, password)
                done.append(f"role {role}")
            if state.owner is None:
                here.run.guard()
                make.create_database(session, dbname, role)
                done.append(f"database {dbname}")
            if state.bytea_role != HEX:
                make.set_bytea(session, role)
                done.append("bytea_output of the role")
            if state.bytea_database != HEX:
                make.set_bytea(session, role, database=dbname)
                done.append("bytea_output of the database")
        return StepReport({"made": done}, changed=bool(done))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"  # applying again makes only what is missing

    def verify(self, here: Target) -> Iterator[Problem]:
        yield from database_problems(here.world, self.database)

    def undo(self, here: Target, before: Before) -> None:
        from ctl.database import provisioning as make

        wanted = self._wanted(here)
        role, dbname = wanted.user or "", wanted.dbname or ""
        with here.world.database(self.admin).connect() as session:
            state = self._state(here, session)
            if state.owner is not None and not before["database"]:
                self._demand_empty(here, dbname)
                here.run.guard()
                make.drop_database(session, dbname, role)
            elif state.owner is not None and state.bytea_database != before["bytea_database"]:
                make.set_bytea(session, role, database=dbname, value=before["bytea_database"])
            if state.can_login is not None and not before["role"]:
                here.run.guard()
                make.drop_role(session, role)
            elif state.can_login is not None and state.bytea_role != before["bytea_role"]:
                make.set_bytea(session, role, value=before["bytea_role"])

    # -- inside ----------------------------------------------------------------------------------

    def _wanted(self, here: Target) -> DatabaseModel:
        wanted = here.world.site.databases[self.database]
        if not (wanted.host and wanted.dbname and wanted.user):
            raise ConfigError(
                f"databases.{self.database} does not say what to make",
                hint="it needs host, dbname, user and password",
            )
        return wanted

    def _state(self, here: Target, session: Session) -> ServerState:
        from ctl.database.provisioning import server_state

        wanted = self._wanted(here)
        return server_state(session, wanted.user or "", wanted.dbname or "")

    def _server(self, state: ServerState) -> Iterator[Problem]:
        where = f"database {self.admin}"
        if state.version < OLDEST:
            yield Problem(
                f"{where}: the server is PostgreSQL {state.version_text}; GitLab's registry needs 15 or newer"
            )
        if state.in_recovery:
            yield Problem(f"{where}: the server is in recovery: it is a replica", "name the primary")
        if not state.may_create:
            yield Problem(
                f"{where}: {state.user} may not create roles and databases",
                f'as a superuser: ALTER ROLE "{state.user}" CREATEROLE CREATEDB, or name another login',
            )

    def _there_already(self, here: Target, state: ServerState) -> Iterator[Problem]:
        from ctl.database.provisioning import LONGEST_NAME

        wanted = self._wanted(here)
        for key, name in (("user", wanted.user or ""), ("dbname", wanted.dbname or "")):
            if len(name.encode()) > LONGEST_NAME:
                yield Problem(
                    f"databases.{self.database}.{key} is longer than {LONGEST_NAME} bytes, and the server "
                    "would cut it",
                    outcome=Outcome.CONFIG,
                )
        if state.owner is not None and state.owner != wanted.user:
            yield Problem(
                f"database {self.database}: {wanted.dbname} is there and belongs to {state.owner}",
                f'give it to the registry, as a superuser: ALTER DATABASE "{wanted.dbname}" OWNER TO '
                f'"{wanted.user}", or choose another dbname',
            )
        if state.can_login is False:
            yield Problem(
                f"database {self.database}: the role {wanted.user} is there and may not log in",
                f'as a superuser: ALTER ROLE "{wanted.user}" LOGIN, or choose another user',
            )
        elif state.can_login:
            yield from self._password(here, wanted)

    def _password(self, here: Target, wanted: DatabaseModel) -> Iterator[Problem]:
        """The server asks for the password before it looks for the database."""
        from ctl.database.errors import NoConnectionError

        try:
            here.world.database(self.database).connect(read_only=True).close()
        except NoConnectionError as error:
            if error.kind != "no-database":
                yield Problem(
                    f"the role {wanted.user} is there, and cannot log in as the site says: {error.message}",
                    f'{error.hint}; regctl changes no role that it has not made: ALTER ROLE "{wanted.user}" '
                    "PASSWORD ..., by hand",
                    outcome=error.outcome,
                )

    def _demand_empty(self, here: Target, dbname: str) -> None:
        from ctl.database.provisioning import is_empty

        with here.world.database(self.database).connect(read_only=True) as session:
            if not is_empty(session):
                raise RegctlError(
                    f"the database {dbname}, which this run has made, is no longer empty; it is kept",
                    hint="look at what is in it; drop it by hand if nobody needs it",
                )
