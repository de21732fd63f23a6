"""`regctl database`, as an operator and as a script see it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.site import REPOSITORY_ROOT, Done
from tests.support.waiting import clean_environment

pytestmark = pytest.mark.postgres


@dataclass(frozen=True)
class Databases:
    """A site of databases alone, and regctl on it."""

    folder: Path

    def write(self, **databases: dict[str, Any]) -> None:
        node = {
            "host": "here",
            "binary": "/usr/bin/docker-registry",
            "config_file": "/etc/docker/registry/config.yml",
            "url": "http://127.0.0.1:5999",
            "service": {"kind": "systemd", "name": "docker-registry"},
        }
        registry = {
            "engine": "distribution",
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}},
            "database": next(iter(databases)),
            "nodes": [node],
        }
        site = {
            "version": 1,
            "state_dir": str(self.folder / "state"),
            "hosts": {"here": {"connection": "local"}},
            "databases": databases,
            "registries": {"main": registry},
        }
        file = self.folder / "site.yml"
        file.write_text(yaml.safe_dump(site))
        file.chmod(0o640)

    def regctl(
        self, *arguments: str, output: str = "json", group: str = "database", **environment: str
    ) -> Done:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ctl", "--site", str(self.folder / "site.yml")),
                *("--output", output, group, *arguments),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            cwd=self.folder,
            env=clean_environment(PYTHONPATH=str(REPOSITORY_ROOT), **environment),
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, **environment: str) -> dict[str, Any]:
        done = self.regctl(*arguments, **environment)
        assert done.exit_code == 0, str(done)
        return done.json


@pytest.fixture
def site() -> Iterator[Databases]:
    folder = Path(tempfile.mkdtemp(prefix="rcdb-", dir="/tmp"))
    folder.chmod(0o711)
    made = Databases(folder)
    made.write(metadata={"embedded": True})
    yield made
    made.write(metadata={"embedded": True})
    if list(folder.glob("state/postgres/*/postmaster.pid")):
        made.regctl("stop", "--skip", "sessions", "--skip-reason", "end of the test")
    shutil.rmtree(folder)


def paths(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mode, p.lstat().st_ctime_ns) for p in folder.rglob("*")}


def test_the_life_of_an_embedded_database(site: Databases) -> None:
    before = paths(site.folder)
    status = site.ok("status")["databases"]["metadata"]
    assert (status["state"], status["reachable"], status["version"]) == ("missing", False, "")
    assert status["migrations"]["applied"] == 0
    count = status["migrations"]["pending"]
    assert count >= 2
    dry = site.ok("migrate", "up", "--dry-run")
    assert dry["result"] == "pending"
    assert paths(site.folder) == before

    first = site.ok("migrate", "up", "--limit", "1")
    assert first["schema"] == "regctl/database-migrate-up/1"
    assert first["result"] == "changed"
    assert first["applied"] == ["0001_catalog.pre"]
    early = site.ok("migrate", "up", "--skip-post-deployment")["applied"]
    late = site.ok("migrate", "up")["applied"]
    assert len(early) + len(late) == count - 1
    assert all(one.endswith(".pre") for one in early)
    assert all(one.endswith(".post") for one in late)
    again = site.ok("migrate", "up")
    assert (again["result"], again["applied"]) == ("nothing-to-do", [])

    status = site.ok("status")["databases"]["metadata"]
    assert status["reachable"]
    assert status["version"].split(".")[0].isdigit()
    assert status["migrations"] == {"applied": count, "pending": 0}
    version = site.ok("migrate", "version")["databases"]["metadata"]["version"]
    listed = site.ok("migrate", "status")["databases"]["metadata"]
    assert [one["id"] for one in listed["applied"]][-1] == version
    assert listed["pending"] == []

    assert site.ok("stop")["result"] == "changed"
    stopped = paths(site.folder / "state" / "postgres")
    assert site.ok("stop")["result"] == "nothing-to-do"
    assert site.ok("status")["databases"]["metadata"]["state"] == "stopped"
    assert site.ok("migrate", "up", "--dry-run")["databases"]["metadata"]["known"] is False
    for words in (("migrate", "status"), ("migrate", "version"), ("shell",)):
        done = site.regctl(*words)
        assert done.exit_code == 7, str(done)
        assert "regctl database start" in done.stderr
    assert paths(site.folder / "state" / "postgres") == stopped
    assert site.ok("start")["result"] == "changed"
    assert site.ok("start")["result"] == "nothing-to-do"


def test_down_names_what_is_lost_and_needs_its_own_flag(site: Databases) -> None:
    site.ok("migrate", "up")
    insert = "INSERT INTO regctl.registries (name, root) VALUES ('main', '/r')"
    assert site.regctl("shell", "--", "-q", "-c", insert).exit_code == 0
    refused = site.regctl("migrate", "down", "--yes")
    assert refused.exit_code == 6
    assert refused.json["result"] == "refused"
    assert "regctl.registries (1 rows)" in refused.stderr
    assert "--accept-data-loss" in refused.stderr
    dry = site.ok("migrate", "down", "--dry-run")
    lost = {one["what"]: one["rows"] for one in dry["databases"]["metadata"]["lost"]}
    assert lost["regctl.registries"] == 1
    unasked = site.regctl("migrate", "down", "--accept-data-loss")
    assert unasked.exit_code == 2
    applied = site.ok("status")["databases"]["metadata"]["migrations"]["applied"]
    one = site.ok("migrate", "down", "--limit", "1", "--accept-data-loss", "--yes")
    assert len(one["taken_back"]) == 1
    rest = site.ok("migrate", "down", "--accept-data-loss", "--yes")
    assert len(rest["taken_back"]) == applied - 1
    assert rest["taken_back"][-1] == "0001_catalog.pre"
    assert site.ok("migrate", "version")["databases"]["metadata"]["version"] is None


def test_a_database_in_use_is_not_stopped_under_its_users(site: Databases) -> None:
    place = site.ok("start") and site.ok("status")["databases"]["metadata"]
    user = subprocess.Popen(
        ["psql", "-X", "-q", "-h", place["socket_dir"], "-U", place["user"], place["dbname"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert user.stdin
        assert user.stdout
        user.stdin.write(b"\\echo ready\nSELECT 1;\n")
        user.stdin.flush()
        user.stdout.readline()
        user.stdout.readline()
        refused = site.regctl("stop")
        assert refused.exit_code == 6, str(refused)
        assert "1 session(s) of psql" in refused.stderr
        passed = site.regctl("stop", "--skip", "sessions", "--skip-reason", "they agreed")
        assert passed.exit_code == 3, str(passed)
        assert "skipped: they agreed" in passed.stderr
        assert site.ok("status")["databases"]["metadata"]["state"] == "stopped"
    finally:
        user.communicate()


def test_an_external_database_needs_its_password_and_shows_none(
    site: Databases, postgres_server: PostgresServer
) -> None:
    address = postgres_server.create_database()
    outside = {
        "host": "127.0.0.1",
        "port": address.port,
        "dbname": address.name,
        "user": address.user,
        "password": "env:DATABASE_PASSWORD",
        "sslmode": "disable",
    }
    site.write(outside=outside, metadata={"embedded": True})
    wrong = site.regctl("migrate", "up", "--database", "outside", DATABASE_PASSWORD="wrong-sesame")
    assert wrong.exit_code == 7, str(wrong)
    assert "password authentication failed" in wrong.stderr
    assert "databases.outside" in wrong.stderr
    assert "wrong-sesame" not in wrong.stdout + wrong.stderr

    right = {"DATABASE_PASSWORD": PASSWORD}
    applied = site.ok("migrate", "up", "--database", "outside", **right)["applied"]
    assert applied[0] == "0001_catalog.pre"
    both = site.ok("status", **right)["databases"]
    assert both["outside"]["migrations"] == {"applied": len(applied), "pending": 0}
    assert both["metadata"]["state"] == "missing"

    argv = "\\! tr '\\\\0' ' ' < /proc/$PPID/cmdline; env; cat /proc/$PPID/environ"
    query = "SELECT current_user, inet_server_addr() IS NOT NULL"
    shell = site.regctl(
        "shell", "--database", "outside", "--", "-X", "-A", "-t", "-c", query, "-c", argv, **right
    )
    assert shell.exit_code == 0, str(shell)
    assert f"{address.user}|t" in shell.stdout
    shown = shell.stdout.replace(f"DATABASE_PASSWORD={PASSWORD}", "")  # the operator's own variable
    assert PASSWORD not in shown
    assert "PGPASSFILE" in shown
    refused = site.regctl("stop", "--database", "outside", **right)
    assert refused.exit_code == 2
    down = site.regctl("status", "--database", "outside", DATABASE_PASSWORD="wrong-sesame")
    assert down.exit_code == 7
    assert down.json["databases"]["outside"]["reachable"] is False
    postgres_server.drop_database(address.name)


def test_an_engines_database_is_left_alone(site: Databases, postgres_server: PostgresServer) -> None:
    address = postgres_server.create_database()
    connection = postgres_server.connect(address.name)
    connection.execute("CREATE TABLE media_types (n int); CREATE TABLE repositories (n int)")
    outside = {
        "host": str(address.socket_folder),
        "port": address.port,
        "dbname": address.name,
        "user": address.user,
    }
    site.write(outside=outside)
    refused = site.regctl("migrate", "up")
    assert refused.exit_code == 6, str(refused)
    assert "GitLab" in refused.stderr
    status = site.regctl("status")
    assert status.exit_code == 3, str(status)
    assert "GitLab" in status.json["databases"]["outside"]["trouble"][0]
    assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'regctl'").fetchone() is None
    connection.close()
    postgres_server.drop_database(address.name)


def test_a_misspelled_name_is_an_error(site: Databases) -> None:
    done = site.regctl("status", "--database", "metadate")
    assert done.exit_code == 2
    assert "did you mean 'metadata'" in done.stderr
    assert not (site.folder / "state").exists()


def test_a_down_that_was_killed_takes_back_one_and_no_more(
    site: Databases, postgres_server: PostgresServer
) -> None:
    address = postgres_server.create_database()
    host = address.socket_folder
    site.write(outside={"host": host, "port": address.port, "dbname": address.name, "user": address.user})
    applied = site.ok("migrate", "up")["applied"]
    words = ("migrate", "down", "--limit", "1", "--accept-data-loss", "--yes")
    listed = site.regctl(*words, REGCTL_FAILPOINT="list")
    assert listed.json["taken_back"] == applied[-1:]
    boundary = re.search(r"^REGCTL_FAILPOINT (\d+) apply 1 MigrateDown$", listed.stderr, re.MULTILINE)
    assert boundary, listed.stderr
    site.ok("migrate", "up")
    killed = site.regctl(*words, REGCTL_FAILPOINT=f"{boundary[1]}:after:kill")
    assert killed.exit_code == -9
    again = site.regctl(*words)
    assert again.exit_code == 6, str(again)
    assert "run resume" in again.stderr
    resumed = site.regctl("resume", "--yes", group="run")
    assert resumed.exit_code == 0, str(resumed)
    status = site.ok("status")["databases"]["outside"]["migrations"]
    assert status == {"applied": len(applied) - 1, "pending": 1}
    postgres_server.drop_database(address.name)
