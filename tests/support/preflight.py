"""A pre-flight of a tree, its quarantine without a site, and a picture of every byte and time of a tree."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctl.catalog.preflight import Counts, KeptTag, Preflight
from ctl.catalog.preflight_words import Effect, PreflightFinding
from ctl.storage.filesystem import FilesystemStorage
from ctl.storage.quarantine import Quarantine


@dataclass
class Judged:
    """What a pre-flight says of a tree."""

    findings: list[PreflightFinding]
    counts: Counts
    tags: set[tuple[str, str, str]] = field(default_factory=set)  # that will be imported
    children: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def stops(self) -> bool:
        """Whether the import would end with an error, as things stand."""
        return any(one.effect is Effect.ABORT and not one.hidden_by for one in self.findings)

    def kinds(self, part: str) -> set[str]:
        """The kinds found whose path, repository or reason has `part` in it, without mere information."""
        return {
            one.kind
            for one in self.findings
            if one.effect is not Effect.INFO and part in f"{one.path} {one.repository} {one.reason}"
        }


def judge(root: Path | str, workers: int = 0) -> Judged:
    """Read a tree."""
    kept: list[KeptTag] = []
    reading = Preflight(FilesystemStorage(str(root), workers=workers), kept=kept.append)
    judged = Judged(list(reading.findings()), reading.counts)
    judged.tags = {(one.repository, one.tag, one.digest) for one in kept}
    judged.children = {(one.repository, one.digest, child) for one in kept for child in one.children}
    return judged


def quarantine(root: Path | str, run: str = "a-run") -> Quarantine:
    """Move aside what a pre-flight finds, until it finds nothing more."""
    aside = Quarantine(str(root), run)
    for _ in range(8):
        moves = [(one.move, {"kind": one.kind}) for one in judge(root).findings if one.move]
        if not aside.move(aside.describe(moves), {"registry": "main"})[0]:
            break
    return aside


def picture(root: Path | str, *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: type, mode, owner, bytes or target, and the mtime in nanoseconds."""
    found: dict[str, tuple[Any, ...]] = {}
    top = os.fsencode(str(root))
    for folder, folders, files in os.walk(top):
        for name in (b".", *folders, *files):
            path = os.path.join(folder, name)
            if name == b"." and folder != top:
                continue
            info = os.lstat(path)
            content = b""
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            mtime = info.st_mtime_ns if times else 0
            key = os.path.relpath(path, top).decode("utf-8", "surrogateescape")
            found[key] = (info.st_mode, info.st_uid, info.st_gid, content, mtime)
    return found
