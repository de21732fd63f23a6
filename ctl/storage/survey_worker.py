"""List folders, stat one file in each folder below them, read files: also a program of its own.

Run as `python -I -S survey_worker.py ROOT` it answers requests from stdin on stdout, so that several
processors (and several disk queues) work on one tree. It imports the standard library only, and travels to
other hosts as it is (ctl.storage.far_source), so it is written for an old Python.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    # path, names, sizes, mtimes, others, problem, reason: the fields of ctl.storage.base.Survey
    Answer = tuple[str, list[str], list[int], list[int], list[tuple[str, str]], str, str]
    Content = bytes | tuple[str, str]  # a file's bytes, or (kind, reason) as in ctl.storage.base.Failure

ABSENT, SYMLINK, NOT_A_FILE, UNREADABLE = -1, -2, -3, -4
_LENGTH_BYTES = 4
_MESSAGE = 1 << 20  # bytes of content after which a message is sent


def survey(root: int, path: str, leaf: str | None) -> Answer:
    """Answer one request; `root` is an open directory. Never raises for what it meets on the disk."""
    names: list[str] = []
    others: list[tuple[str, str]] = []
    try:
        folder = os.open(
            path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root
        )
    except OSError as error:
        return path, names, [], [], others, _folder_problem(error), ""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                else:
                    others.append((entry.name, _kind(entry)))
        names.sort()
        others.sort()
        if leaf is None:
            return path, names, [], [], others, "", ""
        sizes, mtimes, reason = _leaves(folder, names, leaf)
        return path, names, sizes, mtimes, others, "", reason
    except OSError as error:
        return path, [], [], [], [], error.strerror or str(error), ""
    finally:
        os.close(folder)


def _leaves(folder: int, names: list[str], leaf: str) -> tuple[list[int], list[int], str]:
    sizes: list[int] = []
    mtimes: list[int] = []
    reason = ""
    look, regular, tail = os.stat, stat.S_IFREG, "/" + leaf
    for name in names:
        try:
            found = look(name + tail, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            sizes.append(ABSENT)
            mtimes.append(0)
            continue
        except OSError as error:
            reason = error.strerror or str(error)
            sizes.append(NOT_A_FILE if error.errno == errno.ENOTDIR else UNREADABLE)
            mtimes.append(0)
            continue
        if stat.S_IFMT(found.st_mode) == regular:
            sizes.append(found.st_size)
        else:
            sizes.append(SYMLINK if stat.S_ISLNK(found.st_mode) else NOT_A_FILE)
        mtimes.append(found.st_mtime_ns)
    return sizes, mtimes, reason


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "symlink"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _folder_problem(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "not a folder, or a symbolic link"
    return error.strerror or str(error)


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block us
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 15  # bytes asked for at once: a buffer of the whole limit costs more than the read


def read(root: int, path: str, limit: int) -> Content:
    """Read a file whole. Neither it nor its folder may be a symbolic link."""
    parent, _, name = path.rpartition("/")
    try:
        folder = os.open(parent or ".", _FOLDER, dir_fd=root)
        try:
            handle = os.open(name, _READ, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            asked = min(limit + 1, _CHUNK)
            data = part = os.read(handle, asked)
            # A regular file gives less than was asked for only at its end.
            while len(part) == asked and len(data) <= limit:
                asked = min(limit + 1 - len(data), _CHUNK) or 1
                part = os.read(handle, asked)
                data += part
        finally:
            os.close(handle)
    except OSError as error:
        return failure(error)
    return data if len(data) <= limit else ("too-large", f"more than {limit} bytes")


def failure(error: OSError) -> tuple[str, str]:
    """Return the kind and the reason of an error."""
    kinds = {
        errno.ENOENT: "missing",
        errno.ELOOP: "symlink",
        errno.ENOTDIR: "not-a-file",
        errno.EISDIR: "not-a-file",
    }
    return kinds.get(error.errno or 0, "unreadable"), error.strerror or str(error)


def send(handle: int, value: Any) -> None:
    """Write one value, its length first."""
    data = marshal.dumps(value)
    view = memoryview(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    while view:
        view = view[os.write(handle, view) :]


def receive(handle: int) -> Any:
    """Read one value; None at the end. The other side is always this very file."""
    head = _exactly(handle, _LENGTH_BYTES)
    return marshal.loads(_exactly(handle, int.from_bytes(head, "big"))) if head else None  # noqa: S302


def _exactly(handle: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = os.read(handle, min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main() -> None:
    """Answer batches of requests until stdin ends: (None, surveys) or (limit, paths to read)."""
    root = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            batch = receive(0)
            if batch is None:
                break
            limit, requests = batch
            if limit is None:
                send(1, [survey(root, path, leaf) for path, leaf in requests])
            else:
                send_contents(root, requests, limit)
    except BrokenPipeError:
        pass  # nobody wants the rest
    os._exit(0)  # there is nothing to tidy up, and tidying takes longer than a survey


def send_contents(root: int, paths: list[str], limit: int) -> None:
    """Read files and send what they hold, in several messages where it is much."""
    contents: list[Content] = []
    size = 0
    for path in paths:
        contents.append(read(root, path, limit))
        size += len(contents[-1])
        if size > _MESSAGE:
            send(1, contents)
            contents, size = [], 0
    if contents:
        send(1, contents)


if __name__ == "__main__":
    main()
