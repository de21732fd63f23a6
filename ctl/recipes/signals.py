"""Being asked to stop: the first Ctrl-C, SIGTERM or SIGHUP sets a flag, a second Ctrl-C stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_FIRST = "stopping at the next safe point; Ctrl-C again stops at once and leaves things as they are\n"


class StopNowError(KeyboardInterrupt):
    """The operator pressed Ctrl-C twice; not an Exception, so that no step can swallow it."""


class Stop:
    """Whether the operator asked to stop. As a context manager it listens to the signals.

    A signal that the caller ignores (nohup) stays ignored. Only Ctrl-C counts as the second one: a lost
    SSH session sends several signals, and must not keep the scopes from being left.
    """

    def __init__(self) -> None:
        self.reason = ""  # the first signal's name, "" while nobody asked
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.reason:
            self.reason = signal.Signals(number).name
            # Straight to the descriptor: a handler may interrupt a print and must not print itself.
            with contextlib.suppress(OSError):
                os.write(2, b"\nregctl: " + _FIRST.encode())
        elif number == signal.SIGINT:
            raise StopNowError
