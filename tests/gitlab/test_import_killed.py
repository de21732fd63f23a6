"""kill -9 of regctl and of the program in every step of an import: it is found again, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ctl.database.advisory import METADATA_LOCK
from tests.gitlab.test_import import make  # noqa: F401 - a fixture
from tests.support.importing import Importing
from tests.support.waiting import wait_until

IMPORT = ("registry", "import", "--yes", "--stay-closed")


@pytest.fixture
def importing(make: Callable[..., Importing]) -> Importing:  # noqa: F811
    """A small registry, for many kills."""
    return make(4, 4)


def boundaries(importing: Importing, *flags: str) -> list[str]:
    """Name the boundaries that a command passes, by running it to its end."""
    done = importing.site.regctl(*IMPORT, *flags, REGCTL_FAILPOINT="list")
    assert done.exit_code == 0, str(done)
    return [line.split(" ", 2)[2] for line in done.stderr.splitlines() if line.startswith("REGCTL_FAIL")]


def program(importing: Importing) -> list[int]:
    """The pids of the imports that run on the site's registry."""
    needle = b"\0database\0import\0"
    config = os.fsencode(importing.site.server.config_file)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if needle in line and config in line:
                found.append(int(entry.name))
    return found


def held_at_its_first_tags(importing: Importing) -> int:
    """Let the program work in small pieces until some tags are in the database; it is stopped then."""
    wait_until(lambda: program(importing), what="the program", timeout=90, interval=0.001)
    (pid,) = program(importing)
    os.kill(pid, signal.SIGSTOP)

    def some_tags() -> bool:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)
        return bool(importing.rows("SELECT count(*) FROM tags")[0][0])

    wait_until(some_tags, what="the first tags", timeout=120, interval=0.0)
    return pid


def forget(importing: Importing) -> None:
    """Bring site and database back to before an import."""
    site = importing.site
    importing.empty()
    for name in importing.locks():
        importing.lock(name).unlink()
    importing.lock("filesystem-in-use")
    if importing.mode() != "writable":
        site.ok("read-only", "off", "--yes")


def recover(importing: Importing) -> None:
    """What an operator does next, and what must hold after it."""
    site = importing.site
    again = site.regctl(*IMPORT, "--step", "two")
    if again.exit_code == 6 and "regctl run resume" in again.stderr:
        resumed = site.regctl("run", "resume", "--yes")
        assert resumed.exit_code in (0, 1), str(resumed)
        again = site.regctl(*IMPORT, "--step", "two")
    if again.exit_code == 6 and "--retry" in again.stderr:
        again = site.regctl(*IMPORT, "--step", "two", "--retry")
    assert again.exit_code in (0, 6), str(again)
    if again.exit_code == 6:
        assert "imported already" in again.stderr, str(again)
    assert importing.tags() == importing.tree_tags()
    assert importing.locks() == {"database-in-use"}
    assert program(importing) == []
    assert importing.mode() == "read-only"
    kept = [path.name for path in site.server.folder.iterdir() if "regctl-claim" in path.name]
    assert kept == []


def sweep(importing: Importing, points: list[tuple[int, str]], names: list[str]) -> int:
    landed = 0
    for number, when in points:
        forget(importing)
        importing.site.ok(*IMPORT, "--step", "one")
        killed = importing.site.regctl(*IMPORT, "--step", "two", REGCTL_FAILPOINT=f"{number}:{when}:kill")
        landed += killed.exit_code == -signal.SIGKILL
        try:
            recover(importing)
        except AssertionError as error:
            raise AssertionError(f"killed {when} boundary {number} ({names[number - 1]}): {error}") from error
    return landed


def points(names: list[str]) -> list[tuple[int, str]]:
    return [(number, when) for number in range(1, len(names) + 1) for when in ("before", "after")]


def test_killed_at_some_boundaries_of_step_two_the_next_command_finishes(importing: Importing) -> None:
    importing.site.ok(*IMPORT, "--step", "one")
    names = boundaries(importing, "--step", "two")
    told_nowhere = next(n for n, name in enumerate(names, 1) if name.endswith("ImportMetadata"))
    chosen = [*points(names)[7::23], (told_nowhere, "after")]
    assert sweep(importing, chosen, names) >= 3


