"""One look over a whole tree, small: a print for each repository and each folder of blobs, no names."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from ctl.catalog.digests import revision_path
from ctl.catalog.tree import REVISIONS, TAGS, Tree
from ctl.storage.stoppable import Stoppable

if TYPE_CHECKING:
    from ctl.catalog.tree import Layout, RepositoryFolder, RepositoryListing
    from ctl.storage.base import Storage

SAMPLE = 64  # links whose paths are kept, to measure the storage's latency with
Prints = dict[str, bytes | None]


@dataclass(frozen=True)
class Surveyed:
    """What a tree looked like. A print of None says: do not believe anything older of this."""

    layout: Layout
    repositories: list[tuple[RepositoryFolder, Prints]]  # prints of revisions and tags
    shards: list[tuple[str, bytes | None]]  # the print of the blobs' names in each folder
    sample: list[str]  # paths of a few revision links


class Look:
    """A look over a tree that has begun, by a thread of its own; it is given up at the end of the block."""

    def __init__(self, storage: Storage) -> None:
        self._given_up = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="survey")
        self._found = self._thread.submit(survey_tree, Stoppable(storage, self._given_up.is_set))

    def result(self) -> Surveyed:
        """Wait for its end; UnreachableError without storage."""
        return self._found.result()

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._thread.shutdown()


def survey_tree(storage: Storage) -> Surveyed:
    """Survey the links of all repositories and the names of all blobs; UnreachableError without storage."""
    tree, began_ns = Tree(storage), time.time_ns()  # not when a print is asked for
    layout = tree.layout()
    step = max(1, len(layout.repositories) // SAMPLE)
    repositories: list[tuple[RepositoryFolder, Prints]] = []
    sample: list[str] = []
    for number, listing in enumerate(tree.links(layout.repositories, (REVISIONS, TAGS))):
        repositories.append((listing.folder, listing.prints(began_ns)))
        if number % step == 0 and len(sample) < SAMPLE:
            sample += _first_link(listing)
    shards = [(one.shard, one.part.print(stats=False)) for one in tree.blobs(layout.shards, stats=False)]
    return Surveyed(layout, repositories, shards, sample)


def _first_link(listing: RepositoryListing) -> list[str]:
    for algorithm, survey in listing.parts[REVISIONS].surveys:
        if survey.names:
            return [revision_path(listing.folder.name, f"{algorithm}:{survey.names[0]}")]
    return []
