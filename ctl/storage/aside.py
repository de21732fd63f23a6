"""Keep files aside by hard links while a program that deletes files works beside them.

A link costs no space and no copy: the program unlinks its name, ours remains, and putting it back is one
more link. Everything lies flat in `<root>/.regctl-aside/<run>/`, on the same file system as the storage:
a blob as `<algorithm>-<hex>`, any other file as `file-<number>`, whose path stands in `index`: a line
of JSON each, since a path may hold any byte.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ctl.errors import RefusedError, RegctlError
from ctl.storage.durable import sync_folder

FOLDER = ".regctl-aside"
BLOBS = "docker/registry/v2/blobs"
_BLOB = re.compile(r"docker/registry/v2/blobs/(sha256|sha512)/[0-9a-f]{2}/([0-9a-f]{64,128})/data")
_FILE_NAME = re.compile(r"file-[0-9]{1,12}")
_BLOB_NAME = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})")
# file systems without hard links, as /proc/self/mountinfo spells them
_WITHOUT_LINKS = frozenset({"vfat", "msdos", "exfat", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "9p"})


@dataclass(frozen=True)
class Kept:
    """What `keep` did: links made now, files that were linked already, paths gone, links let go."""

    made: int
    already: int
    gone: tuple[str, ...]
    dropped: int = 0


def _blob_path(digest: str) -> str:
    """Return a blob's path below the storage root for a digest such as "sha256:ab..."."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"{BLOBS}/{algorithm}/{hexadecimal[:2]}/{hexadecimal}/data"


