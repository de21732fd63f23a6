"""Change a tree on another host: the code that does it here runs over there, by python3, one verb at a time.

A verb is sent whole before it begins, holds the tree's lock over there while it lasts, and may be called
again after a crash in its middle, so also after a broken connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from ctl.errors import RefusedError, UnreachableError
from ctl.storage.aside import FOLDER, Aside, Kept
from ctl.storage.far import FarStorage
from ctl.storage.far_talk import PythonTalk

if TYPE_CHECKING:
    from ctl.storage.base import Storage


def open_aside(storage: Storage, run: str) -> Aside | FarAside:
    """Return what a run keeps aside in a storage, wherever that is."""
    return FarAside(storage, run) if isinstance(storage, FarStorage) else Aside(storage.root, run)


def demand_here(storage: Storage, what: str) -> str:
    """Return the root of a storage in the file system of this machine; RefusedError for any other."""
    if isinstance(storage, FarStorage):
        raise RefusedError(
            f"{what} works on this machine's own disk only, and {storage.root} is on {storage.host}",
            hint=f"run regctl on {storage.host} for that",
        )
    return storage.root


class FarAside:
    """As Aside, for a tree on another host. UnreachableError where the connection breaks."""

    def __init__(self, storage: FarStorage, run: str) -> None:
        self.root = storage.root
        self.folder = os.path.join(storage.root, FOLDER, run)
        self._storage = storage
        self._run = run

    def problems(self) -> Iterator[str]:
        """Say why files cannot be kept aside there; only reads."""
        try:
            found = self._act("problems")
        except RefusedError as error:
            yield f"{error.message}: {error.hint}"
            return
        yield from (f"{problem} (on {self._storage.host})" for problem in found)

    def exists(self) -> bool:
        """Say whether this run keeps anything aside there."""
        return bool(self._act("exists"))

    def others(self) -> list[str]:
        """Return the runs that left links there, this one aside; only reads."""
        (found,) = self._storage.survey([(FOLDER, None)])  # to look needs no python3
        return sorted({*found.names, *(name for name, _ in found.others)} - {self._run})

    def keep(self, paths: Iterable[str], *, only: bool = False) -> Kept:
        """Link every path aside; with `only` let the links of all others go. As Aside.keep."""
        found = self._act("keep", list(paths), only=only)
        return Kept(**{**found, "gone": tuple(found["gone"])})

    def kept(self) -> Iterator[tuple[str, str]]:
        """Yield (name in the folder, path below the root) of every file kept aside."""
        yield from ((str(name), str(path)) for name, path in self._act("kept"))

    def missing(self) -> list[str]:
        """Return the paths, sorted, that are kept aside and no longer in their place."""
        return [str(path) for path in self._act("missing")]

    def put_back(self, paths: Iterable[str]) -> int:
        """Link the paths back into their place, with the folders they need; return how many."""
        return int(self._act("put_back", list(paths)))

    def discard(self) -> int:
        """Delete the links of this run; return how many there were. The files in place stay."""
        return int(self._act("discard"))

    def _act(self, verb: str, *arguments: Any, **options: Any) -> Any:
        return act(
            self._storage, "aside", "Aside", [self._storage.directory, self._run], verb, arguments, options
        )


def act(
    storage: FarStorage,
    module: str,
    kind: str,
    made_with: list[Any],
    verb: str,
    arguments: Iterable[Any],
    options: dict[str, Any],
    guard: Callable[[], None] | None = None,
) -> Any:
    """Call a verb of an object of `ctl.storage.<module>` that is made over there for it."""
    talk = _begun(storage, module, kind, made_with)
    try:
        found = talk.act(verb, list(arguments), options, guard)
    except UnreachableError as error:
        talk.close()
        raise UnreachableError(
            f"the connection to {storage.host} broke while its storage was changed",
            hint="whether it was carried out is not known, and doing it again is safe: the run goes on with"
            " `regctl run resume`",
            details=(error.message, *error.details),
        ) from error
    except BaseException:
        talk.close()
        raise
    storage.give_back(talk)
    return found


def _begun(storage: FarStorage, module: str, kind: str, made_with: list[Any]) -> PythonTalk:
    """Return a stream with such an object, a new one where that at hand had broken: nothing was done yet."""
    for last in (False, True):
        talk = storage.take()
        if not talk.acts:
            storage.give_back(talk)
            raise RefusedError(
                f"there is no python3 on {storage.host}: nothing in its storage can be changed",
                hint=f"install python3 (3.7 or later) on {storage.host}, or run regctl there",
            )
        try:
            cast(PythonTalk, talk).make(f"ctl.storage.{module}", kind, made_with)
            return cast(PythonTalk, talk)
        except UnreachableError:
            talk.close()
            storage.close()
            if last:
                raise
        except BaseException:
            talk.close()
            raise
    raise AssertionError
