"""The parts of the database room that need no server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.models import Database as DatabaseConfig
from ctl.database import cluster, open_database
from ctl.database.advisory import Ladder
from ctl.database.base import ProgramResult
from ctl.database.errors import shorten
from ctl.database.external import ExternalDatabase
from ctl.database.filelock import file_lock
from ctl.database.programs import server_folder
from ctl.database.shell import client_environment
from ctl.errors import ConfigError, LockedError, RegctlError
from ctl.secret import Secret


@given(st.text(max_size=600))
def test_a_statement_is_shown_on_one_short_line(statement: str) -> None:
    shown = shorten(statement)
    assert len(shown) <= 200
    assert "\n" not in shown
    if len(statement) <= 200:
        assert shown.split() == statement.split()


@given(st.floats(0.01, 1), st.floats(1, 5), st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_a_ladder_is_bounded(first: float, last: float, attempts: int, chance: float) -> None:
    rungs = list(Ladder(first, last, attempts).rungs(lambda: chance))
    assert len(rungs) == attempts
    assert all(0 < rung <= last for rung in rungs)
    assert rungs == sorted(rungs)


def test_the_usual_ladder_goes_from_half_a_second_to_two() -> None:
    rungs = list(Ladder().rungs(lambda: 0.5))
    assert rungs[0] == 0.5
    assert rungs[-1] == 2.0
    assert sum(rungs) < 12


@given(st.text(min_size=1, max_size=300).filter(lambda text: "\0" not in text))
def test_a_socket_is_short_whatever_the_folder_is_called(name: str) -> None:
    folder = cluster.socket_folder(f"/var/lib/{name}", run_folder="/run")
    assert len(f"{folder}/.s.PGSQL.5432.lock".encode()) <= 107
    assert folder == cluster.socket_folder(f"/var/lib/{name}", run_folder="/run")


def test_a_socket_lies_elsewhere_where_run_is_closed(tmp_path: Path) -> None:
    missing = cluster.socket_folder("/data", run_folder=str(tmp_path / "missing"), fallback="/tmp")
    assert missing.startswith(f"/tmp/regctl-{os.geteuid()}/")
    with pytest.raises(RegctlError, match="107"):
        cluster.socket_folder("/data", run_folder="/missing", fallback="/" + "x" * 100)


def test_a_socket_folder_that_somebody_planted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegctlError, match="not a folder of ours"):
        cluster.make_socket_folder(str(tmp_path / "base" / "key"), os.geteuid(), os.getegid())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def programs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("initdb", "pg_ctl", "postgres"):
        (folder / name).touch(mode=0o755)
    return folder


def test_the_newest_server_is_found_and_a_given_one(tmp_path: Path) -> None:
    for major in ("9", "15", "17"):
        programs(tmp_path / major / "bin")
    (tmp_path / "18" / "bin").mkdir(parents=True)  # a client only
    root = str(tmp_path)
    assert server_folder(root=root, path="") == f"{root}/17/bin"
    assert server_folder("15", root=root, path="") == f"{root}/15/bin"
    with pytest.raises(RegctlError) as caught:
        server_folder("16", root=root, path="")
    assert "postgresql-16" in caught.value.hint


def test_a_server_on_path_is_found(tmp_path: Path) -> None:
    folder = str(programs(tmp_path / "pgsql" / "16" / "bin"))
    assert server_folder(root="/missing", path=f"/nowhere:{folder}") == folder
    assert server_folder("16", root="/missing", path=folder) == folder
    with pytest.raises(RegctlError) as caught:
        server_folder(root="/missing", path="/nowhere")
    assert "Debian package postgresql" in caught.value.hint


def test_a_lock_that_is_held_names_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        file_lock(path, what="start"),
        pytest.raises(LockedError, match=str(os.getpid())),
        file_lock(path, what="start", seconds=0.1),
    ):
        pass
    with file_lock(path, what="start", seconds=0.1):
        assert os.path.exists(path)


def external(password: str | None = "p:w\\d") -> ExternalDatabase:
    secret = Secret(password) if password is not None else None
    return ExternalDatabase(
        "out", "db.example.com", 5433, "registry", "reg", "verify-full", "", lambda: secret
    )


def test_a_password_travels_in_a_pass_file_alone() -> None:
    call = external().client_command(read_only=True)
    assert call.passfile is not None
    assert call.passfile.reveal() == "db.example.com:5433:registry:reg:p\\:w\\\\d\n"
    assert "p:w" not in f"{call} {external()}"
    assert call.env["PGOPTIONS"] == "-c default_transaction_read_only=on"
    assert external(None).client_command().passfile is None


def test_psql_gets_no_variable_that_leads_elsewhere() -> None:
    given = {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "x", "PGPASSWORD": "y", "PATH": "/bin", "TERM": "xterm"}
    env = client_environment(given, {"PGHOST": "db"}, 7)
    assert env == {"PATH": "/bin", "TERM": "xterm", "PGHOST": "db", "PGPASSFILE": "/proc/self/fd/7"}


def test_a_database_without_an_address_is_a_mistake_of_the_site() -> None:
    def run(argv: tuple[str, ...], user: str | None, seconds: float) -> ProgramResult:
        raise AssertionError("nothing is run")

    with pytest.raises(ConfigError, match="says nothing of dbname, user"):
        open_database(
            "out",
            DatabaseConfig(host="db.example.com"),
            state_dir="/nonexistent",
            run=run,
            resolve_secret=Secret,
        )