class Aside:
    """The files that one run keeps aside in a storage root.

    `keep`, `put_back` and `discard` may each be called again after a crash in their middle.
    """

    def __init__(self, root: str, run: str) -> None:
        self.root = root
        self.folder = os.path.join(root, FOLDER, run)
        self._index = os.path.join(self.folder, "index")

    def problems(self) -> Iterator[str]:
        """Say why files cannot be kept aside here; only reads."""
        blobs = os.path.join(self.root, BLOBS)
        if os.path.islink(os.path.join(self.root, FOLDER)):
            yield f"{os.path.join(self.root, FOLDER)} is a symbolic link; regctl makes a folder of that name"
        try:
            device = os.stat(self.root).st_dev
            if not os.path.lexists(blobs):
                return  # nothing was ever pushed: nothing to keep
            folders = [blobs] + [e.path for e in os.scandir(blobs) if e.is_dir(follow_symlinks=False)]
            folders += [e.path for folder in folders[1:] for e in os.scandir(folder)]
            elsewhere = [f for f in folders if os.lstat(f).st_dev != device or os.path.islink(f)]
        except OSError as error:
            yield f"{error.filename}: {error.strerror}"
            return
        if elsewhere:
            yield f"{elsewhere[0]} lies on another file system than {self.root}, so no hard link can reach it"
        kind = _file_system(device)
        if kind in _WITHOUT_LINKS:
            yield f"the file system of {self.root} ({kind}) has no hard links"
        if not os.access(self.root, os.W_OK, effective_ids=True):
            yield f"no permission to write in {self.root}"

    def exists(self) -> bool:
        """Say whether this run keeps anything aside here."""
        return os.path.isdir(self.folder)

    def others(self) -> list[str]:
        """Return the runs that left links here, this one aside; only reads."""
        try:
            return sorted(set(os.listdir(os.path.dirname(self.folder))) - {os.path.basename(self.folder)})
        except (FileNotFoundError, NotADirectoryError):
            return []

    def keep(self, paths: Iterable[str], *, only: bool = False) -> Kept:
        """Link every path (relative to the root) aside; a path that is gone meanwhile is reported.

        A file that was replaced since it was linked is linked anew. With `only` the links of all other
        paths are let go, so that nothing comes back that was deleted on purpose. Raises RefusedError where
        the file system makes no hard link: nothing was deleted yet then.
        """
        made, already, dropped, gone, path = 0, 0, 0, [], self.root
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with _opened(self.root) as source, _opened(self.folder) as target:
                have = self._inodes()
                wanted = {os.path.basename(self._index)}
                for path, name in self._name(paths):
                    wanted.add(name)
                    inode = _inode(path, source)
                    if inode is None:
                        gone.append(path)
                    elif have.get(name) == inode:
                        already += 1
                    else:
                        if name in have:
                            os.unlink(name, dir_fd=target)
                        os.link(path, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                        made += 1
                for name in have.keys() - wanted if only else ():
                    os.unlink(name, dir_fd=target)
                    dropped += 1
                os.fsync(target)
        except OSError as error:
            raise _not_linked(path, error) from error
        return Kept(made, already, tuple(gone), dropped)

    def _inodes(self) -> dict[str, int]:
        with os.scandir(self.folder) as entries:
            return {entry.name: entry.inode() for entry in entries}

    def kept(self) -> Iterator[tuple[str, str]]:
        """Yield (name in the folder, path below the root) of every file kept aside."""
        indexed = dict(self._indexed())
        with os.scandir(self.folder) as entries:
            for entry in entries:
                path = _path_of(entry.name) or indexed.get(entry.name)
                if path is not None:
                    yield entry.name, path

    def missing(self) -> list[str]:
        """Return the paths, sorted, that are kept aside and no longer in their place."""
        if not self.exists():
            return []
        with _opened(self.root) as root:
            return sorted(path for _name, path in self.kept() if _inode(path, root) is None)

    def put_back(self, paths: Iterable[str]) -> int:
        """Link the paths back into their place, with the folders they need; return how many."""
        names = {path: name for name, path in self.kept()}
        touched = set()
        count = 0
        for path in paths:
            place = os.path.join(self.root, path)
            self._make_folder(os.path.dirname(place))
            with contextlib.suppress(FileExistsError):
                os.link(os.path.join(self.folder, names[path]), place, follow_symlinks=False)
                count += 1
                touched.add(os.path.dirname(place))
        for folder in touched:
            sync_folder(folder)
        return count

    def discard(self) -> int:
        """Delete the links of this run; return how many there were. The files in place stay."""
        if not self.exists():
            return 0
        count = sum(1 for _ in self.kept())
        try:
            shutil.rmtree(self.folder)
            parent = os.path.dirname(self.folder)
            sync_folder(parent)
            if not os.listdir(parent):
                os.rmdir(parent)
        except OSError as error:
            raise RegctlError(
                f"{self.folder}: the links kept aside could not be removed: {error.strerror}",
                hint="they hold no space of their own while their blobs live; remove the folder by hand",
            ) from error
        return count

    def _make_folder(self, folder: str) -> None:
        """Create a folder and its parents like the nearest one there: same owner, group and mode.

        It is made beside the links and moved into its place, so that a crash never leaves one that the
        registry's user cannot write in.
        """
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        like = os.stat(parent)
        draft = os.path.join(self.folder, "folder.new")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(draft)  # of a crash
        os.mkdir(draft, 0o700)
        with contextlib.suppress(PermissionError):  # not root: then it is ours, as all that we make
            os.chown(draft, like.st_uid, like.st_gid)
        os.chmod(draft, like.st_mode & 0o7777)
        os.rename(draft, folder)
        sync_folder(parent)

    def _name(self, paths: Iterable[str]) -> list[tuple[str, str]]:
        """Return (path, name to keep it under); the names that a path does not tell are on disk first."""
        indexed = {path: name for name, path in self._indexed()}
        free = max((int(name.rpartition("-")[2]) for name in indexed.values()), default=-1) + 1
        named, new = [], []
        for path in paths:
            name = _name_of(path) or indexed.get(path)
            if name is None:
                name = indexed[path] = f"file-{free}"
                free += 1
                new.append(json.dumps([name, path]) + "\n")
            named.append((path, name))
        if new:
            with open(self._index, "a", encoding="ascii") as index:
                # a crash may have torn the last line: end it, so that it names nothing but itself
                index.write("\n" if index.tell() else "")
                index.writelines(new)
                index.flush()
                os.fsync(index.fileno())
        return named

    def _indexed(self) -> Iterator[tuple[str, str]]:
        """Yield (name, path) of the files that are not blobs; a torn line is passed over."""
        try:
            with open(self._index, encoding="ascii", errors="replace") as index:
                for line in index:
                    with contextlib.suppress(ValueError, TypeError):
                        name, path = json.loads(line)
                        if _FILE_NAME.fullmatch(name):
                            yield name, path
        except FileNotFoundError:
            return


def is_blob(path: str) -> bool:
    """Say whether a path below a storage root is a blob's."""
    return _BLOB.fullmatch(path) is not None


def _name_of(path: str) -> str | None:
    found = _BLOB.fullmatch(path)
    return f"{found[1]}-{found[2]}" if found else None


def _path_of(name: str) -> str | None:
    found = _BLOB_NAME.fullmatch(name)
    return _blob_path(f"{found[1]}:{found[2]}") if found else None


def _inode(path: str, root: int) -> int | None:
    """Return the number that names a file below a folder, None if it is not there."""
    try:
        return os.stat(path, dir_fd=root, follow_symlinks=False).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _file_system(device: int) -> str:
    """Name the type of the file system with this device number, "" if the kernel does not say."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return ""


def _not_linked(path: str, error: OSError) -> RegctlError:
    if error.errno in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES):
        return RefusedError(
            f"{path}: no hard link can be made beside the storage: {error.strerror}",
            hint="regctl collects only where it can keep every live file aside; run it as root, on a local"
            " file system with hard links",
        )
    return RegctlError(
        f"{path}: could not be kept aside: {error.strerror}",
        hint="nothing was deleted; a link needs an entry in a folder, so a full disk must get room first"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "",
    )
