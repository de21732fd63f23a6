"""Measure `regctl registry preflight` beside GitLab's own import, on the same tree.

Run it as `python -m tests.benchmarks.preflight`. The tree (200 repositories of 50 tags) is seeded once into
--folder and kept. Wall and processor seconds are medians of --rounds runs of the installed command; with
--cold the page cache is dropped before each (root only). --with-import runs the bare import once as well,
one-step, with the pool that regctl renders; it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.benchmarks.run import drop_caches, say


def site_over(folder: Path, repositories: int, tags: int) -> Path:
    """Seed the tree if it is not there, write a site over it; return the site file."""
    root = folder / f"preflight-{repositories}x{tags}"
    if not (root / "done").exists():
        say(f"seeding {repositories} x {tags} tags into {root}")
        seed_tree(str(root / "storage"), SeedPlan(repositories, tags))
        (root / "done").touch()
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(root / "storage")}}}
    (root / "config.yml").write_text(yaml.safe_dump(config))
    node = {
        "host": "here",
        "binary": "/usr/bin/docker-registry",
        "config_file": str(root / "config.yml"),
        "url": "http://127.0.0.1:5998",
        "service": {"kind": "process", "name": "registry"},
    }
    registry = {
        "engine": "distribution",
        "storage": {"filesystem": {"rootdirectory": str(root / "storage")}},
        "nodes": [node],
    }
    site = {
        "version": 1,
        "state_dir": str(root / "state"),
        "hosts": {"here": {"connection": "local"}},
        "registries": {"main": registry},
    }
    (root / "site.yml").write_text(yaml.safe_dump(site))
    return root / "site.yml"


def once(site: Path) -> tuple[float, float, int]:
    """Run the command; return wall seconds, processor seconds and peak memory in MB."""
    argv = [sys.executable, "-m", "ctl", "--site", str(site), "--output", "json", "registry", "preflight"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(argv, capture_output=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    if done.returncode not in (0, 3) or found["abort_findings"]:
        raise SystemExit(f"the pre-flight ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss // 1024


def bare_import(site: Path) -> tuple[float, float]:
    """Run GitLab's own import of the same tree; return wall and processor seconds (without PostgreSQL's)."""
    from tests.support.gitlab import GitlabServer, owned_database
    from tests.support.postgres import PostgresServer

    root = Path(
        yaml.safe_load(site.read_text())["registries"]["main"]["storage"]["filesystem"]["rootdirectory"]
    )
    postgres = PostgresServer().start()
    try:
        server = GitlabServer(site.parent / "gitlab", database=owned_database(postgres))
        server.overlay = {"storage": {"filesystem": {"rootdirectory": str(root)}}}
        server.migrate()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        done = server.run("database", "import", "--log-to-stdout", timeout=3600)
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        postgres.remove()
    if done.returncode:
        raise SystemExit(done.stderr[-800:])
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/regctl-bench"))
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--with-import", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    site = site_over(given.folder, given.repositories, given.tags)
    runs = []
    for _ in range(given.rounds):
        if given.cold:
            drop_caches()
        runs.append(once(site))
    wall, cpu, memory = (statistics.median(values) for values in zip(*runs, strict=True))
    say(f"preflight {given.repositories} x {given.tags}: {wall:.2f} s wall, {cpu:.2f} s cpu, {memory:.0f} MB")
    if given.with_import:
        wall_import, cpu_import = bare_import(site)
        say(f"bare import: {wall_import:.1f} s wall, {cpu_import:.1f} s cpu without PostgreSQL's")
        say(f"the pre-flight takes {100 * wall / wall_import:.1f} % of the import's time")


if __name__ == "__main__":
    main()
