"""Which blobs a storage holds, small enough to keep in memory, and paths that stop the import's last step.

16 bytes a blob: a million of them are 16 MB. Two digests whose first 64 bits are the same would be taken
for one, which does not happen by chance.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.catalog.digests import HEX
from ctl.catalog.preflight_names import blob_path_fault
from ctl.catalog.preflight_words import PreflightFinding, found
from ctl.catalog.tree import BLOBS

if TYPE_CHECKING:
    from ctl.storage.base import Storage, Survey

ABSENT = -1
SYMLINK = -2  # `data` itself is a symbolic link


class BlobIndex:
    """The sizes of the stored blobs, by digest."""

    def __init__(self) -> None:
        self._heads: dict[str, array[int]] = {}
        self._sizes: dict[str, array[int]] = {}

    def add(self, algorithm: str, name: str, size: int) -> None:
        """Note a blob; names of one algorithm come in order."""
        if algorithm not in self._heads:
            self._heads[algorithm], self._sizes[algorithm] = array("Q"), array("q")
        self._heads[algorithm].append(int(name[:16], 16))
        self._sizes[algorithm].append(size)

    def size(self, digest: str) -> int:
        """Return a stored blob's size in bytes, ABSENT, or SYMLINK."""
        algorithm, _, name = digest.partition(":")
        heads = self._heads.get(algorithm)
        if heads is None:
            return ABSENT
        head = int(name[:16], 16)
        at = bisect_left(heads, head)
        return self._sizes[algorithm][at] if at < len(heads) and heads[at] == head else ABSENT

    def __len__(self) -> int:
        return sum(map(len, self._heads.values()))


def read_blobs(storage: Storage, index: BlobIndex) -> Iterator[PreflightFinding]:
    """Fill the index from a storage, and yield what step three of the import stops at."""
    top = next(iter(storage.survey([(f"{BLOBS}/.", None)])))
    if top.problem == "missing":
        return
    yield from _faulty_files(top, ())
    yield from _unreadable(top, ())
    shards: list[tuple[str, str]] = []
    algorithms = top.names + _linked(storage, top, ())
    for survey in storage.survey((f"{BLOBS}/{name}/.", None) for name in algorithms):
        algorithm = survey.path.split("/")[-2]
        yield from _faulty_files(survey, (algorithm,))
        yield from _unreadable(survey, (algorithm,))
        names = sorted(survey.names + _linked(storage, survey, (algorithm,)))
        if algorithm in HEX:
            shards += [(algorithm, name) for name in names]
        else:
            for name in names:
                yield from _below(storage, (algorithm, name))
    for survey in storage.survey((f"{BLOBS}/{a}/{name}/.", "data") for a, name in shards):
        yield from _shard(storage, index, survey)


def _shard(storage: Storage, index: BlobIndex, survey: Survey) -> Iterator[PreflightFinding]:
    algorithm, digits = survey.path.split("/")[-3:-1]
    parts = (algorithm, digits)
    yield from _faulty_files(survey, parts)
    yield from _unreadable(survey, parts)
    legal = HEX[algorithm].match
    sizes = dict(zip(survey.names, survey.sizes, strict=True))
    linked = _linked(storage, survey, parts)
    for name in sorted(survey.names + linked) if linked else survey.names:
        if not legal(name) or name[:2] != digits or algorithm == "sha384":
            yield from _below(storage, (*parts, name))
            continue
        size = sizes[name] if name in sizes else _stat(storage, f"{BLOBS}/{algorithm}/{digits}/{name}/data")
        if size >= 0 or size == SYMLINK:
            index.add(algorithm, name, size)


def _stat(storage: Storage, path: str) -> int:
    from ctl.storage.base import Entry

    answer = next(iter(storage.stat_many([path])))
    if isinstance(answer, Entry):
        return answer.size
    return SYMLINK if answer.kind == "symlink" else ABSENT


def _below(storage: Storage, parts: tuple[str, ...]) -> Iterator[PreflightFinding]:
    """Yield the files `data` anywhere below a folder that no registry makes."""
    base = "/".join((BLOBS, *parts))
    for entry in storage.scan(base):
        folder, _, name = entry.path.rpartition("/")
        if name == "data" and (reason := blob_path_fault(folder.removeprefix(f"{BLOBS}/").split("/"))):
            yield found(entry.path, "bad-blob-path", reason, move=folder)


def _faulty_files(survey: Survey, parts: tuple[str, ...]) -> Iterator[PreflightFinding]:
    """Yield a file `data` that lies where only folders do."""
    base = "/".join((BLOBS, *parts))
    for name, kind in survey.others:
        if name == "data" and kind != "symlink":
            path = f"{base}/data"
            yield found(path, "bad-blob-path", "a file where only folders belong", move=path)


def _unreadable(survey: Survey, parts: tuple[str, ...]) -> Iterator[PreflightFinding]:
    if survey.problem not in ("", "missing"):
        yield found("/".join((BLOBS, *parts)), "unreadable", survey.problem)


def _linked(storage: Storage, survey: Survey, parts: tuple[str, ...]) -> list[str]:
    """Return the symbolic links in a folder that lead to folders: the importer goes through them."""
    names = [name for name, kind in survey.others if kind == "symlink"]
    base = "/".join((BLOBS, *parts))
    answers = storage.survey((f"{base}/{name}/.", None) for name in names)
    return [name for name, answer in zip(names, answers, strict=True) if not answer.problem]
