"""Every changing command under strace with --dry-run: no write outside state_dir, no signal, no row."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.collecting import fill, mode
from tests.support.embedded import embedded
from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.waiting import WaitedTooLongError, wait_until

pytestmark = [pytest.mark.registry, pytest.mark.postgres, pytest.mark.strace]

CALLS = (
    "open,openat,openat2,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,"
    "symlink,symlinkat,chmod,fchmodat,chown,fchownat,lchown,truncate,utimensat,mknod,mknodat,"
    "kill,tkill,tgkill,pidfd_send_signal"
)
_LINE = re.compile(r"(?:\[pid +)?\d*\]? ?(\w+)\((.*)\) += (-?\d+|\?)")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HARMLESS = re.compile(r"/dev/(null|tty|pts/.*)\Z|/proc/.*")


@dataclass(frozen=True)
class Effect:
    """A call that changed, or would have changed, something."""

    call: str
    arguments: str


def effects(trace: str, state_dir: str) -> list[Effect]:
    """The calls of a trace that write outside state_dir or send a signal; failed ones do not count."""
    found = []
    for line in trace.splitlines():
        match = _LINE.search(line)
        if not match or match[3].startswith("-"):
            continue
        call, arguments = match[1], match[2]
        if call in ("kill", "tkill", "tgkill", "pidfd_send_signal"):
            number = arguments.split(",")[1 if call != "tgkill" else 2].strip()
            if number not in ("0", "SIG_0", "SIGURG"):  # SIGURG: Go's scheduler, to its own threads
                found.append(Effect(call, arguments))
            continue
        if call.startswith("open") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments):
            continue
        paths = _PATH.findall(arguments)
        if any(not path.startswith(state_dir + "/") and not _HARMLESS.match(path) for path in paths):
            found.append(Effect(call, arguments))
    return found


def traced(site: SiteUnderTest, *arguments: str) -> tuple[str, list[Effect], str]:
    """Run regctl under strace; return the word of its result, its effects and what it printed on stderr.

    strace follows what regctl starts, also a registry that stays: it is ended when the report is there.
    """
    trace, said, told = (site.folder / name for name in ("trace", "trace.out", "trace.err"))
    argv = [programs.find("strace"), "-f", "-qq", "-I", "1", "-o", str(trace)]
    argv += ["-e", f"trace={CALLS}", "-e", "signal=none"]
    with said.open("wb") as out, told.open("wb") as err:
        running = subprocess.Popen(
            [*argv, *site.command("--output", "json", *arguments)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=site.environment(PYTHONDONTWRITEBYTECODE="1"),
            cwd=site.folder,
        )
    try:
        wait_until(
            lambda: running.poll() is not None or result_of(said),
            what="regctl under strace: " + " ".join(arguments),
            timeout=120,
        )
        wait_until(lambda: running.poll() is not None, what="its end", timeout=3)
    except WaitedTooLongError:
        running.terminate()
    running.wait(10)
    found = effects(trace.read_text(errors="replace"), str(site.state_dir))
    return result_of(said), found, told.read_text()


def result_of(said: Path) -> str:
    """Return the word of the result, "" while the report is not whole."""
    try:
        return str(json.loads(said.read_text())["result"])
    except ValueError:
        return ""


def listing(site: SiteUnderTest) -> set[tuple[str, int, int, int]]:
    """Every path of the registry and of regctl's state, with mode, size and mtime; PostgreSQL's own aside."""
    found = set()
    for folder in (site.server.folder, site.state_dir):
        for path in folder.rglob("*"):
            if "postgres" in path.parts or path.suffix == ".log":  # the probes stand in the registry's log
                continue
            info = path.lstat()
            size, changed = (info.st_size, info.st_mtime_ns) if path.is_file() else (0, 0)
            found.add((str(path), info.st_mode, size, changed))
    return found


def rows(site: SiteUnderTest) -> str:
    """Everything in the catalog database as text, whatever its tables are."""
    query = """
        SELECT query_to_xml(format('SELECT * FROM regctl.%I AS t ORDER BY t', table_name),
                            true, false, '')::text
        FROM information_schema.tables WHERE table_schema = 'regctl' ORDER BY table_name
    """
    with embedded(site.state_dir).connect(read_only=True) as session:
        found = "\n".join(str(row[0]) for row in session.rows(query))
    assert "team/app" in found
    return found


def standing(site: SiteUnderTest) -> tuple[str, list[tuple[str, int]], str]:
    """Return what a write would meet, which processes the site has, and every row, without asking regctl."""
    return mode(site.server), site.processes(), rows(site)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteUnderTest]:
    folder = tmp_path_factory.mktemp("dry-run")
    with SiteUnderTest(folder / "site", RegistryServer(folder / "registry"), database=True) as site:
        fill(site)
        site.ok("registry", "import", "--yes")
        with site.client() as client:
            client.push("team/app", "later", image("later"))
        yield site


CHANGING = [
    ("registry", "import"),
    ("import",),
    ("gc",),
    ("gc", "--read-only"),
    ("gc", "--stopped"),
    ("gc", "--read-only", "--delete-untagged"),
    ("garbage-collect", "--read-only"),
    ("read-only", "on", "--reason", "a test"),
    ("read-only", "off"),
    ("service", "start"),
    ("service", "stop"),
    ("service", "restart"),
    ("database", "start"),
    ("database", "stop"),
    ("database", "migrate", "up"),
    ("database", "migrate", "down", "--accept-data-loss"),
    ("config", "apply"),
    ("config", "adopt"),
    ("lock", "acquire", "main", "--reason", "a test"),
]


@pytest.mark.parametrize("arguments", CHANGING, ids=" ".join)
def test_a_dry_run_changes_nothing(site: SiteUnderTest, arguments: tuple[str, ...]) -> None:
    before, was = listing(site), standing(site)
    assert was[0] == "writable"
    assert was[1], "nothing to be seen runs"
    code, found, said = traced(site, *arguments, "--dry-run", "--yes")
    assert found == [], said
    assert code in ("pending", "nothing-to-do", "warning", "refused", "ok"), said
    assert listing(site) ^ before == set()
    assert standing(site) == was


@pytest.mark.distribution3
def test_a_dry_run_of_an_upgrade_changes_nothing(site: SiteUnderTest) -> None:
    before, was = listing(site), standing(site)
    arguments = ("upgrade", "apply", "--to-binary", programs.registry3(), "--dry-run", "--yes")
    code, found, said = traced(site, *arguments)
    assert (code, found) == ("pending", []), said
    assert listing(site) ^ before == set()
    assert standing(site) == was


def test_positive_control_a_changed_row_is_seen(site: SiteUnderTest) -> None:
    before = standing(site)
    site.ok("registry", "import", "--yes")
    after = standing(site)
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    with site.client() as client:  # so that an import has something to do again, in whatever order
        client.push("team/app", "still-later", image("still later"))


@pytest.mark.parametrize(
    "arguments",
    [("service", "restart"), ("gc", "--read-only"), ("read-only", "on", "--reason", "x")],
    ids=" ".join,
)
def test_positive_control_the_same_commands_without_dry_run_are_seen(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        fill(site)
        code, found, said = traced(site, *arguments, "--yes")
        assert code == "changed", said
        assert {effect.call for effect in found} & {
            "kill",
            "pidfd_send_signal",
            "rename",
            "renameat",
            "linkat",
        }


def test_init_shows_the_file_and_writes_none(tmp_path: Path) -> None:
    with SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        site.site_file.unlink()
        arguments = (
            "--registry-config",
            str(site.server.config_file),
            "--registry-binary",
            site.server.binary,
        )
        code, found, said = traced(site, "init", *arguments, "--service", "process", "--dry-run")
        assert (code, found) == ("pending", []), said
        assert not site.site_file.exists()
        site.site_file.write_text("")  # so that leaving the fixture finds a file
        site.write()
