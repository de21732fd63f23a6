"""The database steps by themselves: what they note, what a resume does again, where they stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ctl.config.models import Database as DatabaseConfig
from ctl.database import open_database
from ctl.database.advisory import demand_direct
from ctl.database.base import Database, Session
from ctl.errors import InterruptedRunError, LockedError, Outcome, RefusedError
from ctl.recipes.model import Target
from ctl.report.events import Event, Message
from ctl.secret import Secret
from ctl.steps.database_service import StartDatabase, StopDatabase
from ctl.steps.database_state import shipped
from ctl.steps.migrate import MigrateDown, MigrateUp
from tests.support.embedded import run_program
from tests.support.postgres import DatabaseAddress

pytestmark = pytest.mark.postgres


@dataclass
class OneDatabase:
    """A world that has a database and nothing else."""

    only: Database

    def database(self, name: str) -> Database:
        assert name == self.only.name
        return self.only


@dataclass
class Asked:
    """A run that stops, or loses its claim, after so many questions."""

    stops_after: int = 1000
    fenced_after: int = 1000
    events: list[Event] = field(default_factory=list)
    questions: int = 0

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def stopping(self) -> bool:
        self.questions += 1
        return self.questions > self.stops_after

    def guard(self) -> None:
        if self.questions > self.fenced_after:
            raise LockedError("another controller took over")


@pytest.fixture
def database(database_address: DatabaseAddress) -> Database:
    config = DatabaseConfig(
        host=database_address.socket_folder,
        port=database_address.port,
        dbname=database_address.name,
        user=database_address.user,
    )
    return open_database("outside", config, state_dir="/nonexistent", run=run_program, resolve_secret=Secret)


def target(database: Database, run: Asked | None = None) -> Target:
    return Target(cast(Any, OneDatabase(database)), cast(Any, run or Asked()))


IDS = [one.id for one in shipped()]
UP = MigrateUp(database="outside")


def test_up_applies_what_was_noted_and_says_how_far_it_came(database: Database) -> None:
    here = target(database)
    before = UP.observe(here)
    assert before == {"ids": IDS}
    assert UP.probe(here, before) == "pending"
    assert [problem.outcome for problem in UP.verify(here)] == [Outcome.FAILED]
    MigrateUp(database="outside", limit=1).apply(here, {"ids": IDS[:1]})
    assert UP.probe(here, before) == "partial"
    report = UP.apply(here, before)
    assert report.data["applied"] == IDS[1:]
    assert UP.probe(here, before) == "done"
    assert list(UP.verify(here)) == []
    assert UP.apply(here, before).changed is False
    assert UP.preview(here).changes is False


def test_a_resumed_down_takes_back_no_more_than_was_noted(database: Database) -> None:
    here = target(database)
    UP.apply(here, UP.observe(here))
    down = MigrateDown(database="outside", limit=1, accept_data_loss=True)
    before = down.observe(here)
    assert before == {"ids": IDS[-1:]}
    assert down.apply(here, before).data["taken_back"] == IDS[-1:]
    assert down.probe(here, before) == "done"
    assert down.apply(here, before).data["taken_back"] == []
    assert UP.observe(here) == {"ids": IDS[-1:]}
    fresh = down.observe(here)  # the control: what a second look would take back instead
    assert fresh == {"ids": IDS[-2:-1]}


def test_a_stop_comes_between_two_migrations(database: Database) -> None:
    run = Asked(stops_after=1)
    here = target(database, run)
    with pytest.raises(InterruptedRunError, match=IDS[1]):
        UP.apply(here, {"ids": IDS})
    assert [event.text for event in run.events if isinstance(event, Message)] == [
        f"database outside: applying {IDS[0]}"
    ]
    assert UP.observe(here) == {"ids": IDS[1:]}


def test_a_run_that_lost_its_claim_applies_nothing_more(database: Database) -> None:
    here = target(database, Asked(fenced_after=1))
    with pytest.raises(LockedError, match="another controller"):
        UP.apply(here, {"ids": IDS})
    assert UP.observe(here) == {"ids": IDS[1:]}


def test_an_unusable_index_is_found_afterwards(database: Database) -> None:
    here = target(database)
    UP.apply(here, UP.observe(here))
    with database.connect() as session:
        session.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'regctl.tags_pkey'::regclass"
        )
    assert ["index tags_pkey is not usable" in problem.message for problem in UP.verify(here)] == [True]


def test_an_external_database_is_not_ours_to_start_or_stop(database: Database) -> None:
    here = target(database)
    start = StartDatabase(database="outside")
    assert start.preview(here).changes is False
    assert start.apply(here, {}).not_applicable
    assert [problem.outcome for problem in StopDatabase(database="outside").check(here)] == [Outcome.USAGE]


class Pooled:
    """Two sessions behind one face, as a pooler in transaction mode shows them."""

    def __init__(self, *sessions: Session) -> None:
        self._sessions = sessions
        self._turn = 0

    def rows(self, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        self._turn += 1
        return self._sessions[self._turn % len(self._sessions)].rows(query, parameters)


def test_a_pooler_is_noticed(database: Database) -> None:
    with database.connect() as one, database.connect() as other:
        demand_direct(one, "outside")
        with pytest.raises(RefusedError, match="pooler"):
            demand_direct(cast(Session, Pooled(one, other)), "outside")
