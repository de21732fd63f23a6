"""The k-th open or read of the collector fails: whatever it then deletes, nothing live is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ctl.catalog.seeding import SeedPlan, seed_tree
from ctl.recipes import runs
from tests.support import programs
from tests.support.collecting import GC, CollectingSite, in_real_run, running, tree, wrapper

pytestmark = [pytest.mark.strace]
QUIET = 4  # so many calls in a row without a fault: the collector makes no more of them
BINARIES = [
    pytest.param(programs.docker_registry, id="2.8", marks=pytest.mark.registry),
    pytest.param(programs.registry3, id="3", marks=pytest.mark.distribution3),
]
FAULTS = [("openat", "ENOENT"), ("openat", "EIO"), ("read", "EIO")]


@dataclass
class Sweep:
    """How many faults were injected, and what became of them."""

    faults: int = 0
    failed: int = 0
    with_put_back: int = 0
    put_back: int = 0


class Faulty:
    """A parked site whose collector's real run meets one fault, at the call whose number is in a file."""

    def __init__(self, folder: Path, real: str, call: str, error: str) -> None:
        self.number, self.log, self.copy = folder / "number", folder / "strace.log", folder / "copy"
        inject = f"-e trace={call} -e inject={call}:error={error}:when=$(cat {self.number})"
        body = in_real_run(f'exec strace -f -qq -o {self.log} {inject} "$real" "$@"')
        self.site: CollectingSite = running(folder, wrapper(folder, body, real))
        self.site.write()
        seed_tree(str(self.copy), SeedPlan(repositories=2, tags_per_repository=1, garbage=30.0))
        self.reset()
        garbage = self.site.ok("gc", "--dry-run")
        assert garbage["blobs"] > 0
        self.before = tree(self.site)
        self.number.write_text("60000")
        assert self.site.ok(*GC)["blobs"] == garbage["blobs"]
        self.live = tree(self.site)  # what a collection without a fault leaves
        self.config = self.site.server.config_file.read_bytes()

    def reset(self) -> None:
        shutil.rmtree(self.site.server.storage)
        shutil.copytree(self.copy, self.site.server.storage)

    def collect(self, number: int, sweep: Sweep) -> bool:
        """Collect with that call failing; False if it was never made. Asserts that nothing live is lost."""
        self.reset()
        self.number.write_text(str(number))
        self.log.unlink(missing_ok=True)
        done = self.site.regctl(*GC)
        hit = self.log.exists() and "(INJECTED)" in self.log.read_text(errors="replace")
        after = tree(self.site)
        lost = [path for path in self.live if after.get(path) != self.live[path]]
        assert not lost, f"call {number}: lost {lost}\n{done}"
        assert set(after) <= set(self.before), f"call {number}: {set(after) - set(self.before)}"
        assert done.exit_code in (0, 1, 3), f"call {number}: {done}"
        assert self.site.server.config_file.read_bytes() == self.config
        assert not runs.open_runs(str(self.site.state_dir))
        sweep.faults += hit
        sweep.failed += done.exit_code == 1
        sweep.with_put_back += done.json["put_back"] > 0
        sweep.put_back += done.json["put_back"]
        return hit


def swept(faulty: Faulty, numbers: Iterable[int]) -> Sweep:
    sweep, quiet = Sweep(), 0
    for number in numbers:
        quiet = 0 if faulty.collect(number, sweep) else quiet + 1
        if quiet >= QUIET:
            break
    return sweep


@pytest.mark.registry
def test_a_few_reads_that_fail_cost_nothing_live(tmp_path: Path) -> None:
    faulty, sweep = Faulty(tmp_path, programs.docker_registry(), "openat", "ENOENT"), Sweep()
    for number in (6, 8, 14, *range(5, 30)):  # strace counts for each thread, and the collector may change it
        faulty.collect(number, sweep)
        if sweep.faults >= 2 and sweep.with_put_back:
            break
    assert sweep.faults >= 2
    assert sweep.with_put_back, f"no fault made the collector take anything live: {sweep}"


@pytest.mark.soak
@pytest.mark.parametrize(("call", "error"), FAULTS)
@pytest.mark.parametrize("binary", BINARIES)
def test_every_call_that_fails_costs_nothing_live(
    tmp_path: Path, binary: Callable[[], str], call: str, error: str
) -> None:
    sweep = swept(Faulty(tmp_path, binary(), call, error), range(1, 2000))
    print(f"{call} {error}: {sweep}")
    assert sweep.faults >= 10
    if error == "ENOENT":
        assert sweep.with_put_back, "no fault bit, so the sweep proves nothing"
