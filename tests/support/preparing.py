"""Meeting a program that prepares content in the middle of its work: find it, wait for it, hurt it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.support.pulp import PulpUnderTest, Seed
from tests.support.pulp_site import SERVER, PulpSite
from tests.support.waiting import wait_until

MID_RUN = 120.0  # seconds that the first chunk may take on a busy machine

ALWAYS = {"content": {"worth_minutes": 0}}  # whatever it saves
PREPARE = ("content", "prepare", "--yes", "--chunk", "10", "--rate", "50")
FEW = Seed(images=120, varied=False)
MANY = Seed(images=250, varied=False)


def under_way(
    pulp: PulpUnderTest,
    least: int = 1,
    before: int | None = None,
    process: subprocess.Popen[bytes] | None = None,
) -> int:
    """Wait until so many manifests more are done; return how many are left then.

    `process` is what does it: where it ends before that, the test fails with what it said.
    """
    begun = pulp.counts().todo if before is None else before

    def look() -> bool:
        if pulp.counts().todo <= begun - least:
            return True
        if process is not None and process.poll() is not None:
            said = [stream.read().decode() for stream in (process.stdout, process.stderr) if stream]
            raise AssertionError(f"it ended with {process.returncode}\n" + "\n".join(said))
        return False

    wait_until(look, what="the work to be under way", timeout=MID_RUN)
    return pulp.counts().todo


def jobs(site: PulpSite, host: str) -> dict[str, Path]:
    """The jobs on a host, by their ids, in the order of their names."""
    folder = (site.state_dir if host == SERVER else site.sshds[host].root / "state") / "jobs"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return {name: folder / name for name in names if "-content-" in name}


def driver(site: PulpSite, host: str) -> int:
    """Wait for the program on a host; return the process that it is."""
    found: list[int] = []

    def look() -> bool:
        for folder in jobs(site, host).values():
            for name in ("process.json", "record"):
                record = folder / name
                if record.exists() and not (folder / "exit.json").exists() and not (folder / "exit").exists():
                    text = record.read_text()
                    found[:] = [int(json.loads(text)["pid"] if name.endswith("json") else text.split()[0])]
        return bool(found)

    wait_until(look, what=f"a program on {host}", timeout=MID_RUN)
    return found[0]


def kill(pid: int, number: int = signal.SIGKILL, *, group: bool = False) -> None:
    """Send a signal to one process that a test began, or to its group."""
    if group:
        os.killpg(os.getpgid(pid), number)
    else:
        os.kill(pid, number)


def cut_off(pulp: PulpUnderTest) -> int:
    """End every connection to a Pulp's database, as a restart of PostgreSQL does; return how many."""
    rows = pulp.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return len(rows)


def stock_in_the_middle(pulp: PulpUnderTest, *, least: int = 20) -> subprocess.Popen[bytes]:
    """Start Pulp's own command, and return once it has taken files from so many manifests."""
    process = pulp.start_manager("container-handle-image-data", stdout=subprocess.DEVNULL)
    before = pulp.counts().unreadable
    wait_until(
        lambda: pulp.counts().unreadable >= before + least or process.poll() is not None,
        what="the stock command to be under way",
        timeout=MID_RUN,
    )
    assert process.poll() is None, "it was over before it could be met"
    return process


def last_one(pulp: PulpUnderTest) -> str:
    """Return the manifest that comes last."""
    rows = pulp.query(
        "SELECT digest FROM container_manifest WHERE data IS NULL ORDER BY content_ptr_id DESC LIMIT 1"
    )
    return str(rows[0][0])
