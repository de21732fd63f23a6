"""Run something in a forked child, killed or stopped at a boundary of its own: real deaths, but fast."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

from ctl.recipes.attempt import Waits
from ctl.recipes.failpoints import Failpoints, off
from ctl.recipes.lock import Locks
from ctl.recipes.model import Recipe, RunReport
from ctl.recipes.runner import Runner
from tests.unit.recipes.toys import Box, reach


def folder() -> str:
    """A new folder in memory where there is one: killing a process loses nothing that was written."""
    return tempfile.mkdtemp(prefix="regctl-toys-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def runner(box: Box, points: Failpoints | None = None, confirm: Any = None) -> Runner:
    made = Runner(box, emit=box.emit, confirm=confirm, version="1", argv=("regctl", "toy"))  # type: ignore[arg-type]
    if points is not None:
        made.boundary = points.boundary
        made.locks = Locks(box.state_dir, points.boundary)
    else:
        made.boundary = off
    made.waits = Waits(0.001, 0.002)
    made.reach = reach
    return made


def forked(action: Callable[[], Any]) -> int:
    """Start a child that does it and leaves with 0, or 1 and a traceback if it raises; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Return the child's exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_stopped(pid: int) -> None:
    """Return when the child has stopped itself."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status


def killed_at(index: int, when: str, action: Callable[[Failpoints], Any]) -> bool:
    """Do it in a child that is killed at a boundary; False if it came to its end before that."""
    code = wait(forked(lambda: action(Failpoints(index, when, "kill"))))
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def boundaries(action: Callable[[Failpoints], Any]) -> int:
    """Count the boundaries that doing it passes, in this process."""
    points = Failpoints(0, "", "count")
    action(points)
    return points.passed


def run_toy(box: Box, recipe: Recipe, points: Failpoints | None = None) -> RunReport:
    return runner(box, points).run(recipe, yes=True)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)
