"""The reindex of a server: owed before the first row, run once, again only where it failed or work is new."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ctl.config.pulp import PulpNode
from ctl.errors import CommandFailedError, RegctlError
from ctl.hosts.base import Command
from ctl.recipes.model import StepReport, Target
from ctl.steps.reindex_content import OweReindex, ReindexContent, reindex_owed
from ctl.steps.reindex_record import owed_since
from ctl.testing import MemoryHost, MemoryRun, MemoryWorld
from ctl.testing.hosts import Script


class Here:
    """A server with a reindex, a server without one, a proxy."""

    def __init__(self, folder: Path, *, server: bool = True) -> None:
        self.calls, self.code = 0, 0
        reindex = ("work",) if server else None
        nodes = (
            PulpNode(host="server", role="server", manager="/m", settings_file="/s", reindex=reindex),
            PulpNode(host="proxy", role="proxy", manager="/m", settings_file="/s"),
        )
        site = SimpleNamespace(
            pulps={"katello": SimpleNamespace(nodes=nodes)},
            registries={},
            hosts={
                "server": SimpleNamespace(connection="local"),
                "proxy": SimpleNamespace(connection="local"),
            },
        )
        hosts = {name: MemoryHost(name, {"work": self._work}) for name in ("server", "proxy")}
        self.world = MemoryWorld(site, str(folder / "state"), hosts=hosts)
        self.run = MemoryRun(step="ReindexContent")
        self.target = Target(self.world, self.run)

    def _work(self, command: Command) -> Script:
        self.calls += 1
        return Script(self.code, b"", b"cannot reach Katello\n" if self.code else b"")

    def again(self, run: str) -> Here:
        """Go on as another run."""
        self.run = MemoryRun(id=run, step="ReindexContent")
        self.target = Target(self.world, self.run)
        return self

    def owe(self) -> StepReport:
        return OweReindex(pulp="katello", host_name="server").apply(self.target, {})

    def reindex(self, host: str = "server") -> StepReport:
        return ReindexContent(pulp="katello", host_name=host).apply(self.target, {})


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_it_follows_new_work_once(here: Here) -> None:
    assert not reindex_owed(here.world, "katello")
    assert here.reindex().not_applicable == "nothing is new since the last one"
    here.owe()
    assert (reindex_owed(here.world, "katello"), here.calls) == (True, 0)
    preview = ReindexContent(pulp="katello", host_name="server").preview(here.target)
    assert (preview.changes, preview.data["argv"]) == (True, ["work"])
    report = here.reindex()
    assert (report.changed, report.data["exit_code"], here.calls) == (True, 0, 1)
    assert here.again("next").reindex().not_applicable == "nothing is new since the last one"
    assert here.calls == 1
    here.owe()
    here.reindex()
    assert here.calls == 2


def test_where_it_failed_it_is_still_owed(here: Here) -> None:
    here.owe()
    here.code = 1
    with pytest.raises(CommandFailedError, match="exit code 1"):
        here.reindex()
    assert owed_since(here.world.state_dir, "katello") == here.run.id
    here.code = 0
    here.again("next").owe()
    assert owed_since(here.world.state_dir, "katello") != "next"  # the first that asked for it stays
    here.reindex()
    assert (here.calls, reindex_owed(here.world, "katello")) == (2, False)


def test_killed_between_its_end_and_the_note_it_is_not_run_again(here: Here) -> None:
    here.owe()
    here.reindex()
    here.owe()  # as if the note had not been deleted yet; the journal of this run knows the end
    assert ReindexContent(pulp="katello", host_name="server").probe(here.target, {}) == "partial"
    here.reindex()
    assert (here.calls, reindex_owed(here.world, "katello")) == (1, False)


def test_without_katello_it_is_not_applicable(here: Here, tmp_path: Path) -> None:
    assert here.reindex("proxy").not_applicable == "a proxy has no Katello"
    bare = Here(tmp_path / "bare", server=False)
    assert bare.owe().not_applicable == "the site names no reindex for this server"
    assert bare.reindex().not_applicable == "the site names no reindex for this server"
    assert not reindex_owed(bare.world, "katello")
    assert (here.calls, bare.calls) == (0, 0)


def test_a_note_that_is_damaged_is_told(here: Here) -> None:
    here.owe()
    (note,) = (Path(here.world.state_dir) / "content").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    note.write_text("{")
    with pytest.raises(RegctlError, match="is damaged"):
        here.reindex()
