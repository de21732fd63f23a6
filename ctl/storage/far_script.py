"""A stream to a tree on a host without python3: the same answers by find, stat, tar and a POSIX shell.

Slower: a batch is asked for only when the one before it was answered, and each costs a few processes.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctl.errors import CommandFailedError
from ctl.storage.far_talk import GoneError, Incoming
from ctl.storage.survey_worker import ABSENT, NOT_A_FILE, SYMLINK, UNREADABLE

if TYPE_CHECKING:
    from ctl.storage.far_talk import Stream

_KINDS = {
    "No such file or directory": "missing",
    "Not a directory": "not-a-file",
    "Too many levels of symbolic links": "symlink",
}
_NO_FOLDER = "not a folder, or a symbolic link"
_ARCHIVE = 8 << 20  # bytes of files asked for at once
_REGULAR, _LINK, _FOLDER = 0o100000, 0o120000, 0o040000
_SUMS = {"sha256": "sha256sum", "sha512": "sha512sum"}
Found = tuple[int, int, int]  # sort, size, mtime in nanoseconds


def script() -> str:
    """Return the script that a far host runs, without its comments."""
    text = Path(__file__).with_name("far_reader.sh").read_text(encoding="utf-8")
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("# "))


class ShellTalk:
    """A stream to the functions of far_reader.sh."""

    acts = False

    def __init__(self, stream: Stream, host: str, directory: str) -> None:
        self._stream = stream
        self._host = host
        self._incoming = Incoming(stream, host)
        self._word = secrets.token_hex(16)
        stream.send(f"{self._word}\n".encode())
        self._call(f"directory={_quote(directory)}")

    def ask(self, request: list[Any]) -> None:
        """Nothing yet: what is to be asked next depends on the answers."""

    def receive(self, request: list[Any]) -> Iterator[list[Any]]:
        """Yield the items of an answer, in parts."""
        yield from getattr(self, f"_{request[0]}")(*request[1:])

    def close(self) -> None:
        """Let go of it: the shell over there ends."""
        self._stream.close()

    def _call(self, *words: str) -> bytes:
        line = words[0] if len(words) == 1 else " ".join((words[0], *map(_quote, words[1:])))
        self._stream.send(os.fsencode(line) + f"\n{self._word}\n".encode())
        found = self._incoming.until(f"\n{self._word}\n".encode())
        if found.startswith(b"gone "):
            raise GoneError(_text(found[5:]))
        return found

    # -- single files -------------------------------------------------------------------------------

    def _exists(self) -> Iterator[list[Any]]:
        yield [self._call("there") == b"yes"]

    def _space(self) -> Iterator[list[Any]]:
        unit, total, free, inodes = map(int, self._call("room").split())
        yield [[unit * total, unit * free, inodes]]

    def _stat(self, paths: list[str]) -> Iterator[list[Any]]:
        yield [_stat_answer(found) for _, found in self._look(paths)]

    def _look(self, paths: list[str]) -> list[tuple[bool, Found | tuple[str, str]]]:
        """For each path: whether its folder is no symbolic link, and what is there or why nothing is."""
        if not paths:
            return []
        answer = self._call("look", *map(_below, paths))
        letters, *records = answer.split(b"//")
        complaints, there = records.pop().splitlines(), [_found(one) for one in records]
        # of one below a link the letter does not tell whether it is there
        missing = len(paths) - len(there)
        if len(complaints) != missing or (missing and b"p" in letters) or letters.count(b"n") != missing:
            if len(paths) == 1:
                return [(letters != b"p", there[0] if there else _reason(complaints))]
            return [one for path in paths for one in self._look([path])]
        good, bad = iter(there), iter(complaints)
        return [
            (letter != ord("p"), _reason([next(bad)]) if letter == ord("n") else next(good))
            for letter in letters
        ]

    def _read(self, limit: int, paths: list[str]) -> Iterator[list[Any]]:
        group: list[tuple[str, Any]] = []
        size = 0
        for path, (direct, found) in zip(paths, self._look(paths), strict=True):
            about = _readable(found, limit) if direct else ("not-a-file", "Not a directory")
            group.append((path, about))
            size += about if isinstance(about, int) else 0
            if size > _ARCHIVE:
                yield self._contents(group, limit)
                group, size = [], 0
        if group:
            yield self._contents(group, limit)

    def _contents(self, group: list[tuple[str, Any]], limit: int) -> list[Any]:
        files = [path for path, about in group if isinstance(about, int)]
        archived = self._archive(files)
        found = iter([self._whole(path, limit) for path in files] if archived is None else archived)
        return [next(found) if isinstance(about, int) else about for _, about in group]

    def _archive(self, paths: list[str]) -> list[Any] | None:
        """Read files by tar; None where anything was not as it should be: they are read one by one then."""
        if not paths:
            return []
        answer = self._call("files", *map(_below, paths))
        archive, status = answer[:-1], answer[-1:]
        contents: dict[str, bytes] = {}
        found: list[bytes] = []
        try:
            if archive.startswith(b"\x1f\x8b"):
                archive = zlib.decompress(archive, wbits=31)
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
                for member in members:
                    if member.islnk():  # the same file under two names
                        found.append(contents[member.linkname])
                        continue
                    content = members.extractfile(member)
                    found.append(content.read() if content else b"")
                    contents[member.name] = found[-1]
        except (tarfile.TarError, zlib.error, KeyError, OSError):
            return None
        return found if status == b"0" and len(found) == len(paths) else None

    def _whole(self, path: str, limit: int) -> bytes | tuple[str, str]:
        answer = self._call("whole", str(limit + 1), _below(path))
        content, _, complaint = answer.rpartition(b"//")
        if complaint:
            return _reason([complaint])
        return content if len(content) <= limit else ("too-large", f"more than {limit} bytes")

    def _hash(self, files: list[list[str]]) -> Iterator[list[Any]]:
        for (path, algorithm), (_, found) in zip(files, self._look([path for path, _ in files]), strict=True):
            if algorithm not in _SUMS:
                raise CommandFailedError(f"{self._host} has no python3, which {algorithm} would need")
            about = _readable(found, found[1] if isinstance(found[1], int) else 0)
            yield [self._sum(path, algorithm) if isinstance(about, int) else about]

    def _sum(self, path: str, algorithm: str) -> str | tuple[str, str]:
        line, complaint = self._call("sum_of", _SUMS[algorithm], _below(path)).rsplit(b"//", 1)
        return _reason([complaint]) if complaint else line.lstrip(b"\\").split()[0].decode("ascii")

    # -- folders ------------------------------------------------------------------------------------

    def _survey(self, requests: list[tuple[str, str | None]]) -> Iterator[list[Any]]:
        for leaf, paths in _grouped(requests):
            yield self._folders(paths, leaf)

    def _folders(self, paths: list[str], leaf: str | None) -> list[Any]:
        depth = 1 if leaf is None else 2 + leaf.count("/")
        answer = self._call("folders", str(depth), *map(_below, paths))
        letters, *records = answer.split(b"//")
        complaint = records.pop() if records else b""
        if complaint and len(paths) > 1:
            return [one for path in paths for one in self._folders([path], leaf)]
        rest = iter(records)
        one = next(rest, None)
        found = []
        for path, letter in zip(paths, letters.decode("ascii"), strict=True):
            entries: dict[str, Found] = {}
            start = os.fsencode(_below(path).rstrip("/") + "/")
            while letter == "y" and one is not None and (named := _named(one))[1].startswith(start):
                entries[os.fsdecode(named[1][len(start) :])] = named[0]
                one = next(rest, None)
            found.append(self._folder(path, leaf, letter, entries, _text(complaint)))
        return found

    def _folder(
        self, path: str, leaf: str | None, letter: str, entries: dict[str, Found], complaint: str
    ) -> tuple[Any, ...]:
        problems = {"n": _NO_FOLDER, "m": "missing", "r": "Permission denied", "u": "cannot be looked at"}
        if letter != "y":
            return path, [], [], [], [], problems[letter], ""
        names = sorted(name for name, found in entries.items() if found[0] == _FOLDER and "/" not in name)
        others = sorted((n, _sort(f[0])) for n, f in entries.items() if f[0] != _FOLDER and "/" not in n)
        if leaf is None:
            return (
                (path, [], [], [], [], complaint, "") if complaint else (path, names, [], [], others, "", "")
            )
        sizes, times, reason = [], [], ""
        unclear = [name for name in names if _unclear(entries, name, leaf, bool(complaint))]
        looked = dict(zip(unclear, self._look([f"{path}/{name}/{leaf}" for name in unclear]), strict=True))
        for name in names:
            what = looked[name][1] if name in looked else entries.get(f"{name}/{leaf}", ("missing", ""))
            size, mtime_ns, why = _leaf(what)
            sizes.append(size)
            times.append(mtime_ns)
            reason = why or reason
        if complaint and UNREADABLE not in sizes and NOT_A_FILE not in sizes:
            return path, [], [], [], [], complaint, ""
        return path, names, sizes, times, others, "", reason

    def _scan(self, prefix: str) -> Iterator[list[Any]]:
        start = _below(prefix)
        ((_, found),) = self._look([prefix or "."])
        if not isinstance(found[0], int) or found[0] != _FOLDER:
            bad = found if isinstance(found[0], str) else ("not-a-file", "Not a directory")
            yield [(prefix, bad)]
            return
        *records, complaint = self._call("below", start).split(b"//")
        if complaint:
            yield from self._walk(prefix)
            return
        cut = len(os.fsencode(_below("")))
        entries = [(os.fsdecode(name[cut:]), found) for found, name in map(_named, records[1:])]
        yield [(path, _stat_answer(found)) for path, found in sorted(entries) if found[0] != _FOLDER]

    def _walk(self, prefix: str) -> Iterator[list[Any]]:
        """As a scan, folder by folder: where something cannot be read, and it is to be said which."""
        todo = [f"{prefix}/"]
        while todo:
            path = todo.pop()
            if not path.endswith("/"):
                yield [(path, _stat_answer(found)) for _, found in self._look([path])]
                continue
            (survey,) = self._folders([path[:-1]], None)
            if survey[5]:
                yield [(path[:-1], (_KINDS.get(survey[5], "unreadable"), survey[5]))]
                continue
            names = [f"{name}/" for name in survey[1]] + [name for name, _ in survey[4]]
            todo.extend(("" if path == "/" else path) + name for name in sorted(names, reverse=True))


def _grouped(requests: list[tuple[str, str | None]]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield (leaf, folders) to be listed by one find: none lies in another, or comes twice."""
    group: list[str] = []
    asked: str | None = None
    for path, leaf in requests:
        if group and (leaf != asked or any(_nested(path, one) for one in group)):
            yield asked, group
            group = []
        asked = leaf
        group.append(path)
    if group:
        yield asked, group


