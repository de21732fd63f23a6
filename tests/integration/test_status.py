"""regctl status on a real registry: it looks, and leaves everything as it was."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest

pytestmark = [pytest.mark.registry]

TRACED = (
    "open,openat,openat2,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,chmod,fchmodat,chown,fchownat,truncate,utimensat,mknod,mknodat,"
    "kill,tkill,tgkill,pidfd_send_signal,execve"
)


STRACE = ("strace", "-f", "-qq", "-e", f"trace={TRACED}", "-e", "signal=none")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteUnderTest]:
    """A site with one registry of kind process; nothing of it is started."""
    with RegistryServer(tmp_path / "registry") as server:
        server.stop()
        site = SiteUnderTest(tmp_path / "site", server).write()
        yield site
        site.close()


def test_stopped_then_running_then_read_only(site: SiteUnderTest) -> None:
    stopped = site.regctl("status")
    assert (stopped.exit_code, stopped.json["healthy"]) == (3, False)
    (node,) = stopped.json["registries"]["main"]["nodes"]
    assert (node["state"], node["listening"], node["read_only"]) == ("stopped", False, None)
    assert node["version"].startswith("2.8"), "the binary tells it, running or not"
    assert not site.state_dir.exists(), "looking creates nothing"

    site.ok("service", "start")
    running = site.regctl("status")
    assert (running.exit_code, running.json["healthy"]) == (0, True), str(running)
    (node,) = running.json["registries"]["main"]["nodes"]
    assert (node["host"], node["state"], node["listening"]) == ("here", "running", True)
    assert (node["backend"], node["read_only"]) == ("filesystem", False)
    assert running.json["registries"]["main"]["storage"]["free_bytes"] > 0

    site.ok("read-only", "on", "--reason", "a test", "--yes")
    closed = site.regctl("status")
    assert closed.json["registries"]["main"]["nodes"][0]["read_only"] is True
    site.ok("read-only", "off", "--yes")


def test_the_screen(site: SiteUnderTest) -> None:
    site.ok("service", "start")
    done = site.regctl("status", "main", output="table")
    assert done.exit_code == 0
    header, row, *_ = done.stdout.splitlines()
    assert header.split() == ["registry", "host", "state", "listening", "version", "backend", "pushes"]
    assert row.split()[:4] == ["main", "here", "running", "yes"]
    assert done.stdout.splitlines()[-1] == "all is well"
    assert done.stderr == ""


def test_a_registry_that_is_not_in_the_site(site: SiteUnderTest) -> None:
    done = site.regctl("status", "mian")
    assert done.exit_code == 2
    assert done.json["error"]["hint"] == "did you mean 'main'?"


@pytest.mark.strace
@pytest.mark.parametrize("command", ["status", "doctor"])
def test_looking_writes_nothing_and_starts_no_service(site: SiteUnderTest, command: str) -> None:
    site.ok("service", "start")
    with site.client() as client:
        client.push("team/app", "v1", image("app"))
    before = {str(p): p.lstat().st_mtime_ns for p in site.server.folder.rglob("*") if p.is_file()}
    trace = site.folder / "trace"
    done = subprocess.run(
        [*STRACE, "-o", str(trace), *site.command("--output", "json", command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=site.environment(PYTHONDONTWRITEBYTECODE="1"),
        timeout=60,
    )
    assert done.returncode in (0, 3), done.stderr
    lines = [line for line in trace.read_text(errors="replace").splitlines() if " = -1 " not in line]
    assert len(lines) > 100, "the trace saw something"
    writing = [
        line
        for line in lines
        if ("O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line) and "/dev/null" not in line
    ]
    assert writing == []
    changing = [
        line for line in lines if not any(f" {call}(" in line for call in ("openat", "open", "execve"))
    ]
    # Go sends itself SIGURG to switch between its threads: that is `docker-registry --version`.
    harmless = ("resumed", "SIG_0", "SIGURG")
    assert [line for line in changing if not any(word in line for word in harmless)] == []
    started = [line for line in lines if " execve(" in line]
    assert not [line for line in started if "serve" in line or "postgres" in line.partition("[")[0]]
    after = {str(p): p.lstat().st_mtime_ns for p in site.server.folder.rglob("*") if p.is_file()}
    assert {path for path in after if after[path] != before.get(path) and not path.endswith(".log")} == set()
