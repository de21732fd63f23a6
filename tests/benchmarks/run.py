"""Measure regctl beside the registry's own collector, on the same trees in the same run.

Run it as `python -m tests.benchmarks.run` (or `make bench`). Trees are seeded once into --folder and kept.
Every figure is a median of --rounds alternating runs of the installed tools as processes of their own;
peak memory is the greatest resident set of a process or any it waited for. Cold runs drop the page cache
first (root only), which empties the catalog database's share of it too, but not its own shared buffers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.embedded import let_pass
from tests.support.programs import docker_registry

SIZES = {"10k": 200, "20k": 400, "40k": 800}  # name -> repositories of 50 tags
TAGS = 50
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass
class Timing:
    """One process: wall seconds, processor seconds (without PostgreSQL's), peak resident set in MB."""

    seconds: float
    cpu: float
    megabytes: int
    exit_code: int


@dataclass
class Figure:
    """One line of the result. `goal` is what `value` should reach, "" where there is none."""

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    runs: list[float] = field(default_factory=list)


class Bench:
    """One folder with trees, sites and one embedded database."""

    def __init__(self, folder: Path, rounds: int, *, cold: bool) -> None:
        self.folder = folder
        self.rounds = rounds
        self.cold = cold
        self.figures: list[Figure] = []
        folder.mkdir(parents=True, exist_ok=True)
        let_pass(folder)

    def regctl(self, *arguments: str) -> list[str]:
        """The argv of a call."""
        return [sys.executable, "-m", "ctl", "--site", str(self.folder / "site.yml"), "--yes", *arguments]

    def prepare(self, sizes: list[str]) -> None:
        """Seed the trees that are missing, write the site, start and migrate the database anew."""
        registries = {}
        for number, size in enumerate(sizes):
            root = self.folder / size
            if not (root / "done").exists():
                say(f"seeding {size} tags into {root}")
                written = seed_tree(str(root / "storage"), SeedPlan(SIZES[size], TAGS))
                (root / "done").write_text(json.dumps(asdict(written)))
            config = {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {
                    "filesystem": {"rootdirectory": str(root / "storage")},
                    "delete": {"enabled": True},
                },
                "http": {"addr": f"127.0.0.1:{5900 + number}", "secret": "only for measuring"},
            }
            (root / "config.yml").write_text(yaml.safe_dump(config))
            registries[f"r{size}"] = {
                "engine": "distribution",
                "database": "metadata",
                "storage": {"filesystem": {"rootdirectory": str(root / "storage")}},
                "nodes": [
                    {
                        "host": "here",
                        "binary": docker_registry(),
                        "config_file": str(root / "config.yml"),
                        "url": f"http://127.0.0.1:{5900 + number}",
                        "service": {"kind": "process", "name": f"registry-{size}"},
                    }
                ],
            }
        site: dict[str, Any] = {
            "version": 1,
            "state_dir": tempfile.mkdtemp(prefix="state-", dir=self.folder),
            "hosts": {"here": {"connection": "local"}},
            "databases": {"metadata": {"embedded": True}},
            "registries": registries,
        }
        os.chmod(site["state_dir"], 0o711)
        (self.folder / "site.yml").write_text(yaml.safe_dump(site))
        must(self.regctl("database", "migrate", "up"))

    def close(self) -> None:
        """Stop the embedded database."""
        subprocess.run(self.regctl("database", "stop"), capture_output=True, check=False)

    def imports(self, size: str) -> None:
        """Measure the first import of a tree and then incremental ones."""
        tags = SIZES[size] * TAGS
        first = must(self.regctl("registry", "import", f"r{size}"))
        self.add(f"import {size} first", tags / first.seconds, "tags/s")
        self.add(
            f"import {size} first, wall",
            first.seconds,
            "s",
            *at_most(10.0 if size == "10k" else None, first.seconds),
        )
        self.add(f"import {size} first, processor time", first.cpu, "s")
        self.add(f"import {size} first, peak memory", first.megabytes, "MB", *at_most(300, first.megabytes))
        runs = [must(self.regctl("registry", "import", f"r{size}")) for _ in range(self.rounds)]
        seconds = [run.seconds for run in runs]
        self.add(f"import {size} again, nothing changed", statistics.median(seconds), "s", runs=seconds)
        peak = max(run.megabytes for run in runs)
        self.add(f"import {size} again, peak memory", peak, "MB", *at_most(300, peak))

    def plans(self, size: str) -> None:
        """Measure our plan against the collector's dry run, in turns, warm and (where possible) cold."""
        goals = {"10k": 5.0, "40k": 10.0}
        self._side_by_side(size, "warm", goals.get(size), lambda: None)
        if self.cold:
            self._side_by_side(size, "cold", 3.0, drop_caches)

    def _side_by_side(self, size: str, state: str, goal: float | None, before: Callable[[], None]) -> None:
        ours = self.regctl("gc", "--dry-run", "--registry", f"r{size}", "--output", "json")
        theirs = [docker_registry(), "garbage-collect", "--dry-run", str(self.folder / size / "config.yml")]
        if state == "warm":
            must(ours)
            must(theirs)
        mine, other = [], []
        for _ in range(self.rounds):
            before()
            mine.append(must(ours))
            before()
            other.append(must(theirs))
        regctl, collector = median(mine), median(other)
        self.add(f"plan {size} {state}: regctl", regctl, "s", runs=[one.seconds for one in mine])
        self.add(f"plan {size} {state}: docker-registry", collector, "s", runs=[one.seconds for one in other])
        ratio = collector / regctl
        self.add(f"plan {size} {state}: ratio", ratio, "x", *at_least(goal, ratio))
        self.add(f"plan {size} {state}: regctl processor time", statistics.median(o.cpu for o in mine), "s")
        self.add(
            f"plan {size} {state}: docker-registry processor time",
            statistics.median(o.cpu for o in other),
            "s",
        )
        self.add(f"plan {size} {state}: regctl peak memory", max(one.megabytes for one in mine), "MB")
        self.add(f"plan {size} {state}: docker-registry peak memory", max(o.megabytes for o in other), "MB")

    def start_up(self) -> None:
        """Measure `--help` against an interpreter that does nothing."""
        bare, ours = [], []
        for _ in range(max(self.rounds, 11)):
            bare.append(must([sys.executable, "-c", "pass"]))
            ours.append(must([sys.executable, "-m", "ctl", "--help"]))
        ratio = median(ours) / median(bare)
        self.add("bare interpreter", median(bare) * 1000, "ms")
        self.add("regctl --help", median(ours) * 1000, "ms")
        self.add("regctl --help: ratio", ratio, "x", *at_most(2.5, ratio))

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        goal: str = "",
        met: bool | None = None,
        *,
        runs: list[float] | None = None,
    ) -> None:
        """Keep and print a figure."""
        self.figures.append(Figure(name, round(value, 3), unit, goal, met, runs or []))
        verdict = "" if met is None else ("  ok" if met else "  MISSED")
        say(f"{name:<46} {value:>12,.2f} {unit:<7} {goal}{verdict}")


