"""Measure preparing a Pulp's content beside Pulp's own command, and what its clients notice of it.

Run it as `python -m tests.benchmarks.pulp`. Every run works on a copy of the same seeded Pulp (2.24.15, its
database a real PostgreSQL that syncs to disk). Both ways take turns, and who goes first changes with each
round; seconds are wall time from the start of Pulp's manager to its end; figures are medians, peak memory is
the greatest of all rounds. The estimate is what `regctl content status` says right before each run. Then the
API and the content app serve, one client asks one thing after the other, and the 95th percentile of its
waiting is taken at rest, while content is prepared, and while that is throttled in both ways.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ctl.engines.pulp import answers, question
from tests.support.postgres import PostgresServer
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_services import PulpServices, request
from tests.support.pulp_site import PulpSite

API = "/pulp/api/v3/content/container/manifests/?limit=20"
_AS_IN_PRODUCTION = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")


def say(text: str) -> None:
    """Tell how far we are."""
    sys.stderr.write(text + "\n")


@dataclass
class Run:
    """One way, once: wall and processor seconds (without PostgreSQL's), peak resident set in MiB."""

    seconds: float
    cpu: float
    megabytes: int
    done: int
    estimated: float = 0.0


def measured(pulp: PulpUnderTest, argv: list[str], text: bytes = b"") -> tuple[Run, bytes]:
    """Run a program of a Pulp to its end."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(text)
        asked.seek(0)
        process = subprocess.Popen(
            argv, stdin=asked, stdout=said, stderr=subprocess.STDOUT, env=pulp.environment(), cwd=pulp.folder
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read()
    if process.returncode:
        raise SystemExit(output.decode()[-3000:])
    cpu = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu, usage.ru_maxrss // 1024, 0), output


def stock(pulp: PulpUnderTest) -> Run:
    """Prepare by Pulp's own command."""
    before = pulp.counts().todo
    run, _ = measured(pulp, [pulp.manager, "container-handle-image-data"])
    run.done = before - pulp.counts().todo
    return run


def ours(pulp: PulpUnderTest, folder: Path) -> Run:
    """Prepare by regctl's program over there; the estimate is taken first."""
    estimated = status(pulp, folder)["estimated_seconds"]
    before = pulp.counts().todo
    asked = question(pulp.node(), "prepare", {"chunk": 200})
    assert isinstance(asked.stdin, bytes)
    run, _ = measured(pulp, list(asked.argv), asked.stdin)
    run.done, run.estimated = before - pulp.counts().todo, estimated
    return run


def command(pulp: PulpUnderTest, folder: Path) -> Run:
    """Prepare by the whole command: copies kept, timers at rest, progress followed, all checked after it."""
    before = pulp.counts().todo
    with PulpSite(folder, pulp) as site:
        argv = [*site.command("--output", "json", "content", "prepare", "--yes")]
        began = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, env=site.environment(), cwd=folder)
        seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:])
    return Run(seconds, 0.0, 0, before - pulp.counts().todo)


def status(pulp: PulpUnderTest, folder: Path) -> dict[str, Any]:
    """Return what `regctl content status` says of it."""
    with PulpSite(folder, pulp) as site:
        found = site.ok("content", "status")["hosts"][0]
        assert isinstance(found, dict)
        return found


@dataclass
class Waiting:
    """How long one client waited, in milliseconds."""

    api: list[float] = field(default_factory=list)
    pull: list[float] = field(default_factory=list)
    failed: int = 0

    def summary(self) -> dict[str, float]:
        """Medians and 95th percentiles."""
        found: dict[str, float] = {"requests": len(self.api) + len(self.pull), "failed": self.failed}
        for name, values in (("api", self.api), ("pull", self.pull)):
            ordered = sorted(values)
            found[f"{name}_p50_ms"] = round(statistics.median(ordered), 1)
            found[f"{name}_p95_ms"] = round(ordered[int(len(ordered) * 0.95)], 1)
        return found


@contextmanager
def client(services: PulpServices, wanted: list[tuple[str, str]]) -> Iterator[Waiting]:
    """Ask one thing after the other, with a short rest, from a thread of its own."""
    waiting, over = Waiting(), threading.Event()
    listed = partial(request, services.pulp.api_port, "GET", API, login=True)

    def ask() -> None:
        number = 0
        while not over.wait(0.02):
            pull = partial(services.pull, *wanted[number % len(wanted)])
            number += 1
            for values, call in ((waiting.api, listed), (waiting.pull, pull)):
                began = time.perf_counter()
                answer = call()
                values.append((time.perf_counter() - began) * 1000)
                waiting.failed += answer.status != 200 or not answer.body

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waiting
    finally:
        over.set()
        thread.join()


