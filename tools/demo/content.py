"""What the demo pushes, and what it measures on disk."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import images
from tests.support.images import Image
from tests.support.transfer import Client, SkopeoResult, skopeo_push

REPOSITORIES = ("web/frontend", "web/api", "db/postgres", "tools/ci")
RESTARTING = ("connection refused", "connection reset", "broken pipe", "EOF")
EXTRA_TAGS = 240  # pushed by plain HTTP, so that the collection takes long enough to be watched


def push_by_skopeo(folder: Path, address: str) -> dict[tuple[str, str], str]:
    """Push three tags to each of four repositories, sharing base layers, and one multi-arch index."""
    base = images.layer("base", 200_000)
    pushed: dict[tuple[str, str], str] = {}
    for repository in REPOSITORIES:
        for tag in ("1.0", "1.1", "latest"):
            one = images.image(f"{repository}:{tag}", shared=[base], layer_size=60_000)
            _push(folder, one, address, repository, tag)
            pushed[repository, tag] = one.digest
    many = images.multi_arch("multi", shared=[base], layer_size=60_000)
    _push(folder, many, address, "tools/multi", "2.0")
    pushed["tools/multi", "2.0"] = many.digest
    return pushed


def push_by_http(url: str) -> dict[tuple[str, str], str]:
    """Push many small images into a few repositories."""
    pushed: dict[tuple[str, str], str] = {}
    base = images.layer("base", 200_000)
    with Client(url) as client:
        for number in range(EXTRA_TAGS):
            repository, tag = f"builds/team-{number % 8}", f"build-{number:04}"
            one = images.image(f"build {number}", shared=[base], layers=1)
            pushed[repository, tag] = client.push(repository, tag, one)
    return pushed


def make_garbage(folder: Path, url: str, address: str, expected: dict[tuple[str, str], str]) -> set[str]:
    """Delete one tag's manifest and push over another; return the blobs that nothing needs now.

    `expected` is brought up to date. Moving a tag leaves its old manifest as an untagged revision, which
    only --delete-untagged takes; deleting by digest makes the manifest and its own blobs garbage at once.
    """
    old = images.image("web/api:1.0", shared=[images.layer("base", 200_000)], layer_size=60_000)
    with Client(url) as client:
        client.delete_manifest("web/api", old.digest)
        for number in range(0, EXTRA_TAGS, 4):
            repository, tag = f"builds/team-{number % 8}", f"build-{number:04}"
            client.delete_manifest(repository, expected.pop((repository, tag)))
    del expected["web/api", "1.0"]
    new = images.image("tools/ci:latest again", layer_size=60_000)
    _push(folder, new, address, "tools/ci", "latest")
    expected["tools/ci", "latest"] = new.digest
    return {old.digest, old.blobs[0].digest, *(b.digest for b in old.blobs[2:])}


def stored_blobs(tree: Path) -> dict[str, int]:
    """Return digest and size of every blob in a storage tree."""
    return {
        f"{path.parts[-4]}:{path.parts[-2]}": path.stat().st_size
        for path in (tree / "blobs").glob("*/*/*/data")
    }


@dataclass
class Pusher(threading.Thread):
    """Pushes small images with skopeo, one after the other, until told to stop, and counts what happened.

    At the first refusal, so just inside the window and before anything is collected, it looks what the
    storage holds: also the blobs of a push that the window cut off before its manifest.
    """

    folder: Path
    address: str
    tree: Path
    known: dict[str, int] = field(default_factory=dict)
    accepted: list[tuple[float, str, str]] = field(default_factory=list)  # when, tag, digest
    refused: list[tuple[float, str]] = field(default_factory=list)
    unreachable: int = 0
    other: list[str] = field(default_factory=list)
    _stop_asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Push until stopped."""
        number = 0
        while not self._stop_asked.is_set():
            number += 1
            self.push_one(f"push-{number}")

    def push_one(self, tag: str) -> None:
        """Push one image and note how the registry answered."""
        one = images.image(f"concurrent {tag}", layers=1)
        result = skopeo_push(self.folder / tag, one, self.address, "live/pushes", tag)
        now = time.monotonic()
        if result.exit_code == 0:
            self.accepted.append((now, tag, one.digest))
        elif is_refusal(result):
            self.known = self.known or stored_blobs(self.tree)
            self.refused.append((now, tag))
        elif any(word in result.stderr for word in RESTARTING):
            self.unreachable += 1
        else:
            self.other.append(result.stderr.strip()[-200:])

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self._stop_asked.set()
        self.join(60)


def is_refusal(result: SkopeoResult) -> bool:
    """Say whether the registry answered 405 as read-only registries do."""
    return "405" in result.stderr or "method not allowed" in result.stderr.lower()


def _push(folder: Path, image: Image, address: str, repository: str, tag: str) -> None:
    place = folder / "oci" / f"{repository.replace('/', '-')}-{tag}-{image.digest[7:15]}"
    result = skopeo_push(place, image, address, repository, tag)
    if result.exit_code:
        raise RuntimeError(f"skopeo could not push {repository}:{tag}: {result.stderr}")
