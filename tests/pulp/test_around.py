"""What stands around preparing: timers rest and come back, the reindex follows once, copies are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer
from tests.support.preparing import under_way
from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import SERVER, PulpSite
from tests.support.runit import Runit, real_programs
from tests.support.waiting import wait_until

# The operator's own command: it says that it ran, and looks at what it is told of and what rests meanwhile.
_REINDEX = """#!{python} -IS
import os, sys, time
with open({told!r}, "a") as file:
    file.write(f"{{os.path.exists({cron!r})}}\\n")
while os.path.exists({slow!r}):
    time.sleep(0.1)
sys.exit(os.path.exists({broken!r}))
"""


class Place:
    """A site of one server with a timer and a reindex, both stand-ins in a folder."""

    def __init__(self, folder: Path) -> None:
        self.cron, self.told, self.broken = folder / "orphans", folder / "told", folder / "broken"
        self.cron.write_text("0 3 * * 0 pulp true\n")
        self.slow = folder / "slow"
        program = folder / "reindex"
        facts = {"told": self.told, "cron": self.cron, "broken": self.broken, "slow": self.slow}
        program.write_text(
            _REINDEX.format(python=sys.executable, **{name: str(path) for name, path in facts.items()})
        )
        program.chmod(0o755)
        self.nodes = {SERVER: {"reindex": [str(program)]}}
        self.timer = {"host": SERVER, "kind": "cron-file", "path": str(self.cron)}

    def runs(self) -> list[str]:
        """What each run of the reindex saw: whether the timer's file was in its place."""
        return self.told.read_text().split() if self.told.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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
        (copy,) = (pulp.folder / "state" / "regctl-content").iterdir()  # of the run that had work
        assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.soak
def test_killed_while_timers_rest_all_of_it_comes_back_and_nothing_runs_twice(
    pulp_lab: PulpLab, tmp_path: Path, place: Place
) -> None:
    """Once among the rows, and once while the reindex is at work."""
    pulp = pulp_lab.clone(Seed(images=200, varied=False))
    place.slow.touch()
    overlay = {"maintenance": {"timers": [place.timer]}, "content": {"worth_minutes": 0}}
    with PulpSite(tmp_path / "site", pulp, nodes=place.nodes, overlay=overlay) as site:
        first = site.start("content", "prepare", "--yes", "--chunk", "10", "--rate", "30")
        under_way(pulp, 20)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert not place.cron.exists()

        second = site.start("run", "resume", "--yes")
        wait_until(lambda: len(place.runs()) == 1, what="the reindex", timeout=120)
        time.sleep(1.0)
        second.send_signal(signal.SIGKILL)
        second.communicate()
        assert (pulp.counts().todo, place.cron.exists()) == (0, False)

        third = site.start("run", "resume", "--yes")
        time.sleep(2.0)
        place.slow.unlink()
        out, errors = third.communicate(timeout=120)
        assert (third.returncode, json.loads(out)["state"]) == (0, "done"), errors.decode()
        assert (place.runs(), place.cron.read_text()) == (["False"], "0 3 * * 0 pulp true\n")
        done = site.regctl("content", "prepare", "--yes")
        assert (done.json["result"], len(place.runs())) == ("nothing-to-do", 1), str(done)


@pytest.mark.soak
def test_a_database_that_was_stopped_is_stopped_again_and_so_are_the_services(tmp_path: Path) -> None:
    """PostgreSQL under runit, as the host's own; a service of Pulp that is down stays down."""
    with PostgresServer() as server:
        pulp = PulpLab(server, tmp_path / "lab").clone(Seed(images=20))
        server.stop()
        user = "" if os.geteuid() else "runuser -u postgres -- "
        run = f"{user}{server.bin}/postgres -D {server.folder}/data"
        real = bool(real_programs())
        database = Runit(tmp_path / "database", run, real=real)
        api = Runit(tmp_path / "api", "sleep 600", real=real)
        try:
            node = {
                "database_service": {"kind": "runit", "name": str(database.service)},
                "services": [{"kind": "runit", "name": str(api.service)}],
            }
            path = f"{Path(database.sv).parent}:{os.environ['PATH']}"
            with PulpSite(tmp_path / "site", pulp, nodes={SERVER: node}) as site:
                looked = site.regctl("content", "prepare", "--dry-run", PATH=path)
                assert looked.exit_code == 0, str(looked)
                assert any(title.startswith("[server] start ") for title in looked.json["plan"]), str(looked)
                assert not standing(database)
                done = site.regctl("content", "prepare", "--yes", PATH=path, timeout=240)
                assert (done.exit_code, done.json["done"]) == (0, 20), str(done)
            assert (standing(database), standing(api)) == (False, False)
            server.start()
            assert (pulp.counts().todo, pulp.counts().unreadable) == (0, 0)
        finally:
            api.close()
            database.close()


def standing(runit: Runit) -> bool:
    """Whether a service runs."""
    done = subprocess.run(
        [runit.sv, "status", str(runit.service)], capture_output=True, text=True, check=False
    )
    return done.stdout.startswith("run:")
