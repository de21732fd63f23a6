"""What to do about a manifest of a Pulp that cannot be done: a remedy for each case. Pure.

Which release does what was read in the code of 2.24.15 and 2.27.14. A push of a manifest that is there
already changes nothing in its row, but brings its file back: after it the row can be linked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

from ctl.engines.pulp_releases import repairs_by_sync, serves_unprepared

Kind = Literal["pushed", "synced", "local"]
Action = Literal[
    "relink", "sync", "sync-immediate", "fetch-files", "push-again", "restore-file", "copy-again", "cleanup"
]
REASONS: Mapping[str, str] = {
    "unlinked": "its text is not in the database, and its link to its file is lost; the file is still there",
    "lost": "neither its text nor its file is left",
    "not-stored": "its file was given up to reclaim space, before its text was moved",
    "manifest-file-missing": "its file is gone from the storage",
    "manifest-unreadable": "its file holds no manifest",
    "config-not-stored": "the file of its config blob was never fetched, or was given up to reclaim space",
    "config-file-missing": "the file of its config blob is gone from the storage",
    "config-unreadable": "the file of its config blob holds no config",
    "odd-shape": "Pulp's own code stumbles over what it holds",
}
_BROKEN = ("unlinked", "lost", "not-stored", "manifest-file-missing")
_OF_FILES = ("manifest-file-missing", "manifest-unreadable", "config-file-missing", "config-unreadable")
_RELEASES = "2.26.15 and later of that line, 2.27.10 and later of that line, or 2.28.1 and later"


@dataclass(frozen=True)
class Shown:
    """A repository that shows a manifest, itself or through an index. `current`: in its newest version."""

    name: str
    kind: Kind
    current: bool = True


@dataclass(frozen=True)
class Broken:
    """A manifest that cannot be done. `words` are Pulp's own; `file` is relative to its storage."""

    digest: str
    reason: str
    repositories: tuple[Shown, ...] = ()
    tags: tuple[str, ...] = ()  # "repository:tag" of those that show it now
    words: str = ""
    file: str = ""
    media_type: str = ""
    has_text: bool = False

    def served(self, version: Version | None) -> bool:
        """Say whether a release hands it out as it is."""
        if self.has_text:
            return True
        return self.reason not in _BROKEN and version is not None and serves_unprepared(version)

    @property
    def broken(self) -> bool:
        """Whether no release can hand it out; the others are passed over, and served while files are."""
        return self.reason in _BROKEN and not self.has_text


@dataclass(frozen=True)
class Remedy:
    """What to do: `action` for scripts, `text` for people, `then` what follows when that is done."""

    action: Action
    text: str
    then: str = ""


def remedy(one: Broken, version: Version | None, registry: str, host: str) -> Remedy:
    """Return what to do about a manifest on a host with this release of Pulp's container plugin."""
    prepare = f"regctl content prepare {registry} --host {host}"
    if one.reason == "unlinked":
        return Remedy("relink", f"regctl content repair {registry} --host {host}", prepare)
    if not one.repositories:
        return Remedy(
            "cleanup", "no repository has it: leave it to Pulp's cleanup of orphans, after everything else"
        )
    current = tuple(shown for shown in one.repositories if shown.current)
    if not current:
        names = _names(one.repositories)
        return Remedy(
            "cleanup",
            f"only older versions of {names} have it: delete those versions, then leave it to Pulp's cleanup "
            "of orphans, after everything else",
        )
    synced = [shown for shown in current if shown.kind == "synced"]
    if synced:
        return _synced(one, version, _names(synced), prepare)
    pushed = [shown for shown in current if shown.kind == "pushed"]
    if pushed:
        return _pushed(one, registry, host, _names(pushed))
    names = _names(current)
    if one.reason == "lost":
        return Remedy(
            "push-again",
            f"{names} has no remote: push the same image to any repository of its domain, which brings its "
            "file back; where nobody has that image, delete it",
            f"regctl content repair {registry} --host {host}",
        )
    return Remedy(
        "copy-again",
        f"{names} has no remote: mend it in the repository that it was copied from, or remove it there and "
        "copy it again",
        prepare,
    )


def _synced(one: Broken, version: Version | None, names: str, prepare: str) -> Remedy:
    if version is not None and repairs_by_sync(version) and not one.has_text:
        return Remedy("sync", f"sync {names}: this release fetches it again", prepare)
    if one.reason == "config-not-stored":
        return Remedy("sync-immediate", f"give its remote the policy immediate, and sync {names}", prepare)
    if one.reason in _OF_FILES:
        return Remedy(
            "fetch-files",
            f"let Pulp fetch the file {one.file} again (its repair of the newest version of {names}), or "
            "bring it back from a backup",
            prepare,
        )
    if one.reason == "odd-shape":
        return Remedy(
            "sync", f"look at it; if it is right at its source, sync {names} with {_RELEASES}", prepare
        )
    return Remedy("sync", f"sync {names} with a release that fetches it again: {_RELEASES}", prepare)


def _pushed(one: Broken, registry: str, host: str, names: str) -> Remedy:
    what = _tags(one) or f"{one.digest} of {names}"
    anew = f"delete {what}, have orphans cleaned up when all else is done, and push it again"
    if one.reason in _OF_FILES:
        return Remedy(
            "restore-file",
            f"bring the file {one.file} back from a backup; else {anew}",
            f"regctl content prepare {registry} --host {host}",
        )
    if one.reason != "lost":
        return Remedy("push-again", anew)
    return Remedy(
        "push-again",
        f"push {what} again, which brings its file back; where nobody has that image, delete it",
        f"regctl content repair {registry} --host {host}",
    )


def _names(shown: Sequence[Shown]) -> str:
    names = [one.name for one in shown]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _tags(one: Broken) -> str:
    return ", ".join(one.tags[:3]) + (f" and {len(one.tags) - 3} more" if len(one.tags) > 3 else "")
