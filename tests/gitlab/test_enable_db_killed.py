"""kill -9 at the boundaries of enable-db: the registry ends on one backend, whole, open, nothing lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from ctl.recipes import runs
from tests.support.enabling import ENABLE, EnablingSite
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.put_back import Kept

pytestmark = [pytest.mark.postgres]
TRUNCATE = (
    "TRUNCATE blobs, top_level_namespaces, import_statistics, gc_blob_review_queue, gc_manifest_review_queue,"
    " gc_tmp_blobs_manifests CASCADE"
)


class Trial:
    """One registry that is put back to its storage tree before each kill."""

    def __init__(self, site: EnablingSite, server: PostgresServer, how: str) -> None:
        self.site, self.server, self.how = site, server, how
        self.kept = Kept(site)
        self.content = site.pull_everything()
        self.command = (*ENABLE, "--import", how)

    def open_runs(self) -> list[str]:
        return [run.id for run in runs.open_runs(str(self.site.state_dir))]

    def reset(self) -> None:
        """Put back storage, file, database and what the site remembers."""
        site = self.site
        self.kept.put_back()
        address: DatabaseAddress = site.server.database  # type: ignore[attr-defined]
        with closing(self.server.connect(address.name)) as connection:
            connection.execute(TRUNCATE.encode())
        site.ok("service", "start")

    def boundaries(self) -> list[str]:
        """Run it to its end and return the names of the boundaries that it passed."""
        done = self.site.regctl(*self.command, REGCTL_FAILPOINT="list", timeout=300)
        assert done.exit_code in (0, 3), str(done)
        return [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("REGCTL_FAIL")]

    def kill_at(self, number: int, when: str) -> bool:
        """Kill a run at a boundary; False if it ended before it got there."""
        killed = self.site.regctl(*self.command, REGCTL_FAILPOINT=f"{number}:{when}:kill", timeout=300)
        if "database-in-use" in self.site.locks():
            assert (self.site.header(), self.site.mode()) != ("false", "writable"), "it could lose a push"
        return killed.exit_code == -signal.SIGKILL

    def recover(self, *options: str) -> str:
        """What an operator does next, and what must hold after it; return the backend that it ended on."""
        site = self.site
        if self.open_runs():
            resumed = site.regctl("run", "resume", "--yes", *options, timeout=300)
            assert resumed.exit_code in (0, 1, 3), str(resumed)
        assert not self.open_runs()
        assert site.mode() == "writable"
        backend = {"true": "database", "false": "filesystem"}[site.header()]
        assert [name for name in site.snapshot()["beside"] if "regctl" in name] == []
        if backend == "database":
            assert site.locks() == ["database-in-use"]
            assert (site.folder / "site.d" / "50-regctl.yml").exists()
        else:
            assert "database-in-use" not in site.locks()
            assert site.server.config_file.read_bytes() == self.kept.config
            assert site.server.config_file.stat().st_mode & 0o7777 == self.kept.mode
            assert not (site.folder / "site.d").exists()
        assert site.pull_everything() == self.content
        with site.client() as client:
            client.push("team/app", "after", image("after"))
        return backend


@pytest.fixture
def trial_of(
    enabling: Callable[..., EnablingSite],
    migrated_database: DatabaseAddress,
    postgres_server: PostgresServer,
) -> Iterator[Callable[[str], Trial]]:
    made: list[EnablingSite] = []

    def make(how: str) -> Trial:
        site = enabling(migrated_database)
        site.seeded(2, 2)
        site.__enter__()
        made.append(site)
        return Trial(site, postgres_server, how)

    yield make
    for site in made:
        site.end()


def sweep(trial: Trial, chosen: Callable[[int, str], Any], *options: str) -> dict[str, str]:
    """Kill at each chosen boundary, before and after; return how each ended."""
    names = trial.boundaries()
    ended = {}
    for number, name in enumerate(names, 1):
        for when in ("before", "after"):
            if not chosen(number, f"{when} {name}"):
                continue
            trial.reset()
            landed = trial.kill_at(number, when)
            try:
                ended[f"{number} {when} {name}"] = trial.recover(*options) + ("" if landed else " (not hit)")
            except AssertionError as error:  # what comes after it would begin on its remains
                raise AssertionError(f"killed {when} boundary {number} ({name}): {error}") from error
    return ended


def test_killed_around_the_switch_the_run_is_resumed(trial_of: Callable[[str], Trial]) -> None:
    """Four that matter: the import is in and told nowhere; nothing is switched; all is; nothing is open."""

    def chosen(number: int, name: str) -> bool:
        kind, _, rest = name.partition(" ")
        return (
            (
                kind == "before"
                and any(
                    rest.startswith("apply") and rest.endswith(step)
                    for step in ("SetLockFiles", "ProveBackend")
                )
            )
            or (f"{kind} {rest}".startswith("after apply") and rest.endswith("ImportMetadata"))
            or (kind == "before" and rest.startswith("leave"))
        )

    ended = sweep(trial_of("one-step"), chosen)
    assert len(ended) == 4
    assert set(ended.values()) == {"database"}


@pytest.mark.soak
@pytest.mark.parametrize("how", ["one-step", "three-step"])
def test_killed_at_every_boundary_the_run_is_resumed(trial_of: Callable[[str], Trial], how: str) -> None:
    ended = sweep(trial_of(how), lambda number, name: True)
    for name, backend in ended.items():
        print(f"{name}: {backend}")
    assert len(ended) > 60


@pytest.mark.soak
def test_killed_at_every_boundary_the_run_is_backed_out_of(trial_of: Callable[[str], Trial]) -> None:
    ended = sweep(trial_of("one-step"), lambda number, name: "apply" in name, "--leave-only")
    for name, backend in ended.items():
        print(f"{name}: {backend}")
    assert {"filesystem", "database"} <= set(ended.values())
