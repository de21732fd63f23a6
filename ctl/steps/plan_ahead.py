"""Plan garbage while the rest of the program is still being loaded and the checks are made.

For a dry run only, whose one plan may be of any moment since the command began. What a real run plans
inside its window must have been read inside it: it never comes from here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import TYPE_CHECKING

from ctl.catalog.surveyed import Look
from ctl.storage.stoppable import Stoppable

if TYPE_CHECKING:
    from ctl.steps.plan_file import PlannedCollection
    from ctl.world import World

# While modules are loaded the interpreter's lock is held all the time, and an answer about the tree would
# wait for it as long as a thread may keep it: 5 ms each by default, of some hundred answers.
_TURN_SECONDS = 0.0005


@contextmanager
def planning(
    world: World, registry: str, *, delete_untagged: bool
) -> Iterator[Callable[[], PlannedCollection]]:
    """Begin to plan; give a function that waits for the plan, or raises why there is none.

    At the end of the block nothing is planned any more, whether or not somebody waited for it.
    """
    given_up = Event()
    storage = world.storage(registry)  # opened first, so that the world closes it after this block

    def plan() -> PlannedCollection:
        from ctl.steps.read_garbage import read_plan

        looked_at = Stoppable(storage, given_up.is_set)
        return read_plan(world, registry, delete_untagged=delete_untagged, storage=looked_at, look=look)

    turn = sys.getswitchinterval()
    with ExitStack() as stack:
        look = None
        if world.registry(registry).database is not None:
            look = stack.enter_context(Look(storage))
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="plan"))
        sys.setswitchinterval(_TURN_SECONDS)
        try:
            yield pool.submit(plan).result
        finally:
            sys.setswitchinterval(turn)
            given_up.set()
