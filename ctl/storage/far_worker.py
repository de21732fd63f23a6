"""The far end of a stream: answers what the controller asks about one tree. Runs by python3 from 3.6 on.

It is sent over the stream itself with the modules that it imports (ctl.storage.far_source), and leaves
nothing behind. An answer is one or more messages; the last one says how many items there were, so that an
answer cut short is never taken for a whole one. It ends when its stdin does.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ctl.errors import RegctlError
from ctl.storage.far_frames import pack, unpack
from ctl.storage.survey_worker import read, survey
from ctl.storage.tree_reading import hash_one, scan, stat_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PIECE = 1 << 20  # bytes of content, or
_ITEMS = 500  # items of a scan after which a message is sent
_HASHING = 4  # files hashed at once
_PATIENCE = 120.0  # seconds that a change waits for an earlier one, whose connection may have broken


class EndedError(Exception):
    """The controller has gone."""


class Worker:
    """Answers requests about the tree below a directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._object: Any = None

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        while True:
            request, _ = unpack(exactly)
            answer = getattr(self, "_do_" + request[0])
            try:
                if request[0] in ("act", "load", "make"):
                    self._act(answer, request[1:])
                    continue
                if request[0] in ("exists", "space"):
                    answer()
                    continue
                root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    answer(root, *request[1:])
                finally:
                    os.close(root)
            except RegctlError as error:
                say({"error": [type(error).__name__, error.message, error.hint, list(error.details)]})
            except OSError as error:
                say({"gone": error.strerror or str(error)})

    def _act(self, answer: Callable[..., None], arguments: list[Any]) -> None:
        try:
            answer(*arguments)
        except OSError as error:
            say({"os": [error.errno, error.strerror or str(error), error.filename]})

    # -- looking ------------------------------------------------------------------------------------

    def _do_exists(self) -> None:
        say([[os.path.isdir(self.directory)], 1])

    def _do_space(self) -> None:
        found = os.statvfs(self.directory)
        unit = found.f_frsize
        say([[[unit * found.f_blocks, unit * found.f_bavail, found.f_favail]], 1])

    def _do_survey(self, root: int, requests: list[Any]) -> None:
        say([[survey(root, path, leaf) for path, leaf in requests], len(requests)])

    def _do_stat(self, root: int, paths: list[str]) -> None:
        say([[stat_one(root, path) for path in paths], len(paths)])

    def _do_scan(self, root: int, prefix: str) -> None:
        items: list[Any] = []
        count = 0
        for one in scan(root, prefix):
            items.append(one)
            count += 1
            if len(items) == _ITEMS:
                say([items, None])
                items = []
        say([items, count])

    def _do_read(self, root: int, limit: int, paths: list[str]) -> None:
        items: list[Any] = []
        contents: list[bytes] = []
        size = 0
        for path in paths:
            found = read(root, path, limit)
            if isinstance(found, bytes):
                contents.append(found)
                size += len(found)
                items.append(len(found))
            else:
                items.append(found)
            if size > _PIECE:
                say([items, None], b"".join(contents))
                items, contents, size = [], [], 0
        say([items, len(paths)], b"".join(contents))

    def _do_hash(self, root: int, files: list[Any]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_HASHING) as pool:
            say([list(pool.map(lambda one: hash_one(root, *one), files)), len(files)])

    # -- acting -------------------------------------------------------------------------------------

    def _do_load(self, modules: list[Any]) -> None:
        """Take in the modules of what changes a tree."""
        for name, text in modules:
            sys.modules["__main__"].module(name, text)
        say([[], 0])

    def _do_make(self, module: str, kind: str, arguments: list[Any]) -> None:
        """Make one of the objects that change the tree: Aside and the like, the controller's own code."""
        self._object = getattr(__import__(module, fromlist=[kind]), kind)(*arguments)
        say([[], 0])

    def _do_act(self, verb: str, arguments: list[Any], options: dict[str, Any], guarded: bool) -> None:
        """Call a verb of that object; one at a time acts in a tree, also after a broken connection."""
        with Alone(self.directory):
            found = getattr(self._object, verb)(*arguments, *([ask_guard] if guarded else []), **options)
            if hasattr(found, "__next__"):
                found = list(found)
        say([plain(found), None])
        say([None, 0])


class Alone:
    """Hold the tree's lock; waits for whoever holds it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._handle = -1

    def __enter__(self) -> None:
        try:
            self._handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # what acts says so itself
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > until:
                    os.close(self._handle)
                    raise RegctlError(
                        "another regctl changes " + self._directory + " at this moment",
                        hint="its connection may have broken: wait until its python3 over there has ended",
                    ) from error
                time.sleep(0.05)
            except OSError:
                return  # a file system without locks, as some NFS: the verbs may be called twice all the same

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)


def ask_guard() -> None:
    """Have the controller make sure that this run may still change anything; raises where it may not."""
    say({"guard": True})
    answer, _ = unpack(exactly)
    if answer != ["go"]:
        raise RegctlError("stopped by the controller")


def plain(found: Any) -> Any:
    """Return a value that JSON knows; a dataclass as its fields."""
    if hasattr(found, "__dataclass_fields__"):
        return {name: plain(getattr(found, name)) for name in found.__dataclass_fields__}
    if isinstance(found, (list, tuple)):
        return [plain(one) for one in found]
    return found


def say(value: Any, blob: bytes = b"") -> None:
    """Send one message."""
    view = memoryview(pack(value, blob))
    while view:
        view = view[os.write(1, view) :]


def exactly(count: int) -> bytes:
    """Read so many bytes; EndedError where there are no more."""
    parts = []
    while count:
        part = os.read(0, min(count, 1 << 20))
        if not part:
            raise EndedError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(worker: Callable[[str], Worker] = Worker) -> None:
    """Greet, hear which directory it is, and serve it."""
    try:
        say({"python": list(sys.version_info[:3])})
        (directory,), _ = unpack(exactly)
        worker(directory).serve()
    except (EndedError, BrokenPipeError):
        pass  # nobody wants the rest
    os._exit(0)  # there is nothing to tidy up
