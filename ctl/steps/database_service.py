"""Start and stop the embedded database."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ctl.database.base import Database
from ctl.errors import Outcome
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Text

_SESSIONS = """
    SELECT application_name, count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1
"""
# PostgreSQL lists a session for a moment after its program has ended, for seconds on a busy machine.
SETTLE = 2.0
_POLL = 0.2


def _lasting_sessions(database: Database) -> list[tuple[str, int]]:
    """Return program and number of the sessions that are still there after SETTLE seconds."""
    deadline = time.monotonic() + SETTLE
    while True:
        with database.connect(read_only=True) as session:  # anew: a transaction sees one state of them
            found = [(str(name), int(count)) for name, count in session.rows(_SESSIONS)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_POLL)


def in_words(state: str) -> str:
    """Return a state of DatabaseStatus as the end of a sentence."""
    return "does not exist yet" if state == "missing" else f"is {state}"


class StartDatabase(Step):
    """Start the embedded database, and create it where there is none. An external one is only looked at."""

    database: str

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"start database {self.database}"

    def observe(self, here: Target) -> Before:
        """Note whether it runs."""
        return {"state": here.world.database(self.database).status().state}

    def preview(self, here: Target) -> Preview:
        """Say whether it would be created or started."""
        database = here.world.database(self.database)
        state = database.status().state
        changes = database.embedded and state in ("stopped", "missing")
        what = "would be created and started" if state == "missing" else "would be started"
        text = f"database {self.database} {in_words(state)}" + (f"; it {what}" if changes else "")
        return Preview(self.title(), changes, (Text(text),), {"database": self.database, "state": state})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Start it; several callers start it once."""
        database = here.world.database(self.database)
        if not database.embedded:
            return StepReport(
                {"database": self.database, "started": False},
                changed=False,
                not_applicable="not regctl's to start",
            )
        started = database.ensure_started()
        return StepReport({"database": self.database, "started": started}, changed=started)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Starting again finds it running, or goes on with it."""
        return "done" if here.world.database(self.database).status().reachable else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Connect to it."""
        status = here.world.database(self.database).status()
        if not status.reachable:
            yield Problem(
                f"database {self.database} does not answer: {status.detail}",
                hint="the server's own log stands in server.log in its folder",
                outcome=Outcome.UNREACHABLE,
            )


class StopDatabase(Step):
    """Stop the embedded database. Open transactions are rolled back, so nobody may be at work in it."""

    database: str

    skippable = ("sessions",)

    def title(self) -> str:
        """Say in a few words what it does and to what."""
        return f"stop database {self.database}"

    def check(self, here: Target) -> Iterator[Problem]:
        """Look for sessions that it would cut off."""
        database = here.world.database(self.database)
        if not database.embedded:
            yield Problem(
                f"database {self.database} is not regctl's own: it is stopped where it runs",
                outcome=Outcome.USAGE,
            )
            return
        if database.status().state != "running":
            return
        for application, count in _lasting_sessions(database):
            who = application or "an unnamed program"
            yield Problem(
                f"database {self.database} is in use: {count} session(s) of {who}",
                hint="let them end, or pass over it with --skip sessions --skip-reason WHY",
                name="sessions",
            )

    def observe(self, here: Target) -> Before:
        """Note whether it runs."""
        return {"state": here.world.database(self.database).status().state}

    def preview(self, here: Target) -> Preview:
        """Say whether there is anything to stop."""
        state = here.world.database(self.database).status().state
        text = f"database {self.database} {in_words(state)}"
        changes = state not in ("stopped", "missing")
        return Preview(self.title(), changes, (Text(text),), {"database": self.database, "state": state})

    def apply(self, here: Target, before: Before) -> StepReport:
        """Stop it and prove it."""
        stopped = here.world.database(self.database).stop()
        return StepReport({"database": self.database, "stopped": stopped}, changed=stopped)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """A stop that was cut off is simply done again."""
        return "done" if here.world.database(self.database).status().state == "stopped" else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Look for its process."""
        state = here.world.database(self.database).status().state
        if state not in ("stopped", "missing"):
            yield Problem(f"database {self.database} is still {state}", outcome=Outcome.FAILED)