def _nested(one: str, other: str) -> bool:
    one, other = (_below(path).rstrip("/") + "/" for path in (one, other))
    return one.startswith(other) or other.startswith(one)


def _unclear(entries: dict[str, Found], name: str, leaf: str, complaint: bool) -> bool:
    """Say whether a leaf that find did not print may be there: behind a link, or what cannot be read."""
    if f"{name}/{leaf}" in entries:
        return False
    parts = leaf.split("/")
    above = [entries.get("/".join((name, *parts[:depth]))) for depth in range(1, len(parts))]
    return complaint or any(found is not None and found[0] != _FOLDER for found in above)


def _leaf(found: Any) -> tuple[int, int, str]:
    """Return size, time and reason as a survey gives them."""
    first, second = found[0], found[1]
    if isinstance(first, int):
        sort, size, mtime_ns = found
        return {_REGULAR: size, _LINK: SYMLINK}.get(sort, NOT_A_FILE), mtime_ns, ""
    if first == "missing":
        return ABSENT, 0, ""
    return (NOT_A_FILE if first == "not-a-file" else UNREADABLE), 0, second


def _stat_answer(found: Any) -> tuple[Any, Any]:
    if len(found) == 2:
        return found[0], found[1]
    sort, size, mtime_ns = found
    if sort == _REGULAR:
        return size, mtime_ns
    return ("symlink", "a symbolic link") if sort == _LINK else ("not-a-file", "not a regular file")


