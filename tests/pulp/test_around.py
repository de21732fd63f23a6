"""What stands around preparing: timers rest and come back, the reindex follows once, copies are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import SERVER, PulpSite
from tests.support.site import Done

# The operator's own command: it says that it ran, and looks at what it is told of and what rests meanwhile.
_REINDEX = """#!{python} -IS
import os, sys
with open({told!r}, "a") as file:
    file.write(f"{{os.path.exists({cron!r})}}\\n")
sys.exit(os.path.exists({broken!r}))
"""


class Place:
    """A site of one server with a timer and a reindex, both stand-ins in a folder."""

    def __init__(self, folder: Path) -> None:
        self.cron, self.told, self.broken = folder / "orphans", folder / "told", folder / "broken"
        self.cron.write_text("0 3 * * 0 pulp true\n")
        program = folder / "reindex"
        facts = {"told": str(self.told), "cron": str(self.cron), "broken": str(self.broken)}
        program.write_text(_REINDEX.format(python=sys.executable, **facts))
        program.chmod(0o755)
        self.nodes = {SERVER: {"reindex": [str(program)]}}
        self.timer = {"host": SERVER, "kind": "cron-file", "path": str(self.cron)}

    def runs(self) -> list[str]:
        """What each run of the reindex saw: whether the timer's file was in its place."""
        return self.told.read_text().split() if self.told.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def step(done: Done, site: PulpSite, name: str) -> list[dict[str, Any]]:
    """How the steps of a name ended in the run that was reported."""
    shown = site.ok("run", "show", done.json["run"])
    return [one for one in shown["steps"] if one["step"] == name]


def test_the_reindex_follows_new_work_once_while_the_timers_rest(
    pulp_lab: PulpLab, place: Place, tmp_path: Path
) -> None:
    pulp = pulp_lab.clone(Seed(images=6))
    overlay = {"maintenance": {"timers": [place.timer]}, "content": {"worth_minutes": 0}}
    with PulpSite(tmp_path / "site", pulp, nodes=place.nodes, overlay=overlay) as site:
        place.broken.touch()
        done = site.regctl("content", "prepare", "--yes")
        assert (done.exit_code, done.json["done"], pulp.counts().todo) == (1, 6, 0), str(done)
        assert place.runs() == ["False"]  # it ran, while the timer's file lay aside
        assert place.cron.read_text() == "0 3 * * 0 pulp true\n"

        place.broken.unlink()
        done = site.regctl("content", "prepare", "--yes")  # nothing is left but the reindex that failed
        assert (done.exit_code, done.json["done"], len(place.runs())) == (0, 0, 2), str(done)
        done = site.regctl("content", "prepare", "--yes")
        assert (done.exit_code, done.json["result"], len(place.runs())) == (0, "nothing-to-do", 2)

        (copy,) = site.ok("content", "copies")["hosts"][0]["copies"]
        assert (copy["rows"], copy["damaged"]) == (6, "")
        assert os.stat(copy["path"]).st_mode & 0o777 == 0o600