def during(services: PulpServices, wanted: list[tuple[str, str]], seconds: float, **how: object) -> Any:
    """Prepare so for at most so long while a client asks; `how` None: only the client."""
    pulp = services.pulp
    log = pulp.folder / f"during-{time.monotonic_ns()}"
    process = pulp.start("prepare", log, **how) if how else None
    while process and b'"progress"' not in log.read_bytes():
        if process.poll() is not None:
            raise SystemExit(log.read_text()[-2000:])
        time.sleep(0.05)
    began = time.monotonic()
    with client(services, wanted) as waiting:
        while time.monotonic() - began < seconds and (process is None or process.poll() is None):
            time.sleep(0.1)
    found: dict[str, Any] = waiting.summary()
    if process:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        ended = [one for one in answers(log.read_bytes()) if one["regctl"] == "end"][-1]
        found["manifests_per_second"] = round(ended["done"] / ended["seconds"], 1)
    return found


def clients(lab: PulpLab, seed: Seed, seconds: float) -> dict[str, Any]:
    """Measure what a client waits for, at rest and under each way to prepare."""
    ways: dict[str, dict[str, object]] = {
        "at rest": {},
        "while preparing": {"chunk": 200},
        "with --rate 20": {"chunk": 200, "rate": 20},
        "with --pause-when-load": {"chunk": 200, "load": -1},  # as it was at rest, and a half
        "at rest again": {},
    }
    found = {}
    for name, how in ways.items():
        pulp = lab.clone(seed)
        rows = pulp.query(
            "SELECT max(r.name), m.digest FROM container_manifest m JOIN core_repositorycontent c "
            "ON c.content_id = m.content_ptr_id JOIN core_repository r ON r.pulp_id = c.repository_id "
            "GROUP BY 2 ORDER BY 2 LIMIT 200"
        )
        wanted = [(row[0], row[1]) for row in rows]
        with PulpServices(pulp) as services:
            services.set_password()
            during(services, wanted, 3.0)  # the first requests load what all of them need
            if "load" in how:
                how["load"] = round(os.getloadavg()[0] + 0.5, 1)
            say(f"a client, {name} {how}")
            found[name] = during(services, wanted, seconds, **how)
        lab.drop(pulp)
    return found


def rates(lab: PulpLab, seed: Seed, rounds: int, folder: Path, *, whole: bool) -> dict[str, Any]:
    """Measure both ways in turns."""
    ways: dict[str, Callable[[PulpUnderTest], Run]] = {
        "stock": stock,
        "regctl": lambda pulp: ours(pulp, folder / f"site-{time.monotonic_ns()}"),
    }
    if whole:
        ways["command"] = lambda pulp: command(pulp, folder / f"site-{time.monotonic_ns()}")
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in order:
            pulp = lab.clone(seed)
            runs[name].append(ways[name](pulp))
            say(f"round {number + 1}, {name}: {runs[name][-1]}")
            lab.drop(pulp)
    found: dict[str, Any] = {}
    for name, some in runs.items():
        rate = statistics.median(one.done / one.seconds for one in some)
        found[name] = {
            "manifests": some[0].done,
            "seconds": round(statistics.median(one.seconds for one in some), 2),
            "per_second": round(rate, 1),
            "seconds_per_1000": round(1000 / rate, 1),
            "cpu_seconds": round(statistics.median(one.cpu for one in some), 2),
            "megabytes": max(one.megabytes for one in some),
            "runs": [asdict(one) for one in some],
        }
    pairs = zip(runs["stock"], runs["regctl"], strict=True)
    found["ratio"] = round(statistics.median(one.seconds / other.seconds for one, other in pairs), 2)
    found["estimated_to_real"] = [round(one.estimated / one.seconds, 2) for one in runs["regctl"]]
    return found


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each way of a client")
    parser.add_argument("--no-sync", action="store_true", help="PostgreSQL does not sync to disk")
    parser.add_argument("--only", choices=("rates", "clients"))
    parser.add_argument("--command", action="store_true", help="measure `regctl content prepare`, too")
    given = parser.parse_args()
    seed = Seed(images=given.images, lists=given.images // 20, repositories=4)
    result: dict[str, Any] = {"load_before": os.getloadavg(), "images": given.images}
    with tempfile.TemporaryDirectory(prefix="regctl-bench-pulp-") as folder, PostgresServer() as server:
        if not given.no_sync:
            with server.connect() as connection:
                for name in _AS_IN_PRODUCTION:
                    connection.execute(f"ALTER SYSTEM SET {name} = on".encode())
            server.stop()
            server.start()
        lab = PulpLab(server, Path(folder))
        lab.drop(lab.clone(seed))
        if given.only != "clients":
            result["rates"] = rates(lab, seed, given.rounds, Path(folder), whole=given.command)
        if given.only != "rates":
            result["clients"] = clients(lab, seed, given.seconds)
    print(json.dumps({**result, "load_after": os.getloadavg()}))


if __name__ == "__main__":
    main()
