"""Work in a child process that a test may kill."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Run work in a fork of this process; return its pid. Its exit code is 0 if the work raised nothing.

    The child must open its own connections; it never returns into pytest.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for a child; return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> int:
    """Kill a child with -9 and bury it; return how it ended (0 if it was done before)."""
    os.kill(child, signal.SIGKILL)
    return exit_code(child)
