"""Find repositories in the order, and with the blind spots, of GitLab's importer.

It goes through every folder's entries sorted by their bytes, takes `_manifests` for a repository, enters no
other folder whose name begins with `_`, and, measured on 4.32, gives up the rest of a folder at a *file*
whose name begins with `_`. Symbolic links are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.catalog.preflight_names import NAME_LIMIT, repository_fault
from ctl.catalog.preflight_words import PreflightFinding, found
from ctl.catalog.tree import REPOSITORIES

if TYPE_CHECKING:
    from ctl.storage.base import Storage, Survey

MANIFESTS = "_manifests"
LINKS = 2  # symbolic links in one path: two that lead upwards would double the tree at every level
_DEEPEST = NAME_LIMIT  # levels: a name of one letter each is longer than any repository's


@dataclass(slots=True)
class Place:
    """A folder below repositories/, and the file that keeps the importer from it ("" mostly)."""

    name: str
    hidden_by: str = ""
    links: int = 0  # symbolic links on the way


@dataclass(slots=True)
class Walked:
    """What was found: repositories by name, and what stands in the way of an import."""

    repositories: list[Place] = field(default_factory=list)
    findings: list[PreflightFinding] = field(default_factory=list)
    missing: bool = False  # there is no folder of repositories


def walk(storage: Storage) -> Walked:
    """Find every repository; names that the importer refuses are findings and no repositories."""
    walked = Walked()
    hiders: dict[str, list[str]] = {}
    level = [Place("")]
    for depth in range(_DEEPEST):
        below: list[Place] = []
        surveys = storage.survey((_path(place.name) + "/.", None) for place in level)
        for place, survey in zip(level, surveys, strict=True):
            if survey.problem == "missing" and not depth:
                walked.missing = True
            elif survey.problem not in ("", "missing"):
                reason = survey.problem
                walked.findings.append(found(_path(place.name), "unreadable", reason, repository=place.name))
            else:
                below += _entries(storage, place, survey, walked, hiders)
        if not below:
            break
        level = below
    for place in walked.repositories:
        if place.hidden_by:
            hiders[place.hidden_by].append(place.name)
    walked.findings += [_hider(path, names) for path, names in hiders.items() if names]
    walked.repositories.sort(key=lambda place: place.name)
    return walked


def _path(name: str) -> str:
    return f"{REPOSITORIES}/{name}" if name else REPOSITORIES


def _entries(
    storage: Storage, place: Place, survey: Survey, walked: Walked, hiders: dict[str, list[str]]
) -> Iterator[Place]:
    """Go through one folder as the importer does; yield the folders to enter."""
    entries = {name: True for name in survey.names} | {name: False for name, _ in survey.others}
    linked = {name for name, kind in survey.others if kind == "symlink"}
    for name, is_folder in _followed(storage, place, survey, walked):
        if is_folder is None:
            del entries[name]
        else:
            entries[name] = is_folder
    hidden_by = place.hidden_by
    for name in sorted(entries, key=os.fsencode):
        path = f"{_path(place.name)}/{name}"
        if name == MANIFESTS:
            _repository(place, hidden_by, entries[name], walked)
        elif not name.startswith("_"):
            if entries[name]:
                below = f"{place.name}/{name}" if place.name else name
                yield Place(below, hidden_by, place.links + (name in linked))
            continue
        if not entries[name] and not hidden_by:
            hidden_by = path
            hiders[path] = []


def _followed(
    storage: Storage, place: Place, survey: Survey, walked: Walked
) -> Iterator[tuple[str, bool | None]]:
    """Yield (name, leads to a folder) for each symbolic link; None where it leads nowhere."""
    names = [name for name, kind in survey.others if kind == "symlink"]
    if not names:
        return
    paths = [f"{_path(place.name)}/{name}" for name in names]
    for name, path, answer in zip(
        names, paths, storage.survey((f"{path}/.", None) for path in paths), strict=True
    ):
        if not answer.problem and place.links < LINKS:
            yield name, True
        elif not answer.problem:
            reason = f"more than {LINKS} symbolic links in one path, as in a circle: it is not followed"
            walked.findings.append(found(path, "broken-folder", reason, move=path, hidden_by=place.hidden_by))
            yield name, None
        elif answer.problem == "missing":
            yield name, None
        else:
            # a file, or a circle: only the latter stops the importer
            looked = next(iter(storage.stat_many([f"{path}/."])))
            if "symbolic link" in getattr(looked, "reason", ""):
                reason = "a symbolic link that leads in a circle"
                walked.findings.append(
                    found(path, "broken-folder", reason, move=path, hidden_by=place.hidden_by)
                )
                yield name, None
            else:
                yield name, False


def _repository(place: Place, hidden_by: str, is_folder: bool, walked: Walked) -> None:
    path = f"{_path(place.name)}/{MANIFESTS}"
    name = place.name or MANIFESTS
    hidden = {"hidden_by": hidden_by} if hidden_by else {}
    if reason := repository_fault(name):
        kind = "illegal-repository-name"
        walked.findings.append(found(path, kind, reason, move=path, repository=name, **hidden))
    elif not is_folder:
        reason = "a file, where a repository's folder belongs"
        walked.findings.append(found(path, "broken-folder", reason, move=path, repository=name, **hidden))
    else:
        walked.repositories.append(Place(name, hidden_by))


def _hider(path: str, names: list[str]) -> PreflightFinding:
    shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
    reason = f"a file; the importer would pass over {len(names)} repositories sorted after it: {shown}"
    return found(path, "hiding-file", reason, move=path, lost=tuple(sorted(names)))
