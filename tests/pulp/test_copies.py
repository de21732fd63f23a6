"""A copy of the rows before preparing, and the way back: field by field, link by link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest, Seed

HELD = Seed(images=10, lists=2, repositories=1, damage={"manifest_file_missing": 1, "lost": 1})
_LINKS = """
SELECT l.pulp_id, l.content_id, l.artifact_id, l.relative_path, l.pulp_created, l.pulp_last_updated
FROM core_contentartifact l JOIN container_manifest m ON m.content_ptr_id = l.content_id ORDER BY 1
"""


def state(pulp: PulpUnderTest) -> tuple[Any, Any]:
    """All that a copy is about: the manifests' rows whole, and their links with their times."""
    rows = pulp.query("SELECT row_to_json(m) FROM container_manifest m ORDER BY content_ptr_id")
    return rows, pulp.query(_LINKS)


@pytest.fixture(scope="module")
def prepared(pulp_lab: PulpLab) -> tuple[PulpUnderTest, tuple[Any, Any], Path]:
    """A Pulp that is prepared, what it held before, and the copy of that."""
    pulp = pulp_lab.clone(HELD)
    before = state(pulp)
    code, answers = pulp.ask("keep", action="write", name="one", room=0)
    assert (code, answers[-1]["rows"], answers[-1]["found"]) == (0, 14, False)
    code, answers = pulp.ask("prepare", chunk=5)
    assert (code, answers[-1]["done"], answers[-1]["remaining"]) == (3, 12, 2)
    assert state(pulp) != before
    return pulp, before, Path(pulp.folder / "state" / "regctl-content" / "one.jsonl.gz")


def test_back_and_forth(prepared: tuple[PulpUnderTest, tuple[Any, Any], Path]) -> None:
    pulp, before, path = prepared
    after, whole = state(pulp), path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600

    # The control: a copy that was damaged, and a file that is gone, are refused and nothing is changed.
    path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 4]) + whole[-39:])
    code, answers = pulp.ask("restore", action="restore", name="one")
    assert (code, answers[-1]["regctl"], "is damaged" in answers[-1]["message"]) == (3, "refused", True)
    path.write_bytes(whole)
    digest = pulp.query("SELECT digest FROM container_manifest WHERE data IS NOT NULL LIMIT 1")[0][0]
    away = pulp.file_of(digest).rename(path.parent / "away")
    code, answers = pulp.ask("restore", action="restore", name="one")
    assert (code, "1 file-missing" in answers[-1]["message"]) == (3, True)
    assert digest in answers[-1]["message"]
    assert state(pulp) == after

    code, answers = pulp.ask("restore", action="restore", name="one", partial=True, chunk=5)
    assert (code, answers[-1]["done"], answers[-1]["left"], answers[-1]["lost"]) == (
        0,
        11,
        0,
        {"file-missing": 1},
    )
    away.rename(pulp.file_of(digest))
    code, answers = pulp.ask("restore", action="restore", name="one", chunk=5)
    assert (code, answers[-1]["done"], answers[-1]["counts"]) == (0, 1, {"as-before": 14})
    assert state(pulp) == before

    code, answers = pulp.ask("prepare", chunk=5)
    assert (code, answers[-1]["done"]) == (3, 12)
    rows, links = state(pulp)
    assert (rows, links) == after


def test_a_copy_is_written_once_and_only_where_there_is_room_and_something_to_keep(
    pulp_lab: PulpLab, prepared: tuple[PulpUnderTest, tuple[Any, Any], Path]
) -> None:
    pulp, _, path = prepared
    whole = path.read_bytes()
    code, answers = pulp.ask("keep", action="write", name="one", room=0)
    assert (code, answers[-1]["found"], answers[-1]["rows"]) == (0, True, 14)  # it is that of before
    assert path.read_bytes() == whole

    free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
    code, answers = pulp.ask("keep", action="write", name="two", room=2 * free)
    assert (code, "bytes free, and a copy may take" in answers[-1]["message"]) == (3, True)
    assert os.listdir(path.parent) == ["one.jsonl.gz"]

    empty = pulp_lab.clone()
    code, answers = empty.ask("keep", action="write", name="one", room=0)
    assert (code, answers[-1]["rows"], answers[-1]["path"]) == (0, 0, "")
    folder = empty.folder / "state" / "regctl-content"
    assert not folder.exists()

    folder.mkdir()  # and the copy of another Pulp is refused: keys alone do not tell one from the other
    (folder / "one.jsonl.gz").write_bytes(whole)
    rename = "from pulpcore.app.models import Domain; d = Domain.objects.get(name='default'); d.name = 'old'"
    empty.run(f"{rename}; d.save(); Domain.objects.create(name='default'); print('{{\"regctl\": \"ok\"}}')")
    code, answers = empty.ask("restore", action="compare", name="one")
    assert (code, "is another Pulp's" in answers[-1]["message"]) == (3, True)