def _readable(found: Any, limit: int) -> int | tuple[str, str]:
    """Return how large a file is that may be read, else why not."""
    if len(found) == 2:
        return str(found[0]), str(found[1])
    sort, size, _ = found
    if sort == _LINK:
        return "symlink", "Too many levels of symbolic links"
    if sort != _REGULAR:
        return "not-a-file", "Is a directory" if sort == _FOLDER else "not a regular file"
    return int(size) if size <= limit else ("too-large", f"more than {limit} bytes")


def _sort(mode: int) -> str:
    return {_REGULAR: "file", _LINK: "symlink"}.get(mode, "other")


def _found(record: bytes) -> Found:
    """Read what stat said: mode, size, seconds, and the time in words, of which the fraction is wanted."""
    mode, size, seconds, _, clock, *_ = record.decode("ascii").split()
    fraction = clock.partition(".")[2][:9].ljust(9, "0")
    return int(mode, 16) & 0o170000, int(size), int(seconds) * 1_000_000_000 + int(fraction)


def _named(record: bytes) -> tuple[Found, bytes]:
    """As `_found`, with the name behind it; it ends with the line, and may itself hold one."""
    parts = record.split(b" ", 6)
    return _found(b" ".join(parts[:5])), parts[6].removesuffix(b"\n")


def _reason(complaints: list[bytes]) -> tuple[str, str]:
    words = _text(complaints[-1]) if complaints else "cannot be looked at"
    return _KINDS.get(words, "unreadable"), words


def _text(complaint: bytes) -> str:
    """Return the operating system's words at the end of what a program complained of."""
    return complaint.decode("utf-8", "replace").strip().rpartition(": ")[2]


def _below(path: str) -> str:
    """Spell a path so that no program takes it for an option."""
    return f"./{path}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
