"""Move entries of a storage aside by renaming; a list on disk brings each back as it was.

Everything of one run lies in `<root>/.regctl-quarantine/<run>/`, on the file system of the storage and out
of the registry's sight: `list-<n>` (a line of JSON for each entry, on disk before the first rename) and
`items/<number>`, the entries themselves. A rename changes neither bytes nor modes, owners and times of an
entry; the times of the folders it leaves are in the list as well.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ctl.errors import RefusedError, RegctlError, UsageError
from ctl.storage.durable import sync_folder, write_durably
from ctl.storage.entry_print import look, outermost
from ctl.storage.renaming import rename_new

FOLDER = ".regctl-quarantine"


@dataclass(frozen=True)
class Item:
    """One entry that is, or is to be, moved. `path` is below the root; `seen` tells when it changed."""

    number: int
    path: str
    seen: str
    parent_mtime_ns: int
    about: Mapping[str, str] = field(default_factory=dict)  # kind, repository, tag, reason: for people
    asked: str = ""  # the path as it was asked for, which may go through symbolic links


class Quarantine:
    """The entries that one run moved aside in a storage root. All may be called again after a crash."""

    def __init__(self, root: str, run: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run):
            raise UsageError(f"{run!a} is no run's id", hint="`regctl registry quarantine list` names them")
        self.root = root
        self.run = run
        self.folder = os.path.join(root, FOLDER, run)
        self._items = os.path.join(self.folder, "items")

    def exists(self) -> bool:
        """Say whether anything of this run is here."""
        return os.path.isdir(self.folder)

    def problems(self, paths: Iterable[str]) -> Iterator[str]:
        """Say why these paths cannot be moved aside; only reads."""
        try:
            device = os.stat(self.root).st_dev
        except OSError as error:
            yield f"{self.root}: {error.strerror}"
            return
        if os.path.islink(os.path.join(self.root, FOLDER)):
            yield f"{os.path.join(self.root, FOLDER)} is a symbolic link; regctl makes a folder of that name"
        if not os.access(self.root, os.W_OK, effective_ids=True):
            yield f"no permission to write in {self.root}"
        for path in paths:
            with contextlib.suppress(OSError):
                if os.lstat(self._place(path)).st_dev != device:
                    yield f"{path} lies on another file system than {self.root}, so it cannot be renamed"

    def describe(self, entries: Iterable[tuple[str, Mapping[str, str]]]) -> list[Item]:
        """Look at entries (path, what to say about it) as they are now; those that are gone are left out.

        An entry within another one goes with it.
        """
        number = sum(1 for _ in self.items())
        found: list[Item] = []
        real = [(self._real(path), {**about, "": path}) for path, about in entries]
        for path, about in outermost(real):
            place = self._place(path)
            asked = about.pop("")
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                parent = os.stat(os.path.dirname(place)).st_mtime_ns
                found.append(Item(number, path, look(place), parent, about, asked))
                number += 1
        return found

    def _real(self, path: str) -> str:
        """Return a path without symbolic links on the way, so that one entry has one path.

        One that leads out of the storage stays as it is.
        """
        folder, name = os.path.split(self._place(path))
        root = os.path.realpath(self.root)
        real = os.path.realpath(folder)
        return f"{real}/{name}"[len(root) + 1 :] if real.startswith(f"{root}/") else path

    def move(
        self, items: Iterable[Item], header: Mapping[str, Any], guard: Callable[[], None] = lambda: None
    ) -> tuple[int, list[str]]:
        """Write the list, then move each item; return how many were moved, and the paths that changed.

        An entry that changed since it was described stays where it is: somebody mended it meanwhile.
        """
        new = list(items)
        if not new:
            return 0, []
        self._begin(header)
        self._write_list(new)
        return self._carry_out(new, guard)

    def finish(self, guard: Callable[[], None] = lambda: None) -> tuple[int, list[str]]:
        """Go on with what a crash left in the middle; as `move`."""
        return self._carry_out(list(self.items()), guard) if self.exists() else (0, [])

    def items(self) -> Iterator[Item]:
        """Return what the lists say, in order; also what was not moved in the end."""
        for name in self._lists():
            with open(os.path.join(self.folder, name), encoding="ascii") as lines:
                for line in lines:
                    yield Item(**json.loads(line))

    def header(self) -> Mapping[str, Any]:
        """Return what was noted at the start: registry, time and the like; {} if there is nothing."""
        try:
            with open(os.path.join(self.folder, "header"), encoding="ascii") as file:
                found: Mapping[str, Any] = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    def held(self, item: Item) -> bool:
        """Say whether an item lies aside now."""
        return os.path.lexists(self._aside(item))

    def obstacles(self) -> list[str]:
        """Say what keeps the entries from going back: places that are taken or gone, entries that changed."""
        found = []
        for item in self.items():
            if not self.held(item):
                continue
            place = self._place(item.path)
            if os.path.lexists(place):
                found.append(f"{item.path} is there again: somebody wrote it since")
            elif not os.path.isdir(os.path.dirname(place)):
                found.append(f"the folder of {item.path} is gone")
            elif look(self._aside(item)) != item.seen:
                found.append(f"{self._aside(item)} was changed since it was moved")
        return found

    def put_back(self, guard: Callable[[], None] = lambda: None) -> int:
        """Bring everything back; RefusedError, with nothing changed, where something is in the way."""
        if not self.exists():
            with contextlib.suppress(OSError):  # of a crash at the very end
                os.rmdir(os.path.dirname(self.folder))
            return 0
        obstacles = self.obstacles()
        if obstacles:
            raise RefusedError(
                f"{len(obstacles)} entries cannot go back, the first: {obstacles[0]}",
                hint=f"nothing was changed; compare with {self._items} and settle it by hand",
                details=tuple(obstacles[1:20]),
            )
        items = list(self.items())
        times = self._choose_times(items)
        count = 0
        for item in reversed(items):
            if self.held(item):
                guard()
                rename_new(self._aside(item), self._place(item.path))
                count += 1
        self._restore_times(times)
        self._forget()
        return count

    def _place(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}"

    def _aside(self, item: Item) -> str:
        return os.path.join(self._items, str(item.number))

    def _lists(self) -> list[str]:
        try:
            names = [n for n in os.listdir(self.folder) if n.startswith("list-") and n[5:].isdecimal()]
        except FileNotFoundError:
            return []
        return sorted(names, key=lambda name: int(name[5:]))

    def _begin(self, header: Mapping[str, Any]) -> None:
        if os.path.exists(os.path.join(self.folder, "header")):
            return
        before = os.stat(self.root).st_mtime_ns
        made = not os.path.isdir(os.path.dirname(self.folder))
        os.makedirs(self._items, mode=0o700, exist_ok=True)
        times = {"root_mtime_ns": before, "root_left_ns": os.stat(self.root).st_mtime_ns} if made else {}
        write_durably(self.folder, "header", json.dumps({**header, **times}) + "\n")
        sync_folder(os.path.dirname(self.folder))
        sync_folder(self.root)

    def _write_list(self, items: list[Item]) -> None:
        name = f"list-{len(self._lists()) + 1}"
        write_durably(self.folder, name, "".join(json.dumps(asdict(item)) + "\n" for item in items))

    def _carry_out(self, items: list[Item], guard: Callable[[], None]) -> tuple[int, list[str]]:
        moved, changed, parents = 0, [], set()
        for item in items:
            if self.held(item):
                parents.add(os.path.dirname(self._place(item.path)))
                continue
            place = self._place(item.path)
            try:
                same = look(place) == item.seen
            except (FileNotFoundError, NotADirectoryError):
                same = False
            if not same:
                changed.append(item.path)
                continue
            guard()
            try:
                rename_new(place, self._aside(item))
            except OSError as error:
                raise _not_moved(item.path, error) from error
            parents.add(os.path.dirname(place))
            moved += 1
        for parent in parents:
            with contextlib.suppress(FileNotFoundError):  # it was reached through a link that moved
                sync_folder(parent)
        sync_folder(self._items)
        self._note_left(items)
        return moved, changed

    def _note_left(self, items: list[Item]) -> None:
        """Note the times that the folders have now, so that a later change of theirs is told from ours."""
        left = self._noted("left")
        for item in items:
            parent = os.path.dirname(item.path)
            with contextlib.suppress(FileNotFoundError):
                left[parent] = os.stat(self._place(parent)).st_mtime_ns
        write_durably(self.folder, "left", json.dumps(left) + "\n")

    def _noted(self, name: str) -> dict[str, int]:
        try:
            with open(os.path.join(self.folder, name), encoding="ascii") as file:
                found: dict[str, int] = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    def _choose_times(self, items: list[Item]) -> dict[str, int]:
        """Choose the folders that get their time back: those that nobody changed since we left them.

        Chosen once, and on disk before the first entry goes back, since that changes the times again.
        """
        times = self._noted("times")
        if times:
            return times
        left = self._noted("left")
        for item in items:
            parent = os.path.dirname(item.path)
            with contextlib.suppress(FileNotFoundError):
                now = os.stat(self._place(parent)).st_mtime_ns
                if left.get(parent, now) == now:
                    times.setdefault(parent, item.parent_mtime_ns)
        write_durably(self.folder, "times", json.dumps(times) + "\n")
        return times

    def _restore_times(self, times: Mapping[str, int]) -> None:
        for parent, mtime_ns in times.items():
            place = self._place(parent)
            with contextlib.suppress(FileNotFoundError):
                os.utime(place, ns=(os.stat(place).st_atime_ns, mtime_ns))
                sync_folder(place)

    def _forget(self) -> None:
        """Delete what is left of the run: the lists, and the folders that are empty now."""
        header = self.header()
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self._items)
        for name in sorted(os.listdir(self.folder), key=lambda name: name == "header"):
            os.unlink(os.path.join(self.folder, name))
        os.rmdir(self.folder)
        parent = os.path.dirname(self.folder)
        if os.listdir(parent):
            return
        root = os.stat(self.root)
        os.rmdir(parent)
        if root.st_mtime_ns == header.get("root_left_ns"):
            os.utime(self.root, ns=(root.st_atime_ns, int(header["root_mtime_ns"])))
        sync_folder(self.root)


def quarantines(root: str) -> list[str]:
    """Return the runs that have something aside in a storage root, the oldest first."""
    try:
        return sorted(os.listdir(os.path.join(root, FOLDER)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _not_moved(path: str, error: OSError) -> RegctlError:
    if error.errno in (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS):
        return RefusedError(
            f"{path}: cannot be moved aside: {error.strerror}",
            hint="run regctl as root, on the host whose file system this is; what was moved so far goes back"
            " with the undo",
        )
    return RegctlError(f"{path}: cannot be moved aside: {error.strerror}")
