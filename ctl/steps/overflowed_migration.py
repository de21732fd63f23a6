"""A background migration that is done, and that the program would repeat for ever: the proof, and the mark.

Its range ends at the largest bigint; the program begins its next job one above that, which is the smallest
one, and so at the beginning again (4.32.0, measured; the registry's own worker looks first and ends it).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ctl.errors import RefusedError
from ctl.report.events import Message

if TYPE_CHECKING:
    from ctl.catalog.metadata_background import BackgroundMigration
    from ctl.database.base import Session
    from ctl.recipes.model import Target

REMEDY = (
    "give --finish-overflowed: regctl then proves once more that it is done, by its jobs and by the rows, "
    "marks it finished, and runs the others. Without that the registry's own worker (REGISTRY_FF_BBM and "
    "database.backgroundmigrations.enabled) ends it, too"
)


def overflowed(one: BackgroundMigration) -> str:
    """Say what became of a migration whose range ends where the program's next start overflows."""
    return (
        f"background migration {one.name} has done its whole range, and this version of the program begins "
        "it anew for ever: the value after the largest bigint is the smallest one"
    )


def mark_finished(here: Target, session: Session, migration: BackgroundMigration) -> None:
    """Mark a background migration finished, with the program's own lock held and the proof taken again.

    RefusedError where it is not proved: a slice of its range is missing, or a row is left to treat.
    """
    from ctl.catalog.metadata_background import left_to_copy, read_background

    with session.transaction():
        if not _take_batch_lock(session):
            raise RefusedError(
                "somebody works on background migrations at this moment",
                hint="it may be the registry's own worker; run the command again in a minute",
            )
        now = next((one for one in read_background(session) or () if one.id == migration.id), None)
        if now is None or not now.stuck_at_maximum or left_to_copy(session, now):
            raise RefusedError(
                f"background migration {migration.name} is not proved to be done; it is left as it is",
                hint="look at `regctl database background status`",
            )
        here.run.guard()
        session.execute(
            "UPDATE public.batched_background_migrations SET status = 2, failure_error_code = NULL,"
            " finished_at = now(), updated_at = now() WHERE id = %s AND status IN (1, 4)",
            (migration.id,),
        )
    here.run.emit(Message(f"{migration.name} is proved done and marked finished", "warning"))


def _take_batch_lock(session: Session, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        row = session.one("SELECT pg_try_advisory_xact_lock(1)")
        if row and row[0]:
            return True
        time.sleep(0.2)
    return False
