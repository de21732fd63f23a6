"""Compare listed links with the ones the catalog database knows, and read the few that are new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from ctl.catalog.digests import HEX, is_digest, pack
from ctl.catalog.model import Finding
from ctl.catalog.tree import BLOBS, LAYERS, REPOSITORIES, REVISIONS, TAG, TAGS, Part, finding, strays

if TYPE_CHECKING:
    from ctl.storage.base import Storage

Key = TypeVar("Key", bytes, str)  # a stored digest, or a tag's name
Note = Callable[[Finding], object]
_LINK_LIMIT = 512  # bytes; a link holds one digest
_READ_AT_ONCE = 512
_WHERE = {REVISIONS: "_manifests/revisions", LAYERS: "_layers", TAGS: "_manifests/tags"}


@dataclass(frozen=True, slots=True)
class Put(Generic[Key]):
    """A link that is new or changed. `size` is the link file's."""

    key: Key
    digest: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Drop(Generic[Key]):
    """A link that went away, or is no longer usable."""

    key: Key


@dataclass(frozen=True, slots=True)
class _Listed(Generic[Key]):
    key: Key
    digest: str  # that the path says; "" for a tag
    path: str
    size: int
    mtime_ns: int


def listed_links(repository: str, kind: str, part: Part, note: Note) -> Iterator[_Listed[bytes]]:
    """Yield the usable revision or layer links of a repository by stored digest; note the others."""
    for algorithm, survey in part.surveys:
        base = f"{REPOSITORIES}/{repository}/{_WHERE[kind]}/{algorithm}"
        for found in strays(survey):
            note(found)
        legal = HEX[algorithm].match
        for name, size, mtime_ns in zip(survey.names, survey.sizes, survey.mtimes_ns, strict=True):
            if not legal(name):
                note(finding(f"{base}/{name}", "illegal-digest", f"not a {algorithm} digest"))
            elif size == -1:
                continue  # deleting through the API removes the link and leaves its folder
            elif problem := _leaf_problem(f"{base}/{name}/link", size, survey.reason):
                note(problem)
            else:
                digest = f"{algorithm}:{name}"
                yield _Listed(pack(digest), digest, f"{base}/{name}/link", size, mtime_ns)


def listed_tags(repository: str, part: Part, note: Note) -> Iterator[_Listed[str]]:
    """Yield the usable tags of a repository by name; note the others."""
    base = f"{REPOSITORIES}/{repository}/{_WHERE[TAGS]}"
    for _, survey in part.surveys:
        for found in strays(survey):
            note(found)
        for name, size, mtime_ns in zip(survey.names, survey.sizes, survey.mtimes_ns, strict=True):
            path = f"{base}/{name}/current/link"
            if not TAG.match(name):
                note(finding(f"{base}/{name}", "illegal-tag-name", "not a name that a tag can have"))
            elif size == -1:
                note(finding(path, "missing-link", "the tag points nowhere"))
            elif problem := _leaf_problem(path, size, survey.reason):
                note(problem)
            else:
                yield _Listed(name, "", path, size, mtime_ns)


def listed_blobs(shard: str, part: Part, note: Note) -> Iterator[tuple[bytes, int, int]]:
    """Yield (digest, size, mtime) of the blobs in a shard; note what is none."""
    digits = shard.partition("/")[2]
    for algorithm, survey in part.surveys:
        for found in strays(survey):
            note(found)
        legal = HEX[algorithm].match
        base = f"{BLOBS}/{shard}"
        for name, size, mtime_ns in zip(survey.names, survey.sizes, survey.mtimes_ns, strict=True):
            if not legal(name):
                note(finding(f"{base}/{name}", "illegal-digest", f"not a {algorithm} digest"))
            elif not name.startswith(digits):
                note(finding(f"{base}/{name}", "misplaced-blob", f"belongs into {name[:2]}"))
            elif size == -1:
                note(finding(f"{base}/{name}/data", "missing-data", "the blob's folder is empty"))
            elif problem := _leaf_problem(f"{base}/{name}/data", size, survey.reason):
                note(problem)
            else:
                yield pack(f"{algorithm}:{name}"), size, mtime_ns


def _leaf_problem(path: str, size: int, reason: str) -> Finding | None:
    if size >= 0:
        return None
    if size == -2:
        return finding(path, "symlink", "a symbolic link; it is not followed")
    if size == -3:
        return finding(path, "unreadable-link", "not a file")
    return finding(path, "unreadable-link", reason or "cannot be read")


