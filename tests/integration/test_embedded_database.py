"""The embedded PostgreSQL: made whole, started once, stopped for certain, found again after any death."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctl.database import cluster
from ctl.database.embedded import EmbeddedDatabase
from ctl.database.migrator import Migrator
from ctl.database.postmaster import find_postmaster
from ctl.errors import RegctlError, UnreachableError
from ctl.hosts.base import Command
from ctl.hosts.local import LocalHost
from tests.support.children import exit_code, forked, kill
from tests.support.embedded import embedded
from tests.support.migrations import ids, tables, whole
from tests.support.waiting import wait_until

pytestmark = pytest.mark.postgres
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may pass through; whatever runs below it is stopped in the end."""
    made = Path(tempfile.mkdtemp(prefix="rcdb-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    for data in made.glob("**/postmaster.pid"):
        running = find_postmaster(str(data.parent))
        if running:
            os.kill(running.pid, signal.SIGQUIT)
            wait_until(lambda d=data: find_postmaster(str(d.parent)) is None, what="its end")  # type: ignore[misc]
            shutil.rmtree(running.socket_folder, ignore_errors=True)
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A cluster that was created and stopped; tests copy it instead of making one each."""
    made = Path(tempfile.mkdtemp(prefix="rcdb-", dir="/tmp"))
    made.chmod(0o711)
    database = embedded(made)
    database.ensure_started()
    with database.connect() as session:
        session.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS n")
    database.stop()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def database(folder: Path, made_once: Path) -> EmbeddedDatabase:
    """A stopped embedded database of the test's own, with a table `kept` of 100 rows."""
    copy_tree(made_once, folder / "state")
    return embedded(folder / "state")


def copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, as `cp -a` does."""
    shutil.copytree(source, target, symlinks=True)
    for here, _, files in os.walk(source):
        for path in (Path(here), *(Path(here) / file for file in files)):
            found = path.lstat()
            os.chown(target / path.relative_to(source), found.st_uid, found.st_gid)


def snapshot(top: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder: mode, size and time of change."""
    found = {}
    for here, folders, files in os.walk(top):
        for name in (*folders, *files):
            info = (Path(here) / name).lstat()
            found[f"{here}/{name}"] = (info.st_mode, info.st_size, info.st_ctime_ns)
    return found


def kept(database: EmbeddedDatabase) -> int:
    with database.connect(read_only=True) as session:
        row = session.one("SELECT count(*) FROM kept")
    assert row
    return int(row[0])


def pid_of(database: EmbeddedDatabase) -> int:
    running = find_postmaster(database.data)
    assert running
    return running.pid


def test_a_new_one_is_private_and_listens_on_its_socket_only(folder: Path) -> None:
    database = embedded(folder / "state")
    assert database.ensure_started() is True
    assert database.ensure_started() is False
    modes = [
        stat.S_IMODE(os.stat(path).st_mode) for path in (database.state_dir, database.folder, database.data)
    ]
    assert modes == [0o711, 0o711, 0o700]
    for file in ("pg_hba.conf", "pg_ident.conf", "postgresql.conf"):
        assert stat.S_IMODE(os.stat(f"{database.data}/{file}").st_mode) == 0o600
    with database.connect() as session:
        assert session.one("SHOW listen_addresses") == ("",)
        assert session.one("SHOW data_checksums") == ("on",)
        assert session.one("SELECT datcollate FROM pg_database WHERE datname = 'regctl'") == ("C",)
        assert session.one("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == (0,)
    tcp = Path(f"/proc/{pid_of(database)}/net/tcp").read_text()
    inodes = {line.split()[9] for line in tcp.splitlines()[1:] if line.split()[3] == "0A"}
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid_of(database)}/fd").iterdir()}
    assert not {f"socket:[{inode}]" for inode in inodes} & sockets
    assert database.stop() is True


def test_status_creates_and_starts_nothing(folder: Path, database: EmbeddedDatabase) -> None:
    never = embedded(folder / "elsewhere")
    before = snapshot(folder)
    assert never.status().state == "missing"
    assert database.status().state == "stopped"
    for one in (never, database):
        with pytest.raises(UnreachableError) as caught:
            one.connect()
        assert "regctl database" in caught.value.hint
        with pytest.raises(UnreachableError):
            one.client_command()
    assert snapshot(folder) == before


def test_several_at_once_start_it_once(database: EmbeddedDatabase) -> None:
    with ThreadPoolExecutor(6) as pool:
        started = list(pool.map(lambda _: database.ensure_started(), range(6)))
    assert sorted(started) == [False] * 5 + [True]
    assert kept(database) == 100


def test_several_at_once_create_it_once(folder: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(lambda _: embedded(folder / "state").ensure_started(), range(3)))
    assert sorted(started) == [False, False, True]
    assert sorted(os.listdir(folder / "state" / "postgres")) == [".metadata.lock", "metadata"]


def test_stopped_is_stopped_and_says_so_twice(database: EmbeddedDatabase) -> None:
    database.ensure_started()
    pid, sockets = pid_of(database), find_postmaster(database.data)
    with database.connect() as session:
        session.execute("BEGIN")
        session.execute("DELETE FROM kept")
        assert database.stop() is True  # it waits for nobody: what was not committed is rolled back
    assert LocalHost("here", "/nonexistent").process(pid) is None
    assert sockets
    assert not os.path.exists(sockets.socket_folder)
    assert database.stop() is False
    assert database.status().state == "stopped"
    database.ensure_started()
    assert kept(database) == 100


def test_a_killed_server_comes_back_with_all_that_was_committed(database: EmbeddedDatabase) -> None:
    database.ensure_started()
    for number in range(3):
        with database.connect() as session:
            session.execute("INSERT INTO kept VALUES (%s)", (number,))
        pid = pid_of(database)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: find_postmaster(database.data) is None, what="the server's death")
        assert database.status().state == "stopped"
        assert database.ensure_started() is True
        assert kept(database) == 101 + number


def test_a_power_cut_in_a_migration_leaves_the_old_or_the_new_version(database: EmbeddedDatabase) -> None:
    migrations = tables(6, sleep=0.03)
    for seconds in (0.05, 0.15):
        database.ensure_started()
        child = forked(lambda: Migrator(database, migrations, "1").up(ids(migrations)))
        time.sleep(seconds)
        for pid in standing_in(database.data):
            os.kill(pid, signal.SIGKILL)
        exit_code(child)
        database.ensure_started()
        assert whole(database, migrations) < len(migrations)
    Migrator(database, migrations, "1").up(ids(migrations))
    assert whole(database, migrations) == len(migrations)


def standing_in(folder: str) -> list[int]:
    """The processes of a server, its own first: they all stand in its folder."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == folder:
                found.append(int(entry))
    return sorted(found)


def test_a_pid_that_somebody_else_has_by_now_is_not_believed(database: EmbeddedDatabase) -> None:
    database.ensure_started()
    lines = Path(f"{database.data}/postmaster.pid").read_text().splitlines()
    database.stop()
    stale = Path(f"{database.data}/postmaster.pid")
    stale.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    owner = os.stat(database.data)
    os.chown(stale, owner.st_uid, owner.st_gid)
    stale.chmod(0o600)
    assert database.status().state == "stopped"
    assert database.stop() is False  # and we are still alive to say so
    assert database.ensure_started() is True  # PostgreSQL alone would refuse
    assert kept(database) == 100


def test_what_a_killed_creation_left_is_cleared_away(folder: Path) -> None:
    postgres = folder / "state" / "postgres"
    postgres.mkdir(parents=True)
    (postgres / ".metadata.new-0badcafe").mkdir()
    (postgres / ".metadata.new-0badcafe" / "PG_VERSION").write_text("15\n")
    database = embedded(folder / "state")
    assert database.status().state == "missing"
    assert database.ensure_started() is True
    assert sorted(os.listdir(postgres)) == [".metadata.lock", "metadata"]


def test_a_creation_killed_at_any_point_is_done_again(folder: Path) -> None:
    """Each child is killed a little later; the next one ends with a whole database all the same."""
    for number, seconds in enumerate((0.3, 0.8)):
        state = folder / f"state{number}"
        child = forked(lambda s=state: embedded(s).ensure_started())  # type: ignore[misc]
        time.sleep(seconds)
        kill(child)
        database = embedded(state)
        database.ensure_started()
        with database.connect() as session:
            assert session.one("SELECT current_database()") == ("regctl",)
        assert [name for name in os.listdir(state / "postgres") if ".new-" in name] == []
        database.stop()


def test_a_long_state_dir_still_has_a_short_socket(folder: Path, made_once: Path) -> None:
    deep = folder / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    copy_tree(made_once, deep / "state")
    database = embedded(deep / "state")
    database.ensure_started()
    assert kept(database) == 100


@as_root
def test_a_closed_folder_on_the_way_is_named(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(RegctlError) as caught:
        embedded(closed / "state").ensure_started()
    assert f"may not pass through {closed}" in str(caught.value)
    assert "chmod o+x" in caught.value.hint


@as_root
def test_nobody_else_gets_in(database: EmbeddedDatabase) -> None:
    database.ensure_started()
    env = dict(database.client_command().env)
    call = Command(("psql", "-X", "-c", "SELECT 1"), env={**env, "PGUSER": "regctl"}, user="nobody")
    assert LocalHost("here", "/nonexistent").run(call).exit_code != 0
    ours = Command(("psql", "-X", "-A", "-t", "-c", "SELECT 1"), env=env)  # the same as root: the control
    assert LocalHost("here", "/nonexistent").run(ours).stdout == b"1\n"


@as_root
def test_a_caller_who_is_not_root_runs_its_own(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = folder / "theirs"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    def theirs() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        database = embedded(home / "state")
        assert database.ensure_started() is True
        assert cluster.socket_folder(database.data).startswith(f"/tmp/regctl-{nobody.pw_uid}/")
        assert os.stat(database.data).st_uid == nobody.pw_uid
        with database.connect() as session:
            session.execute("CREATE TABLE mine (n int)")

    child = forked(theirs)
    assert exit_code(child) == 0
    database = embedded(home / "state")  # root finds it running, and may stop it
    assert database.status().state == "running"
    with database.connect() as session:
        assert session.one("SELECT count(*) FROM mine") == (0,)
    assert database.stop() is True
    shutil.rmtree(f"/tmp/regctl-{nobody.pw_uid}", ignore_errors=True)


def test_a_server_that_cannot_start_shows_its_log(database: EmbeddedDatabase) -> None:
    custom = Path(f"{database.data}/custom.conf")
    custom.write_text("shared_buffers = 'plenty'\n")
    custom.chmod(0o644)
    with pytest.raises(RegctlError) as caught:
        database.ensure_started()
    assert "did not start" in str(caught.value)
    assert "plenty" in caught.value.hint
    custom.write_text("work_mem = '5MB'\n")
    database.ensure_started()
    with database.connect() as session:
        assert session.one("SHOW work_mem") == ("5MB",)
