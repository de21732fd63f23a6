"""A copy of the rows before preparing, and the way back: field by field, link by link."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_asks import Ask, ask_several

HELD = Seed(images=10, lists=2, repositories=1, damage={"manifest_file_missing": 1, "lost": 1})
_LINKS = """
SELECT l.pulp_id, l.content_id, l.artifact_id, l.relative_path, l.pulp_created, l.pulp_last_updated
FROM core_contentartifact l JOIN container_manifest m ON m.content_ptr_id = l.content_id ORDER BY 1
"""
PREPARE: Ask = ("prepare", {"chunk": 5})
Held = tuple[PulpUnderTest, Any, Any, Path]


def state(pulp: PulpUnderTest) -> tuple[Any, Any]:
    """All that a copy is about: the manifests' rows whole, and their links with their times."""
    rows = pulp.query("SELECT row_to_json(m) FROM container_manifest m ORDER BY content_ptr_id")
    return rows, pulp.query(_LINKS)


def wanted(name: str = "one", **more: object) -> tuple[str, dict[str, object]]:
    """Ask for a copy to be brought back."""
    return "restore", {"action": "restore", "name": name, **more}


def written(name: str = "one", room: int = 0) -> tuple[str, dict[str, object]]:
    """Ask for a copy to be written."""
    return "keep", {"action": "write", "name": name, "room": room}


@pytest.fixture(scope="module")
def held(pulp_lab: PulpLab) -> Held:
    """A Pulp that is prepared, what it held before and after, and the copy of before."""
    pulp = pulp_lab.clone(HELD)
    before = state(pulp)
    kept, prepared = ask_several(pulp, written(), PREPARE)
    assert (kept[0], kept[1]["rows"], kept[1]["found"]) == (0, 14, False)
    assert (prepared[0], prepared[1]["done"], prepared[1]["remaining"]) == (3, 12, 2)
    after = state(pulp)
    assert after != before
    return pulp, before, after, Path(pulp.folder / "state" / "regctl-content" / "one.jsonl.gz")


def test_back_and_forth(held: Held) -> None:
    """With its controls: a copy that is damaged, and a file that is gone, are refused."""
    pulp, before, after, path = held
    assert path.stat().st_mode & 0o777 == 0o600
    digest = pulp.query("SELECT digest FROM container_manifest WHERE data IS NOT NULL ORDER BY 1 LIMIT 1")[0][
        0
    ]
    file, whole = pulp.file_of(digest), path.read_bytes()
    damaged = whole[:-40] + bytes([whole[-40] ^ 4]) + whole[-39:]
    refused, missing, partly, rest, again = ask_several(
        pulp,
        f"import os, pathlib; path = pathlib.Path({str(path)!r}); path.write_bytes({damaged!r})",
        wanted(),
        f"path.write_bytes({whole!r}); os.rename({str(file)!r}, {str(file)!r} + '.away')",
        wanted(),
        wanted(partial=True, chunk=5),
        f"os.rename({str(file)!r} + '.away', {str(file)!r})",
        wanted(chunk=5),
        wanted(chunk=5),
    )
    assert (refused[0], "is damaged" in refused[1]["message"]) == (3, True)
    assert (missing[0], "1 file-missing" in missing[1]["message"], digest in missing[1]["message"]) == (
        3,
        True,
        True,
    )
    assert (partly[0], partly[1]["done"], partly[1]["lost"]) == (0, 11, {"file-missing": 1})
    assert (rest[0], rest[1]["done"], rest[1]["counts"]) == (0, 1, {"as-before": 14})
    assert (again[0], again[1]["done"], again[1]["counts"]) == (0, 0, {"as-before": 14})
    assert state(pulp) == before

    ((code, answer),) = ask_several(pulp, PREPARE)
    assert (code, answer["done"]) == (3, 12)
    assert state(pulp) == after


def test_what_is_refused_changes_nothing(held: Held) -> None:
    pulp, _, after, path = held
    whole, free = path.read_bytes(), os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
    head, _, rows = gzip.decompress(whole).partition(b"\n")
    header = {**json.loads(head), "pulp": "00000000-0000-0000-0000-000000000000"}
    del header["sha256"]
    header["sha256"] = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
    others = path.with_name("others.jsonl.gz")
    others.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + rows))
    task = "from pulpcore.app.models import Task; task = Task.objects.create(name={!r}, logging_cid='x')"
    cleanup = "pulpcore.app.tasks.orphan.orphan_cleanup"

    found, crowded, foreign, none, busy = ask_several(
        pulp,
        written(),
        written("two", room=2 * free),
        wanted("others"),
        wanted("none"),
        task.format(cleanup) + "; task.state = 'waiting'; task.save()",
        wanted(),
        "task.delete()",
    )
    assert (found[0], found[1]["found"], path.read_bytes() == whole) == (
        0,
        True,
        True,
    )  # of before, not of now
    for answer, words in (
        (crowded, "bytes free, and a copy may take"),
        (foreign, "is another Pulp's"),
        (none, "there is no copy"),
        (busy, "a cleanup of orphans waits or runs"),
    ):
        assert (answer[0], answer[1]["regctl"], words in answer[1]["message"]) == (3, "refused", True), answer
    assert state(pulp) == after
    assert sorted(os.listdir(path.parent)) == ["one.jsonl.gz", "others.jsonl.gz"]


def test_where_nothing_is_left_nothing_is_written(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone()
    ((code, answer),) = ask_several(pulp, written())
    assert (code, answer["rows"], answer["path"]) == (0, 0, "")
    assert not (pulp.folder / "state" / "regctl-content").exists()


@pytest.mark.soak
@pytest.mark.parametrize("line", ["20", "27"])
def test_other_releases_have_their_way_back_too(pulp_labs: Callable[[str], PulpLab], line: str) -> None:
    pulp = pulp_labs(line).clone(Seed(images=6))
    before = state(pulp)
    kept, prepared = ask_several(pulp, written(), PREPARE)
    assert (kept[0], kept[1]["rows"], prepared[0], prepared[1]["done"]) == (0, 6, 0, 6)
    assert state(pulp) != before
    ((code, answer),) = ask_several(pulp, wanted())
    assert (code, answer["counts"]) == (0, {"as-before": 6})
    assert state(pulp) == before