def changed_links(
    storage: Storage,
    listed: Iterable[_Listed[Key]],
    stored: Iterable[tuple[Key, bytes, int, int]],
    *,
    sure_before_ns: int,
    note: Note,
) -> Iterator[Put[Key] | Drop[Key]]:
    """Yield what to put and drop so that the stored links become the listed ones; both sorted by key.

    Only new links and ones with another size or mtime are read, and those whose mtime is not before
    `sure_before_ns`: they may have been written again within the same tick of the file system's clock.
    """
    candidates = _candidates(listed, stored, sure_before_ns)
    while chunk := list(islice(candidates, _READ_AT_ONCE)):
        paths = (one.path for one, _ in chunk if one is not None)
        contents = storage.read_many(paths, _LINK_LIMIT)
        for one, row in chunk:
            digest = _checked(one, next(contents), note) if one is not None else None
            if one is not None and digest is not None:
                if row is None or (row[1], row[2], row[3]) != (digest, one.size, one.mtime_ns):
                    yield Put(one.key, digest, one.size, one.mtime_ns)
            elif row is not None:
                yield Drop(row[0])


def _candidates(
    listed: Iterable[_Listed[Key]],
    stored: Iterable[tuple[Key, bytes, int, int]],
    sure_before_ns: int,
) -> Iterator[tuple[_Listed[Key] | None, tuple[Key, bytes, int, int] | None]]:
    """Pair what is listed with what is stored, leaving out what is surely the same."""
    known = iter(stored)
    row = next(known, None)
    for one in listed:
        while row is not None and row[0] < one.key:
            yield None, row
            row = next(known, None)
        match = None
        if row is not None and row[0] == one.key:
            match, row = row, next(known, None)
            if match[2:] == (one.size, one.mtime_ns) and one.mtime_ns < sure_before_ns:
                continue
        yield one, match
    while row is not None:
        yield None, row
        row = next(known, None)


def _checked(one: _Listed[Key], answer: object, note: Note) -> bytes | None:
    """Return the digest that a link holds, None (and a finding) where it holds none."""
    if not isinstance(answer, tuple):
        kind, reason = getattr(answer, "kind", ""), getattr(answer, "reason", "")
        if kind == "missing":
            return None  # deleted since it was listed: gone, not broken
        if kind == "symlink" or (kind == "not-a-file" and one.path.endswith("/current/link")):
            note(finding(one.path, "symlink", "a symbolic link; it is not followed"))
        elif kind == "too-large":
            note(finding(one.path, "bad-link", reason))
        else:
            note(finding(one.path, "unreadable-link", reason))
        return None
    data: bytes = answer[1]
    if not data:
        note(finding(one.path, "empty-link", "0 bytes"))
        return None
    text = data.decode("ascii", "replace")
    if not is_digest(text):
        note(finding(one.path, "bad-link", f"holds {data[:80]!a}, which is no digest"))
        return None
    if one.digest and text != one.digest and _is_alias(one, text):
        reason = f"stored under {text}: the 2.8 collector does not know that it is in use"
        note(finding(one.path, "aliased-blob", reason))
    elif one.digest and text != one.digest:
        note(finding(one.path, "link-mismatch", f"names {text}"))
        return None
    return pack(text)


def _is_alias(one: _Listed[Key], text: str) -> bool:
    """Say whether a layer link leads from the digest of a push to the one of another hash that stores it."""
    other = text.partition(":")[0] != one.digest.partition(":")[0]
    return other and f"/{_WHERE[LAYERS]}/" in one.path


def changed_blobs(
    listed: Iterable[tuple[bytes, int, int]], stored: Iterable[tuple[bytes, int, int]]
) -> Iterator[Put[bytes] | Drop[bytes]]:
    """Yield what to put and drop so that the stored blobs become the listed ones; both sorted."""
    known = iter(stored)
    row = next(known, None)
    for digest, size, mtime_ns in listed:
        while row is not None and row[0] < digest:
            yield Drop(row[0])
            row = next(known, None)
        if row is not None and row[0] == digest:
            same = row[1] == size and row[2] == mtime_ns
            row = next(known, None)
            if same:
                continue
        yield Put(digest, digest, size, mtime_ns)
    while row is not None:
        yield Drop(row[0])
        row = next(known, None)
