"""An in-memory Storage: files by path, with symbolic links and errors on demand."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ctl.errors import UnreachableError
from ctl.storage.base import Entry, Failure, Space, Survey


@dataclass
class MemoryStorage:
    """A storage whose files stand in `files`; folders are there where files are, or in `folders`.

    `links` maps symbolic links to where they point, `broken` paths to the words of the operating system.
    """

    root: str = "/memory"
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)  # path -> (data, mtime in ns)
    folders: set[str] = field(default_factory=set)  # empty ones
    links: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    there: bool = True

    def write(self, path: str, data: bytes, mtime_ns: int = 1_700_000_000_000_000_000) -> None:
        """Put a file."""
        self.files[path] = (data, mtime_ns)

    def exists(self) -> bool:
        """Say whether the root is there."""
        return self.there

    def list_directory(self, path: str) -> tuple[list[str], list[str]]:
        """Return (directory names, file names), each sorted; FileNotFoundError if missing."""
        found = self._list(path)
        if found.problem == "missing":
            raise FileNotFoundError(2, "no such directory", path)
        if found.problem:
            raise UnreachableError(f"cannot list {path}: {found.problem}")
        return found.names, [name for name, _ in found.others]

    def survey(self, requests: Iterable[tuple[str, str | None]]) -> Iterator[Survey]:
        """For each (folder, leaf): the folders in it and the stat of `<name>/<leaf>`."""
        self._demand_root()
        for path, leaf in requests:
            found = self._list(self._real(path))
            for name in found.names if leaf is not None else ():
                size, mtime_ns = self._leaf(f"{found.path}/{name}/{leaf}", found)
                found.sizes.append(size)
                found.mtimes_ns.append(mtime_ns)
            found.path = path
            yield found

    def scan(self, prefix: str) -> Iterator[Entry | Failure]:
        """Every file below a prefix, sorted by path."""
        self._demand_root()
        below = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        paths = [path for path in self._everything() if path.startswith(below)]
        if not paths and below and not self._is_folder(below[:-1]):
            yield Failure(prefix.rstrip("/"), "No such file or directory", "missing")
        yield from self.stat_many(sorted(paths))

    def stat_many(self, paths: Iterable[str]) -> Iterator[Entry | Failure]:
        """Stat each path, in the order given."""
        self._demand_root()
        for path in paths:
            failure = self._failure(self._real(path))
            if failure:
                yield replace(failure, path=path)
            else:
                data, mtime_ns = self.files[self._real(path)]
                yield Entry(path, len(data), mtime_ns)

    def read_many(self, paths: Iterable[str], limit: int) -> Iterator[tuple[str, bytes] | Failure]:
        """Read each file whole, in the order given."""
        self._demand_root()
        for path in paths:
            failure = self._failure(self._real(path))
            if failure:
                yield replace(failure, path=path)
            elif len(self.files[self._real(path)][0]) > limit:
                yield Failure(path, f"more than {limit} bytes", "too-large")
            else:
                yield path, self.files[self._real(path)][0]

    def hash_many(self, files: Iterable[tuple[str, str]]) -> Iterator[str | Failure]:
        """Hash each (path, algorithm), in the order given."""
        self._demand_root()
        for path, algorithm in files:
            data = self.files[path][0] if path in self.files else b""
            yield self._failure(path) or hashlib.new(algorithm, data).hexdigest()

    def space(self) -> Space:
        """Say how much room there is: always the same."""
        self._demand_root()
        return Space(1 << 40, 1 << 39, 1 << 20)

    def _demand_root(self) -> None:
        if not self.there:
            raise UnreachableError(f"the storage root {self.root} cannot be read: No such file or directory")

    def _real(self, path: str) -> str:
        """Leave out the parts `.`, and go through a symbolic link before one."""
        parts: list[str] = []
        for part in path.split("/"):
            here = "/".join(parts)
            if part != ".":
                parts.append(part)
            elif here in self.links:
                parts = posixpath.normpath(posixpath.join(here, "..", self.links[here])).split("/")
        return "/".join(parts)

    def _everything(self) -> set[str]:
        return {*self.files, *self.links, *self.broken}

    def _is_folder(self, path: str) -> bool:
        below = f"{path}/" if path else ""
        names = {*self._everything(), *self.folders}
        return path in self.folders or any(name.startswith(below) for name in names if name != path)

    def _failure(self, path: str) -> Failure | None:
        if path in self.broken:
            return Failure(path, self.broken[path])
        parents = path.split("/")
        if any("/".join(parents[:depth]) in self.links for depth in range(1, len(parents) + 1)):
            return Failure(path, "a symbolic link", "symlink")
        if path in self.files:
            return None
        if self._is_folder(path):
            return Failure(path, "not a regular file", "not-a-file")
        return Failure(path, "No such file or directory", "missing")

    def _list(self, path: str) -> Survey:
        if path in self.broken:
            return Survey(path, [], problem=self.broken[path])
        if path in self.files or path in self.links:
            return Survey(path, [], problem="not a folder, or a symbolic link")
        if path and not self._is_folder(path):
            return Survey(path, [], problem="missing")
        below = f"{path}/" if path else ""
        names: set[str] = set()
        others: dict[str, str] = {}
        for entry in {*self._everything(), *self.folders}:
            if not entry.startswith(below) or entry == path:
                continue
            name, _, rest = entry[len(below) :].partition("/")
            if rest or entry in self.folders:
                names.add(name)
            else:
                others[name] = "symlink" if entry in self.links else "file"
        return Survey(path, sorted(names - others.keys()), others=sorted(others.items()))

    def _leaf(self, path: str, found: Survey) -> tuple[int, int]:
        failure = self._failure(path)
        if failure is None:
            data, mtime_ns = self.files[path]
            return len(data), mtime_ns
        if failure.kind == "unreadable":
            found.reason = failure.reason
        sizes = {"missing": -1, "symlink": -2, "not-a-file": -3}
        return sizes.get(failure.kind, -4), 0
