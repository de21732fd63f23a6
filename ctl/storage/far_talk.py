"""One stream to a tree on another host: requests there, answers back, found in one of two ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ctl.errors import CommandFailedError, RefusedError, RegctlError, UnreachableError, UsageError
from ctl.storage import far_frames, far_source

_ERRORS: dict[str, type[RegctlError]] = {"RefusedError": RefusedError, "UsageError": UsageError}


class Stream(Protocol):
    """A script that runs over there. A verb raises UnreachableError where the connection breaks."""

    said: str

    def send(self, data: bytes) -> None:
        """Send all of it."""
        ...

    def receive(self) -> bytes:
        """Return what came, at least one byte; b"" when nothing more will come."""
        ...

    def errors(self) -> str:
        """Return the last of what it said on stderr."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


OpenStream = Callable[[str], Stream]  # the text of a script for a POSIX shell -> that script, begun


class GoneError(Exception):
    """The tree's root cannot be opened over there; the reason in the operating system's words."""


class Talk(Protocol):
    """A stream that answers questions about one tree, in the order in which they are asked."""

    acts: bool  # whether it can change the tree, too

    def ask(self, request: list[Any]) -> None:
        """Ask; the answer is to be received before `close`, or the stream is of no use any more."""
        ...

    def receive(self, request: list[Any]) -> Iterator[list[Any]]:
        """Yield the items of an answer, in one or more parts; GoneError where there is no root."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_talk(open_stream: OpenStream, host: str, directory: str) -> Talk:
    """Begin a stream to the tree below a directory of a host."""
    from ctl.storage.far_script import ShellTalk, script

    stream = open_stream(script())
    try:
        if stream.said == "python":
            return PythonTalk(stream, host, directory)
        return ShellTalk(stream, host, directory)
    except BaseException:
        stream.close()
        raise


class Incoming:
    """What comes over a stream, taken piece by piece."""

    def __init__(self, stream: Stream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._kept = bytearray()

    def exactly(self, count: int) -> bytes:
        """Return so many bytes; UnreachableError where the stream ends before."""
        while len(self._kept) < count:
            self._more()
        found = bytes(self._kept[:count])
        del self._kept[:count]
        return found

    def until(self, mark: bytes, limit: int = far_frames.LIMIT) -> bytes:
        """Return all up to a mark, and take that away too."""
        searched = 0
        while (at := self._kept.find(mark, searched)) < 0:
            searched = max(0, len(self._kept) - len(mark))
            if len(self._kept) > limit:
                raise CommandFailedError(f"{self._host} sends more than was asked for")
            self._more()
        found = bytes(self._kept[:at])
        del self._kept[: at + len(mark)]
        return found

    def _more(self) -> None:
        chunk = self._stream.receive()
        if not chunk:
            said = self._stream.errors()
            raise UnreachableError(
                f"what reads the storage on {self._host} ended in the middle of an answer",
                details=tuple(said.splitlines()[-5:]),
                hint="run the same command again; nothing of the cut answer was used",
            )
        self._kept += chunk


class PythonTalk:
    """A stream to ctl.storage.far_worker."""

    acts = True

    def __init__(self, stream: Stream, host: str, directory: str) -> None:
        self._stream = stream
        self._host = host
        self._incoming = Incoming(stream, host)
        self._loaded = False
        source = far_source.reading().encode()
        self._stream.send(b"%010d" % len(source) + source + far_frames.pack([directory]))
        self._receive()  # its greeting: it has begun

    def ask(self, request: list[Any]) -> None:
        """Ask."""
        self._stream.send(far_frames.pack(request))

    def receive(self, request: list[Any]) -> Iterator[list[Any]]:
        """Yield the items of an answer, in parts."""
        total, count = None, 0
        while total is None:
            (items, total), blob = self._receive()
            if request[0] == "read":
                items = _contents(items, blob)
            count += len(items)
            if total is not None and count != total:
                raise _garbled(self._host, f"{count} answers instead of {total}")
            yield items

    def act(
        self, verb: str, arguments: list[Any], options: dict[str, Any], guard: Callable[[], None] | None
    ) -> Any:
        """Call a verb of the object made last and return what it returns; its errors are raised here.

        `guard` is called whenever the far side is about to change something.
        """
        self._stream.send(far_frames.pack(["act", verb, arguments, options, guard is not None]))
        found = self._found(guard)
        self._receive()
        return found

    def make(self, module: str, kind: str, arguments: list[Any]) -> None:
        """Make an object over there; it stands for the one before."""
        if not self._loaded:
            self._stream.send(far_frames.pack(["load", far_source.acting()]))
            self._receive()
            self._loaded = True
        self._stream.send(far_frames.pack(["make", module, kind, arguments]))
        self._receive()

    def _found(self, guard: Callable[[], None] | None) -> Any:
        while True:
            answer, _ = self._receive()
            if not isinstance(answer, dict):
                return answer[0]
            try:
                if guard is not None:
                    guard()
            except BaseException:
                self._stream.send(far_frames.pack(["stop"]))
                raise
            self._stream.send(far_frames.pack(["go"]))

    def _receive(self) -> tuple[Any, bytes]:
        try:
            answer, blob = far_frames.unpack(self._incoming.exactly)
        except far_frames.GarbledError as error:
            raise _garbled(self._host, str(error)) from error
        if isinstance(answer, dict):
            _raise(answer)
        return answer, blob

    def close(self) -> None:
        """Let go of it: the program over there ends."""
        self._stream.close()


def _raise(answer: dict[str, Any]) -> None:
    """Raise what the far side could not do; a greeting and a question for leave are no errors."""
    if "gone" in answer:
        raise GoneError(answer["gone"])
    if "error" in answer:
        kind, message, hint, details = answer["error"]
        raise _ERRORS.get(kind, RegctlError)(message, hint=hint, details=tuple(details))
    if "os" in answer:
        number, reason, name = answer["os"]
        raise OSError(number, reason, name)


def _contents(items: list[Any], blob: bytes) -> list[Any]:
    """Cut the contents of files out of the bytes beside a message."""
    found: list[Any] = []
    at = 0
    for item in items:
        if isinstance(item, int):
            found.append(blob[at : at + item])
            at += item
        else:
            found.append(item)
    return found


def _garbled(host: str, what: str) -> CommandFailedError:
    return CommandFailedError(
        f"the storage's reader on {host} does not answer as it should: {what}",
        hint=f"`regctl host check {host}` looks at what is there",
    )
