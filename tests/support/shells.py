"""A shell without a network: the line goes to /bin/sh, or another shell, on this machine."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ctl.errors import UnreachableError
from ctl.hosts.shell import Sink, Tick
from tests.support.programs import find


@dataclass
class HereShell:
    """Runs each line as sshd does: by a login shell, in a session of its own."""

    name: str = "here"
    login_shell: str = "/bin/sh"
    changes: tuple[tuple[str, str], ...] = ()  # parts of each line, and what stands for them

    def with_shell(self, shell: str) -> HereShell:
        """Let another shell stand for /bin/sh."""
        return replace(self, changes=(*self.changes, ("/bin/sh -c", f"{shell} -c")))

    def call(self, line: str, stdin: bytes, sink: Sink, tick: Tick) -> int:
        """Run the line and return its exit code, negative for a signal."""
        for old, new in self.changes:
            line = line.replace(old, new)
        child = subprocess.Popen(
            [self.login_shell, "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin
        feeder = threading.Thread(target=_feed, args=(child, stdin))
        feeder.start()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(child.stdout or 1, selectors.EVENT_READ, "stdout")
                selector.register(child.stderr or 2, selectors.EVENT_READ, "stderr")
                while selector.get_map():
                    wait = tick()
                    for key, _ in selector.select(0.1 if wait is None else min(wait, 0.1)):
                        chunk = key.fileobj.read1(65536)  # type: ignore[union-attr]
                        if chunk:
                            sink(key.data, chunk)
                        else:
                            selector.unregister(key.fileobj)
            return child.wait()
        finally:
            feeder.join(5)
            for pipe in (child.stdout, child.stderr):
                if pipe:
                    pipe.close()
            child.wait()

    def open(self, line: str) -> HerePipe:
        """Run the line with its stdin and stdout in the caller's hands."""
        for old, new in self.changes:
            line = line.replace(old, new)
        return HerePipe([self.login_shell, "-c", line])


def without_python(folder: Path) -> str:
    """Make a search path with all that Debian's essential packages bring, and no python3."""
    tools = folder / "tools"
    tools.mkdir()
    names = "cat env find gzip head id ls printf sha256sum sha512sum sh stat tar uname"
    for name in names.split():
        (tools / name).symlink_to(find(name))
    return str(tools)


def busybox_only(folder: Path) -> str:
    """Make a search path with nothing but BusyBox."""
    box, tools = find("busybox"), folder / "box"
    tools.mkdir()
    listed = subprocess.run([box, "--list"], capture_output=True, text=True, check=True).stdout
    for tool in listed.split():
        (tools / tool).symlink_to(box)
    return str(tools)


class HerePipe:
    """A process of this machine as a pipe."""

    def __init__(self, argv: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the pipe
        self.child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
        )

    def send(self, data: bytes) -> None:
        """Send all of it."""
        assert self.child.stdin
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
        except BrokenPipeError as error:
            raise UnreachableError("the connection to here broke") from error

    def receive(self) -> bytes:
        """Return what came; b"" at the end."""
        assert self.child.stdout
        return os.read(self.child.stdout.fileno(), 1 << 16)

    def errors(self) -> bytes:
        """Return the last of what it said on stderr."""
        self._errors.seek(0)
        return self._errors.read()[-4096:]

    def close(self) -> None:
        """Let go of it, and wait until it has ended."""
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._errors.close()


def _feed(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin
    try:
        child.stdin.write(data)
        child.stdin.close()
    except BrokenPipeError:
        pass