@pytest.mark.soak
def test_killed_at_every_boundary_of_step_two_the_next_command_finishes(importing: Importing) -> None:
    importing.site.ok(*IMPORT, "--step", "one")
    names = boundaries(importing, "--step", "two")
    landed = sweep(importing, points(names), names)
    print(f"{landed} of {2 * len(names)} kills landed")
    assert landed >= len(names)


def test_killed_while_the_program_works_its_import_is_found_again_in_every_step(
    make: Callable[..., Importing],  # noqa: F811
) -> None:
    importing = make(30, 8)
    site = importing.site
    for step in ("one", "two", "three"):
        running = site.start(*IMPORT, "--step", step)
        wait_until(lambda: program(importing), what=f"the program in step {step}", timeout=60, interval=0.001)
        (pid,) = program(importing)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        refused = site.regctl(*IMPORT, "--step", step)
        expected = 3 if step == "three" else 0  # a warning: it serves from its tree still
        if refused.exit_code == expected:
            continue  # it had ended, and nothing but its report was left to do
        assert refused.exit_code in (5, 6), str(refused)
        assert "resume" in refused.stderr, str(refused)
        resumed = site.regctl("run", "resume", "--yes")
        assert resumed.exit_code == expected, str(resumed)
        assert not Path(f"/proc/{pid}").exists()
        assert importing.rows("SELECT count(*) FROM import_statistics") == [
            ({"one": 1, "two": 2}.get(step, 3),)
        ]
    assert importing.tags() == importing.tree_tags()
    assert importing.locks() == {"database-in-use"}


def test_the_program_killed_in_step_two_is_started_again_and_the_tags_are_whole(
    make: Callable[..., Importing],  # noqa: F811
) -> None:
    importing = make(30, 8)
    site = importing.site
    site.ok(*IMPORT, "--step", "one")
    running = site.start(*IMPORT, "--step", "two")
    os.kill(held_at_its_first_tags(importing), signal.SIGKILL)
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    assert b"the import was ended before it was done" in err
    assert importing.tags() == importing.tree_tags()
    assert importing.locks() == {"database-in-use"}


def test_backed_out_of_after_a_kill_everything_is_as_it_was(
    make: Callable[..., Importing],  # noqa: F811
) -> None:
    importing = make(30, 8)
    site = importing.site
    before = site.server.config_file.read_bytes()
    locks = importing.locks()
    running = site.start(*IMPORT)
    wait_until(lambda: program(importing), what="the program", timeout=60, interval=0.001)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    back = site.regctl("run", "resume", "--leave-only", "--yes")
    assert back.exit_code == 0, str(back)
    assert program(importing) == []
    assert importing.locks() == locks
    assert importing.mode() == "writable"
    assert site.server.config_file.read_bytes() == before


def test_a_connection_that_breaks_is_told_and_the_step_begun_again(
    make: Callable[..., Importing],  # noqa: F811
) -> None:
    importing = make(30, 8)
    running = importing.site.start(*IMPORT)
    pid = held_at_its_first_tags(importing)
    ended = importing.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND starts_with(application_name, 'regctl import ')"
    )
    assert ended
    os.kill(pid, signal.SIGCONT)
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    assert importing.tags() == importing.tree_tags()
    assert importing.locks() == {"database-in-use"}
    assert b"the connection to the database or the storage broke" in err


def test_a_second_importer_is_named_and_nothing_begins(make: Callable[..., Importing]) -> None:  # noqa: F811
    """A bare one beside ours: without the check the second dies and turns the lock files round."""
    importing = make(30, 8)
    server, locks = importing.site.server, importing.locks()
    argv = [server.binary, "database", "import", "--log-to-stdout", str(server.config_file)]
    bare = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        refused = importing.site.regctl(*IMPORT)
        assert refused.exit_code == 5, str(refused)
        assert f"process {bare.pid}" in refused.stderr
        assert importing.locks() == locks
        assert importing.mode() == "writable"
    finally:
        bare.kill()
        bare.wait()
    with closing(importing.postgres.connect(importing.address.name)) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", METADATA_LOCK)
        locked = importing.site.regctl(*IMPORT, "--step", "one")
    assert locked.exit_code == 5, str(locked)
    assert "another regctl works on it" in locked.stderr
