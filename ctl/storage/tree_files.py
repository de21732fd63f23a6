"""Write into a registry's tree and take out of it, so that every change can be taken back.

A file appears whole or not at all: it is written below `<root>/docker/registry/regctl-tree/<run>`, on the
same file system, and moved into its place. What is taken out, or replaced, moves there too and is deleted by
nobody. New entries get the owner and the mode of the folder they come into.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator

from ctl.errors import RefusedError, RegctlError

FOLDER = "docker/registry/regctl-tree"
_SYNC_ALL = 200  # written entries after which one sync of everything is cheaper than one for each


class TreeFiles:
    """The changes of one run to the tree below a storage root. Paths are relative to the root.

    Every verb may be called again after a crash in its middle. Raises RegctlError where the file system
    refuses.
    """

    def __init__(self, root: str, run: str) -> None:
        self.root = root
        self.folder = os.path.join(root, FOLDER, run)
        self._kept = os.path.join(self.folder, "tree")
        self._new = os.path.join(self.folder, "new")
        self._index = os.path.join(self.folder, "index")
        self._touched: set[str] = set()  # files and folders to be flushed
        self._count = 0

    def problems(self) -> Iterator[str]:
        """Say why nothing can be changed here; only reads."""
        base = os.path.join(self.root, "docker/registry/v2")
        try:
            device = os.stat(self.root).st_dev
            for name in ("repositories", "blobs"):
                place = os.path.join(base, name)
                if os.path.lexists(place) and (os.lstat(place).st_dev != device or os.path.islink(place)):
                    yield f"{place} lies on another file system than {self.root}: nothing can be moved aside"
                if os.path.lexists(place) and not os.access(place, os.W_OK, effective_ids=True):
                    yield f"no permission to write in {place}"
        except OSError as error:
            yield f"{error.filename}: {error.strerror}"

    def put(self, path: str, data: bytes) -> bool:
        """Have a file hold exactly these bytes; False where it does. Another file there is kept aside."""
        place = os.path.join(self.root, path)
        try:
            if _content(place, len(data)) == data:
                return False
            folder = os.path.dirname(place)
            self._make_folder(folder)
            self._make_own(self._new)
            draft = os.path.join(self._new, "file")
            self._write(draft, data, folder)
            if os.path.lexists(place):
                self._keep(path, place)
            os.rename(draft, place)
        except OSError as error:
            raise _failed(path, error) from error
        self._note(place, folder)
        return True

    def take_out(self, path: str) -> bool:
        """Move a file or a whole folder aside; False where it is not there."""
        place = os.path.join(self.root, path)
        try:
            if not os.path.lexists(place):
                return False
            target = self._target(path)
            self._record(path, "moved")
            os.rename(place, target)
        except OSError as error:
            raise _failed(path, error) from error
        self._note(os.path.dirname(place), os.path.dirname(target))
        return True

    def flush(self) -> None:
        """Return when all changes are on the disk."""
        try:
            if self._count > _SYNC_ALL:
                os.sync()
            else:
                for path in sorted(self._touched):
                    with contextlib.suppress(FileNotFoundError):
                        _sync(path)
        except OSError as error:
            raise RegctlError(f"{self.root}: the changes cannot be flushed: {error.strerror}") from error
        self._touched.clear()
        self._count = 0

    # -- the way back --------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Say whether this run changed anything here that can be taken back."""
        return os.path.isdir(self.folder)

    def kept(self) -> list[tuple[str, str]]:
        """Return (path, "moved" or "replaced") of all that lies aside, in the order in which it went."""
        found: dict[str, str] = {}
        for path, how in self._records():
            if os.path.lexists(os.path.join(self._kept, path)):
                found.setdefault(path, how)
        return list(found.items())

    def restore(self) -> tuple[int, list[str]]:
        """Put everything back into its place; return how much, and the paths whose place was taken since.

        A replaced file comes back over what replaced it; a moved one only where nothing else stands.
        """
        count, taken = 0, []
        for path, how in self.kept():
            place, aside = os.path.join(self.root, path), os.path.join(self._kept, path)
            if how == "moved" and os.path.lexists(place):
                taken.append(path)
                continue
            try:
                self._make_folder(os.path.dirname(place))
                os.rename(aside, place)
            except OSError as error:
                raise _failed(path, error) from error
            self._note(os.path.dirname(place), os.path.dirname(aside))
            count += 1
        self.flush()
        return count, taken

    def forget(self) -> None:
        """Remove this run's folder with all that lies in it; only for what nobody wants back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self.folder))

    # -- inside --------------------------------------------------------------------------------------

    def _write(self, draft: str, data: bytes, folder: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # of a crash
        like = os.stat(folder)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            with contextlib.suppress(PermissionError):  # not root: then it is ours, as all that we make
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, like.st_mode & 0o666)
        finally:
            os.close(handle)

    def _keep(self, path: str, place: str) -> None:
        """Give a file that is about to be replaced a second name aside; the first one kept is the one."""
        if os.path.lexists(os.path.join(self._kept, path)):
            return
        target = self._target(path)
        self._record(path, "replaced")
        if os.path.isdir(place) and not os.path.islink(place):
            os.rename(place, target)
        else:
            os.link(place, target, follow_symlinks=False)

    def _target(self, path: str) -> str:
        target = os.path.join(self._kept, path)
        number = 0
        while os.path.lexists(target):  # it went before: what this run found first is what comes back
            number += 1
            target = os.path.join(self.folder, f"later-{number}", path)
        self._make_own(os.path.dirname(target))
        return target

    def _record(self, path: str, how: str) -> None:
        self._make_own(self.folder)
        with open(self._index, "a", encoding="ascii") as index:
            # a crash may have torn the last line: end it, so that it names nothing but itself
            index.write(("\n" if index.tell() else "") + json.dumps([path, how]))

    def _records(self) -> Iterator[tuple[str, str]]:
        try:
            with open(self._index, encoding="ascii", errors="replace") as index:
                for line in index:
                    with contextlib.suppress(ValueError, TypeError):
                        path, how = json.loads(line)
                        yield str(path), str(how)
        except FileNotFoundError:
            return

    def _make_own(self, folder: str) -> None:
        """Make a folder of ours; nobody but us needs to look into it."""
        for one in (os.path.dirname(self.folder), self.folder, folder):
            if not os.path.isdir(one):
                os.makedirs(one, mode=0o700, exist_ok=True)

    def _make_folder(self, folder: str) -> None:
        """Create a folder and its parents like the nearest one there: same owner, group and mode.

        All of it is made aside and appears at once, so that a crash never leaves one that the registry's
        user cannot write in.
        """
        if os.path.isdir(folder):
            return
        missing = []
        parent = folder
        while not os.path.isdir(parent):
            parent, name = os.path.split(parent)
            missing.append(name)
        like = os.stat(parent)
        self._make_own(self._new)
        draft = os.path.join(self._new, "folder")
        shutil.rmtree(draft, ignore_errors=True)  # of a crash
        names = list(reversed(missing))
        for depth in range(len(names)):
            path = os.path.join(draft, *names[1 : depth + 1])
            os.mkdir(path, 0o700)
            with contextlib.suppress(PermissionError):
                os.chown(path, like.st_uid, like.st_gid)
            os.chmod(path, like.st_mode & 0o7777)
        os.rename(draft, os.path.join(parent, names[0]))
        self._note(parent, *(os.path.join(parent, *names[: n + 1]) for n in range(len(names))))

    def _note(self, *paths: str) -> None:
        self._count += 1
        if self._count <= _SYNC_ALL:
            self._touched.update(paths)


def _content(place: str, size: int) -> bytes | None:
    """Return what a file of that size holds, None for any other."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(handle, size + 1) if os.fstat(handle).st_size == size else None
    except OSError:
        return None
    finally:
        os.close(handle)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(path: str, error: OSError) -> RegctlError:
    if error.errno == errno.EXDEV:
        return RefusedError(
            f"{path}: lies on another file system than the storage root: it cannot be moved in one piece",
            hint="the storage must be one file system, without mounts or symbolic links below it",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RegctlError(
            f"{path}: no room: {error.strerror}", hint="nothing was lost; make room and run it again"
        )
    return RegctlError(
        f"{path}: {error.strerror}", hint="nothing was deleted: mend the cause and run it again"
    )