def at_most(goal: float | None, value: float) -> tuple[str, bool | None]:
    """Return a goal as text and whether it is met."""
    return ("", None) if goal is None else (f"at most {goal:g}", value <= goal)


def at_least(goal: float | None, value: float) -> tuple[str, bool | None]:
    """Return a goal as text and whether it is met."""
    return ("", None) if goal is None else (f"at least {goal:g}", value >= goal)


def median(runs: list[Timing]) -> float:
    """Return the median of the wall times."""
    return statistics.median(run.seconds for run in runs)


def must(argv: list[str]) -> Timing:
    """Run a program to its end and measure it; its output is read and thrown away. Exit 0 or 4, or stop."""
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=Path(__file__).parents[2],
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 4):
            errors.seek(0)
            raise SystemExit(f"{argv} ended with {process.returncode}: {errors.read()[-2000:].decode()}")
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, process.returncode)


def drop_caches() -> None:
    """Empty the page cache."""
    os.sync()
    DROP_CACHES.write_text("3\n")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> None:
    """Measure and print; with --json also write every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "regctl-bench")
    parser.add_argument("--sizes", default="10k,20k,40k", help="of 10k, 20k, 40k")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-cold", action="store_true", help="do not drop the page cache")
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    sizes = [size for size in SIZES if size in arguments.sizes.split(",")]
    cold = not arguments.no_cold and os.access(DROP_CACHES, os.W_OK)
    say(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds, medians")
    if not cold:
        say("cold runs are left out: they need root, and --no-cold not given")
    bench = Bench(arguments.folder, arguments.rounds, cold=cold)
    bench.prepare(sizes)
    try:
        bench.start_up()
        for size in sizes:
            bench.imports(size)
            bench.plans(size)
    finally:
        bench.close()
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in bench.figures], indent=1))
    missed = [one.name for one in bench.figures if one.met is False]
    say(f"missed: {', '.join(missed)}" if missed else "every goal is met")


if __name__ == "__main__":
    main()
