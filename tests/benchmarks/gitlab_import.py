"""Measure `regctl registry import` beside the bare program: the whole import, and the read-only window.

Run it as `python -m tests.benchmarks.gitlab_import`. Both import the same seeded tree, in turn, each into a
database of its own on one PostgreSQL, with the same pool settings. The window is measured from outside: a
write is tried every few milliseconds, from the first that is refused to the first that is accepted again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.gitlab import PASSWORD, GitlabServer, GitlabSite, give_all, owned_database
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.transfer import Client

RATIO = 1.05  # ours to the bare program's, at most
OVERHEAD = 5.0  # seconds that a window may be longer than the bare program's step two


@dataclass
class Prober:
    """Tries a write again and again, and remembers when it was refused first and accepted again."""

    url: str
    first_refused: float = 0.0
    accepted_again: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Try until told to stop; while the registry restarts it answers nothing, which is no acceptance."""
        while not self._over.wait(0.01):
            try:
                with Client(self.url) as client:
                    status, _, _ = client.request("PUT", "/v2/bench/probe/manifests/x", b"{")
            except OSError:
                status = 0
            now = time.monotonic()
            if status == 405 and not self.first_refused:
                self.first_refused = now
            if status == 400 and self.first_refused and not self.accepted_again:
                self.accepted_again = now

    @contextmanager
    def watching(self) -> Iterator[Prober]:
        """Watch in the block and a moment longer."""
        thread = threading.Thread(target=self.watch)
        thread.start()
        try:
            yield self
            time.sleep(0.1)
        finally:
            self._over.set()
            thread.join()

    @property
    def seconds(self) -> float:
        """How long writes were refused."""
        return self.accepted_again - self.first_refused


class Bench:
    """One tree, one PostgreSQL, a fresh database for each import."""

    def __init__(self, folder: Path, repositories: int, tags: int) -> None:
        self.folder, self.postgres = folder, PostgresServer()
        self.tree = folder / "storage"
        seed_tree(str(self.tree), SeedPlan(repositories, tags))
        self.template, self.number = "", 0

    def __enter__(self) -> Bench:
        try:
            self.template = self.postgres.start().template(self._migrate, "bench_migrated")
        except BaseException:
            self.postgres.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.postgres.remove()

    def _migrate(self, address: DatabaseAddress) -> None:
        with self.postgres.connect() as connection:
            connection.execute(f"CREATE ROLE bench_owner LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f'ALTER DATABASE "{address.name}" OWNER TO bench_owner'.encode())
        owner = DatabaseAddress(address.name, address.socket_folder, address.port, "bench_owner", PASSWORD)
        GitlabServer(self.folder / "template", database=owner).migrate()

    def site(self) -> GitlabSite:
        """Make a site on the tree, without any lock file, and with a migrated and empty database."""
        self.number += 1
        address = owned_database(self.postgres, template=self.template)
        give_all(self.postgres, address)
        for lock in (self.tree / "docker/registry/lockfiles").glob("*"):
            lock.unlink()
        root = {"filesystem": {"rootdirectory": str(self.tree)}, "delete": {"enabled": True}}
        server = GitlabServer(self.folder / f"r{self.number}", database=address, overlay={"storage": root})
        return BenchSite(self.folder / f"s{self.number}", server)

    def bare(self, site: GitlabSite, *flags: str) -> float:
        """Run the program itself, its log into a file as regctl has it; return its seconds."""
        server = site.server
        config = str(server.write_config())
        began = time.monotonic()
        with (self.folder / "bare.log").open("wb") as log:
            argv = [server.binary, "database", "import", "--log-to-stdout", *flags, config]
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        return time.monotonic() - began


class BenchSite(GitlabSite):
    """A site whose storage is the shared tree."""

    def description(self) -> dict[str, object]:
        """The site as data."""
        site = super().description()
        root = self.server.config()["storage"]["filesystem"]["rootdirectory"]
        site["registries"]["main"]["storage"]["filesystem"]["rootdirectory"] = root
        return site


def whole(bench: Bench, round_: int) -> tuple[float, float, float]:
    """Import in one step: the bare program's seconds, our import's, and our whole command's.

    Who begins changes from round to round: a disk that grows slower or faster favours neither.
    """
    bare = bench.bare(bench.site()) if round_ % 2 == 0 else 0.0
    with bench.site() as site:
        began = time.monotonic()
        report = site.ok("registry", "import", "--yes", timeout=3600)
        seconds = time.monotonic() - began
    return bare or bench.bare(bench.site()), float(report["import_seconds"]), seconds


def window(bench: Bench) -> tuple[float, float, float]:
    """Import the tags after step one: the bare program's seconds, our window's, and the report's figure."""
    plain = bench.site()
    bench.bare(plain, "--step-one")
    bare = bench.bare(plain, "--step-two")
    with bench.site() as site:
        site.ok("registry", "import", "--yes", "--step", "one", timeout=3600)
        with Prober(site.server.url).watching() as prober:
            report = site.ok("registry", "import", "--yes", "--step", "two", timeout=3600)
        return bare, prober.seconds, float(report["window_seconds"])


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=1, help="rounds for the read-only window")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="regctl-bench-") as name,
        Bench(Path(name), given.repositories, given.tags) as bench,
    ):
        imports = [whole(bench, round_) for round_ in range(given.rounds)]
        windows = [window(bench) for _ in range(given.windows)]
    ratio = statistics.median(ours / bare for bare, ours, _ in imports)
    overhead = statistics.median(ours - bare for bare, ours, _ in windows) if windows else None
    result = {
        "repositories": given.repositories,
        "tags": given.repositories * given.tags,
        "bare_seconds": [round(one[0], 2) for one in imports],
        "import_seconds": [round(one[1], 2) for one in imports],
        "command_seconds": [round(one[2], 2) for one in imports],
        "ratio": round(ratio, 4),
        "ratio_met": ratio <= RATIO,
        "bare_step_two_seconds": [round(one[0], 2) for one in windows],
        "window_seconds": [round(one[1], 2) for one in windows],
        "reported_window_seconds": [round(one[2], 2) for one in windows],
        "overhead_seconds": None if overhead is None else round(overhead, 2),
        "overhead_met": None if overhead is None else overhead <= OVERHEAD,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
