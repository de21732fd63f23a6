"""Small migrations, and the check that each is wholly there or wholly not."""

from __future__ import annotations

from ctl.database.base import Database
from ctl.database.migrations import Migration, MigrationState, parse_migrations, read_state

_UP = """
CREATE TABLE regctl.t{0} (n int);
SELECT pg_sleep({1});
INSERT INTO regctl.t{0} SELECT generate_series(1, 100);
"""


def made(*ups: str, phase: str = "pre", first: int = 1) -> tuple[Migration, ...]:
    """Migrations of these up texts; each one's down drops the table `tNUMBER`."""
    files = []
    for number, up in enumerate(ups, first):
        files.append((f"{number:04d}_step.{phase}.up.sql", up))
        files.append((f"{number:04d}_step.{phase}.down.sql", f"DROP TABLE regctl.t{number};"))
    return parse_migrations(files)


def tables(count: int, sleep: float = 0.0) -> tuple[Migration, ...]:
    """So many migrations; each makes its table, waits, and fills it with 100 rows."""
    return made(*(_UP.format(number, sleep) for number in range(1, count + 1)))


def ids(migrations: tuple[Migration, ...]) -> list[str]:
    """Their ids, in order."""
    return [one.id for one in migrations]


def state(database: Database, migrations: tuple[Migration, ...]) -> MigrationState:
    """What the database says of them."""
    with database.connect(read_only=True) as session:
        return read_state(session, migrations)


def whole(database: Database, migrations: tuple[Migration, ...]) -> int:
    """Demand that each of `tables` is wholly there and recorded, or neither; return how many are."""
    recorded = {one.id for one in state(database, migrations).applied}
    with database.connect(read_only=True) as session:
        for one in migrations:
            there = session.one("SELECT to_regclass(%s) IS NOT NULL", (f"regctl.t{one.number}",))
            assert there == (one.id in recorded,), f"{one.id} is half there"
            if one.id in recorded:
                assert session.one(f"SELECT count(*) FROM regctl.t{one.number}") == (100,)
    return len(recorded)
