"""Measure how a tree is read over SSH beside a local reader: the same tree, all links and manifests of it.

Run it as `python -m tests.benchmarks.far_tree`. The tree (200 repositories of 50 tags) is seeded once into
--folder and kept; the host is a real sshd on the loopback. Seconds are medians of --rounds alternating runs,
each a process of its own; beside them the peak resident sets of the controller and of what reads over there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.support.shells import without_python
from tests.support.sshd import SshServer

_READ = """
import json, resource, sys, time
from ctl.hosts.posix import PosixHost
from ctl.hosts.ssh import SshShell, Way
from ctl.steps.read_garbage import holdings_of_tree
from ctl.storage.far import FarStorage
from ctl.storage.filesystem import FilesystemStorage
root, way, path = json.loads(sys.argv[1])
shell = SshShell(Way(**way)) if way else None
storage = FilesystemStorage(root)
if shell:
    storage = FarStorage(root, "far", PosixHost("far", shell, "/nowhere", search_path=path).open_stream)
began = time.perf_counter()
holdings, _ = holdings_of_tree(storage)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
storage.close()
if shell:
    shell.close()
print(json.dumps([seconds, peak, sum(map(len, holdings.tags.values())), len(holdings.manifests)]))
"""


class Watch:
    """Looks at how large the programs get that read over there."""

    def __init__(self, mark: bytes) -> None:
        self.peak = 0
        self._mark = mark
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for entry in Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and self._mark in (entry / "cmdline").read_bytes():
                        status = (entry / "status").read_text()
                        self.peak = max(self.peak, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
                except (OSError, IndexError, ValueError):
                    continue

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def once(root: Path, server: SshServer | None, path: str) -> tuple[float, int, int, list[int]]:
    """Read the tree once; return seconds, both peaks and what was found."""
    way = vars(server.way()) if server else None
    argv = [sys.executable, "-c", _READ, json.dumps([str(root), way, path])]
    with Watch(b"import os\ndef exactly") as watch:
        done = subprocess.run(argv, capture_output=True, check=True)
    seconds, peak, *found = json.loads(done.stdout)
    return seconds, peak, watch.peak, found


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "regctl-bench-far")
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--with-python-only", action="store_true", help="leave out the host without python3")
    given = parser.parse_args()
    root = given.folder / f"{given.repositories}x50"
    if not (given.folder / f"{root.name}.done").exists():
        seed_tree(str(root), SeedPlan(given.repositories, 50))
        (given.folder / f"{root.name}.done").touch()
    with tempfile.TemporaryDirectory() as folder, SshServer(Path(folder) / "sshd") as server:
        ways = {
            "local": (None, ""),
            "far": (server, "/usr/bin:/bin"),
            "far without python3": (server, without_python(Path(folder))),
        }
        if given.with_python_only:
            del ways["far without python3"]
        runs: dict[str, list[tuple[float, int, int, list[int]]]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, (over, path) in ways.items():
                runs[name].append(once(root, over, path))
                time.sleep(0.2)
    found = [one[3] for some in runs.values() for one in some]
    if any(one != found[0] for one in found):
        raise SystemExit(f"they do not agree: {found}")
    result = {
        name: {
            "seconds": round(statistics.median(one[0] for one in some), 2),
            "controller_mb": max(one[1] for one in some),
            "far_mb": max(one[2] for one in some),
        }
        for name, some in runs.items()
    }
    ratio = result["far"]["seconds"] / result["local"]["seconds"]
    print(json.dumps({"tags": found[0][0], "manifests": found[0][1], "ratio": round(ratio, 2), **result}))


if __name__ == "__main__":
    main()
