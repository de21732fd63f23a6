"""Set the two lock files of a storage, provably, and bring back exactly what was there."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctl.catalog.lockfiles import CONTENT, DATABASE, FILESYSTEM, FOLDER, lock_path, read_lock_files
from ctl.errors import RegctlError
from ctl.hosts.base import Command
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.storage.base import directory_of

if TYPE_CHECKING:
    from ctl.hosts.base import Host


class SetLockFiles(Undoable):
    """Have exactly these lock files in the storage of a registry.

    What is to be there is written before what is not to be there is removed: in between both are there,
    and then nothing collects and no node that heeds them starts. A file that is right already is not
    touched. New ones get the owner and the mode that fit their neighbours.
    """

    registry: str
    database_in_use: bool
    filesystem_in_use: bool

    def title(self) -> str:
        names = [name for name, wanted in self._wanted().items() if wanted]
        return f"have {' and '.join(names) or 'no lock file'} in the storage of {self.registry}"

    def host(self) -> str:
        return ""

    def check(self, here: Target) -> Iterator[Problem]:
        place = _place(here, self.registry)
        try:
            locks = read_lock_files(here.world.storage(self.registry))
            folder = place.host.stat(place.folder)
        except RegctlError as error:
            yield Problem(error.message, error.hint)
            return
        for name in locks.odd:
            yield Problem(
                f"{place.path(name)} is a directory, where a lock file belongs: the registry overlooks it",
                "see what is in it and take it away by hand",
            )
        if folder is not None and folder.kind != "directory":
            yield Problem(f"{place.folder} is no directory", "see what it is and take it away by hand")

    def observe(self, here: Target) -> Before:
        place = _place(here, self.registry)
        return {
            "missing_folders": [path for path in place.folders() if place.host.stat(path) is None],
            "files": {name: place.describe(name) for name in self._wanted()},
        }

    def preview(self, here: Target) -> Preview:
        place = _place(here, self.registry)
        lines = []
        for name, wanted in self._wanted().items():
            if wanted != place.there(name):
                lines.append(f"{'write' if wanted else 'remove'} {place.path(name)}")
        return Preview(self.title(), bool(lines), (Text("\n".join(lines)),) if lines else ())

    def apply(self, here: Target, before: Before) -> StepReport:
        place = _place(here, self.registry)
        changed = []
        for name, wanted in sorted(self._wanted().items(), key=lambda item: not item[1]):
            if wanted == place.there(name):
                continue
            here.run.guard()
            if wanted:
                place.make_folders()
                place.write_new(name)
            else:
                place.host.remove(place.path(name))
            changed.append(name)
        return StepReport({"lock_files_changed": sorted(changed)}, changed=bool(changed))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        place = _place(here, self.registry)
        now = {name: place.there(name) for name in self._wanted()}
        if now == self._wanted():
            return "done"
        was = {name: bool(info) for name, info in before["files"].items()}
        return "pending" if now == was else "partial"

    def verify(self, here: Target) -> Iterator[Problem]:
        locks = read_lock_files(here.world.storage(self.registry))
        if (locks.database_in_use, locks.filesystem_in_use) != (self.database_in_use, self.filesystem_in_use):
            yield Problem(f"the storage of {self.registry} has {locks.describe()}, which is not what was set")

    def undo(self, here: Target, before: Before) -> None:
        place = _place(here, self.registry)
        files: Mapping[str, Mapping[str, Any]] = before["files"]
        for name, info in sorted(files.items(), key=lambda item: not item[1]):
            here.run.guard()
            if info and info != place.describe(name):
                place.make_folders()
                place.host.write(
                    place.path(name),
                    base64.b64decode(info["content"]),
                    mode=info["mode"],
                    owner=info["owner"],
                    group=info["group"],
                )
            elif not info:
                place.host.remove(place.path(name))
        for path in reversed(before["missing_folders"]):
            if place.host.stat(path) is not None:  # stays where something else has come to be in it
                place.host.run(Command(("rmdir", "--ignore-fail-on-non-empty", "--", path)))

    def _wanted(self) -> dict[str, bool]:
        return {DATABASE: self.database_in_use, FILESYSTEM: self.filesystem_in_use}


@dataclass(frozen=True)
class _Place:
    """Where the lock files of a storage are, on the host that holds it."""

    host: Host
    root: str

    @property
    def folder(self) -> str:
        return os.path.join(self.root, FOLDER)

    def path(self, name: str) -> str:
        return os.path.join(self.root, lock_path(name))

    def folders(self) -> list[str]:
        """Return the folders from below the root down to that of the lock files."""
        parts = FOLDER.split("/")
        return [os.path.join(self.root, *parts[: number + 1]) for number in range(len(parts))]

    def there(self, name: str) -> bool:
        info = self.host.stat(self.path(name))
        return info is not None and info.kind != "directory"

    def describe(self, name: str) -> dict[str, Any]:
        """Describe a lock file, JSON-able, so that it can be made again; {} for none."""
        info = self.host.stat(self.path(name))
        if info is None or info.kind == "directory":
            return {}
        content = base64.b64encode(self.host.read(self.path(name))).decode()
        return {"content": content, "mode": info.mode, "owner": info.owner, "group": info.group}

    def make_folders(self) -> None:
        """Make what is missing, owned and open as the folder above."""
        above = self.host.stat(self.root)
        for path in self.folders():
            info = self.host.stat(path)
            if info is None and above is not None:
                self.host.make_directory(path, mode=above.mode, owner=above.owner, group=above.group)
                info = self.host.stat(path)
            above = info

    def write_new(self, name: str) -> None:
        """Write a lock file as its neighbour is, else as its folder is without the right to enter."""
        other = self.describe(DATABASE if name == FILESYSTEM else FILESYSTEM)
        folder = self.host.stat(self.folder)
        like = other or (
            {"mode": folder.mode & 0o666, "owner": folder.owner, "group": folder.group} if folder else {}
        )
        self.host.write(
            self.path(name),
            CONTENT,
            mode=like.get("mode", 0o644),
            owner=like.get("owner"),
            group=like.get("group"),
        )


def _place(here: Target, registry: str) -> _Place:
    description = here.world.registry(registry)
    host = description.storage.host or description.nodes[0].host
    return _Place(here.world.host(host), directory_of(here.world.storage(registry)))
