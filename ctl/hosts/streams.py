"""A script on another host whose stdin and stdout stay in the caller's hands, for as long as it wants."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from ctl.errors import RefusedError
from ctl.hosts import shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import paramiko

    from ctl.hosts.posix import PosixHost

_CHUNK = 1 << 18  # bytes received at once
_GLANCE = 1.0  # seconds between looks at whether the peer still lives
_KEPT = 4096  # bytes of what it said on stderr


class Pipe(Protocol):
    """The two ends of a line that runs: what a shell gives. UnreachableError where the connection breaks."""

    def send(self, data: bytes) -> None:
        """Send all of it; waits while the far side takes none."""
        ...

    def receive(self) -> bytes:
        """Return what came, at least one byte; b"" when the far side has closed its stdout."""
        ...

    def errors(self) -> bytes:
        """Return the last of what it said on stderr."""
        ...

    def close(self) -> None:
        """Let go of it: the far side finds its stdin at an end."""
        ...


class HostStream:
    """A script that runs on a host; `said` is the first thing it said."""

    def __init__(self, host: str, pipe: Pipe, said: str, begun: bytes) -> None:
        self.host = host
        self.said = said
        self._pipe = pipe
        self._begun = begun

    def send(self, data: bytes) -> None:
        """Send all of it to the script's stdin; UnreachableError where the connection breaks."""
        self._pipe.send(data)

    def receive(self) -> bytes:
        """Return what it printed since, at least one byte; b"" when it will print no more."""
        if self._begun:
            begun, self._begun = self._begun, b""
            return begun
        return self._pipe.receive()

    def errors(self) -> str:
        """Return the last of what it said on stderr."""
        return self._pipe.errors().decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Let go of it: the script finds its stdin at an end."""
        self._pipe.close()


def open_stream(host: PosixHost, script: str) -> HostStream:
    """Run a script on a host, with the words of posix/common.sh, and return it when it said its first word.

    Raises RefusedError where we may not become the host's user, CommandFailedError where no POSIX shell
    answers, UnreachableError where there is no connection.
    """
    prefix = host.prefix(None)
    call = shell.wrapped(shell.script("common") + script, become=prefix, search_path=host.search_path)
    pipe = host.shell.open(call.line)
    try:
        pipe.send(call.stdin)
        answer, begun = shell.Answer(call.word), b""
        while not answer.said:
            chunk = pipe.receive()
            if not chunk:
                host.demand_become(prefix, pipe.errors())
                raise shell.no_answer(host.name, -1, pipe.errors(), answer.before)
            begun = answer.feed(chunk)
        if answer.said == "refused":
            raise RefusedError(answer.rest)
    except BaseException:
        pipe.close()
        raise
    return HostStream(host.name, pipe, answer.said, begun)


class SshPipe:
    """One channel of a connection. `alive` asks the peer for a sign of life."""

    def __init__(
        self,
        channel: paramiko.Channel,
        told: Callable[[], AbstractContextManager[None]],
        alive: Callable[[], bool],
        silence: float,
        free: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._told = told
        self._alive = alive
        self._silence = silence
        self._free: Callable[[], None] | None = free
        self._errors = b""
        self._heard = time.monotonic()
        channel.settimeout(_GLANCE)

    def send(self, data: bytes) -> None:
        """Send all of it; waits while the far side takes none."""
        self._heard, sent = time.monotonic(), 0
        with self._told():
            while sent < len(data):
                try:
                    sent += self._channel.send(data[sent : sent + _CHUNK])
                    self._heard = time.monotonic()
                except TimeoutError:
                    self._listen()
                except OSError as error:  # paramiko's word for a channel that is closed
                    raise EOFError("the far side reads no more") from error

    def receive(self) -> bytes:
        """Return what came, at least one byte; b"" when the far side has closed its stdout."""
        self._heard = time.monotonic()
        with self._told():
            while True:
                self._take_errors()
                try:
                    found = self._channel.recv(_CHUNK)
                except TimeoutError:
                    self._listen()
                    continue
                if not found and not self._channel.get_transport().is_active():
                    raise EOFError("the connection was closed")
                return found

    def _listen(self) -> None:
        if time.monotonic() - self._heard > self._silence:
            if not self._alive():
                raise EOFError(f"no answer for {self._silence:.0f} s")
            self._heard = time.monotonic()

    def _take_errors(self) -> None:
        while self._channel.recv_stderr_ready():
            self._errors = (self._errors + self._channel.recv_stderr(_KEPT))[-_KEPT:]

    def errors(self) -> bytes:
        """Return the last of what it said on stderr."""
        self._take_errors()
        return self._errors

    def close(self) -> None:
        """Let go of it: the far side finds its stdin at an end."""
        free, self._free = self._free, None
        if free is not None:
            self._channel.close()
            free()
