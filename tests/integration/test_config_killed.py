"""kill -9 of `config apply` at its boundaries: a whole file, a registry that answers, a way on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.config.ownership import classify
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest

pytestmark = [pytest.mark.registry]
APPLY = ("config", "apply", "--yes")


class Trial:
    """A running registry with an adopted file, put back before each kill."""

    def __init__(self, site: SiteUnderTest) -> None:
        self.site = site
        self.original = site.server.config_file.read_bytes()
        site.ok("config", "adopt", "--yes")

    def reset(self) -> None:
        self.site.server.config_file.write_bytes(self.original)
        assert self.site.regctl("service", "restart", "--yes").exit_code in (0, 3)

    def boundaries(self) -> int:
        done = self.site.regctl(*APPLY, REGCTL_FAILPOINT="list")
        assert done.exit_code == 0, str(done)
        return sum(line.startswith("REGCTL_FAIL") for line in done.stderr.splitlines())

    def kill(self, number: int, when: str) -> None:
        self.reset()
        killed = self.site.regctl(*APPLY, REGCTL_FAILPOINT=f"{number}:{when}:kill")
        assert killed.exit_code == -signal.SIGKILL, str(killed)
        data = self.site.server.config_file.read_bytes()
        assert data == self.original or classify(data).state == "managed", "a torn file"
        runs = [run for run in self.site.ok("run", "list")["runs"] if run["state"] == "open"]
        if runs:
            resumed = self.site.regctl("run", "resume", "--yes")
            assert resumed.exit_code in (0, 1), str(resumed)
        done = self.site.regctl(*APPLY)
        assert done.exit_code == 0, str(done)
        assert self.site.server.answers()
        assert classify(self.site.server.config_file.read_bytes()).state == "managed"
        assert not [run for run in self.site.ok("run", "list")["runs"] if run["state"] == "open"]


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    overlay = {"http": {"secret": "of the tests"}}
    with SiteUnderTest(tmp_path, RegistryServer(tmp_path / "registry", overlay=overlay)) as site:
        yield Trial(site)


def test_killed_around_the_write_and_the_restart(trial: Trial) -> None:
    last = trial.boundaries()
    assert last > 4
    for number in (last // 3, 2 * last // 3):
        trial.kill(number, "after")


@pytest.mark.soak
def test_killed_at_every_boundary(trial: Trial) -> None:
    for number in range(1, trial.boundaries() + 1):
        for when in ("before", "after"):
            trial.kill(number, when)
