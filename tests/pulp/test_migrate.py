"""The schema of a Pulp: what is pending, what keeps it from being applied, and that it is applied once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.pulp import PulpLab, PulpUnderTest
from tests.support.pulp_services import PulpServices
from tests.support.pulp_site import NAME, SERVER, PulpSite
from tests.support.waiting import wait_until

LAST = "container.0045_alter_manifest_compressed_image_size"
UP = ("database", "migrate", "up", "--registry", NAME)


def forget(pulp: PulpUnderTest, migration: str = LAST) -> None:
    """Have a migration pending again: this one may be applied twice."""
    app, _, name = migration.partition(".")
    pulp.query("DELETE FROM django_migrations WHERE app = %s AND name = %s", app, name)


def applied(pulp: PulpUnderTest) -> list[str]:
    rows = pulp.query("SELECT app, name FROM django_migrations ORDER BY id")
    return [f"{app}.{name}" for app, name in rows]


def older_worker(pulp: PulpUnderTest, seconds: float = 0.0) -> None:
    """Leave the sign of life of a worker of an older release, so many seconds old."""
    pulp.query(
        "INSERT INTO core_worker (pulp_id, pulp_created, pulp_last_updated, name, last_heartbeat, versions) "
        "VALUES (gen_random_uuid(), now(), now(), '77@old', now() - make_interval(secs => %s), "
        "'core => 3.49.72, container => 2.18.1')",
        seconds,
    )


@contextmanager
def held_up(pulp: PulpUnderTest) -> Iterator[None]:
    """Keep any migration of the manifests' table waiting, as one on a large table is at work for long."""
    with closing(psycopg.connect(pulp.database.dsn)) as connection:
        connection.execute("LOCK TABLE container_manifest IN ACCESS SHARE MODE")
        yield


def waiting(pulp: PulpUnderTest) -> int:
    """Count the sessions that wait to change a table of this Pulp."""
    [(count,)] = pulp.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%%'"
    )
    return int(count)


def test_what_is_pending_is_applied_once_though_regctl_is_killed_in_its_middle(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    proxy = pulp_lab.clone()
    forget(proxy)
    older_worker(proxy, 31.0)  # it crashed, and is forgotten after 30 s
    before = applied(proxy)
    with PulpSite(tmp_path / "site", None, {"proxy1": proxy}) as site:
        plan = site.regctl("database", "migrate", "plan", "--detailed-exitcode")
        assert (plan.exit_code, plan.json["result"]) == (4, "pending")
        entry = plan.json["databases"][f"{NAME}/proxy1"]
        assert (entry["pending"], entry["waits_for"], entry["trouble"]) == ([LAST], [], [])

        with held_up(proxy):
            with site.start(*UP) as first:
                try:
                    wait_until(lambda: waiting(proxy) == 1, what="the migration at work", timeout=180)
                finally:
                    first.send_signal(signal.SIGKILL)
            other = site.regctl("--state-dir", str(tmp_path / "another"), *UP)
            assert (other.exit_code, other.json["result"]) == (5, "locked")
            assert "somebody migrates already" in other.stderr
            assert waiting(proxy) == 1

        done = site.regctl("run", "resume", "--yes")
        assert done.exit_code == 0, str(done)
        assert applied(proxy) == [*before, LAST]


def test_nothing_is_applied_anywhere_while_one_host_is_not_ready(pulp_lab: PulpLab, tmp_path: Path) -> None:
    server, older, gap, away = (pulp_lab.clone() for _ in range(4))
    for pulp in (server, older):
        forget(pulp)
    older_worker(older, -600.0)
    forget(gap, "container.0043_add_os_arch_image_size_manifest_fields")  # later ones stay applied
    away.write_settings({"DATABASES": {"default": {**_address(away), "NAME": "nowhere"}}})
    proxies = {"older": older, "gap": gap, "away": away}
    before = [applied(pulp) for pulp in (server, older, gap)]

    with PulpSite(tmp_path / "site", server, proxies) as site:
        done = site.regctl(*UP)
        assert (done.exit_code, done.json["result"]) == (6, "refused"), str(done)
        assert {one["host"]: one["result"] for one in done.json["hosts"]}[SERVER] == "not-attempted"
        assert "the worker 77@old lives and runs container 2.18.1, core 3.49.72" in done.stderr
        assert "crashed ones are forgotten after 30 s" in done.stderr
        assert "0044_add_domain is applied before its dependency" in done.stderr
        assert 'database "nowhere" does not exist' in done.stderr
    assert [applied(pulp) for pulp in (server, older, gap)] == before


def _address(pulp: PulpUnderTest) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(pulp.settings_file.read_text(), space)
    address = space["DATABASES"]["default"]
    assert isinstance(address, dict)
    return address


@pytest.mark.soak
def test_a_skipped_release_is_refused_before_anything_is_applied(
    pulp_labs: Callable[[str], PulpLab], tmp_path: Path
) -> None:
    """A database that 2.18.1 (pulpcore 3.49) left, under 2.27.14 (3.105): only through 2.24.15 (3.73)."""
    old = pulp_labs("18").clone()
    before = applied(old)
    with PulpSite(tmp_path / "site", old.on("27")) as site:
        done = site.regctl(*UP)
        assert (done.exit_code, done.json["result"]) == (6, "refused")
        assert "its database was left by pulpcore 3.49 (pulp-container 2.18 to 2.23)" in done.stderr
        assert "Install pulpcore 3.73 (pulp-container 2.24)" in done.stderr
        assert applied(old) == before
        stock = old.on("27").call("migrate", "--check")  # the stock command says no more than this
        assert stock.returncode == 1
        assert b"InconsistentMigrationHistory" in stock.stderr

    for line in ("24", "27"):
        with PulpSite(tmp_path / f"site{line}", old.on(line)) as site:
            done = site.regctl(*UP, timeout=300)
            assert done.json["result"] == "changed", str(done)
            assert site.ok("database", "migrate", "status", "--registry", NAME)["result"] == "ok"
    assert len(applied(old)) > len(before) + 20


@pytest.mark.soak
def test_services_of_an_older_release_keep_it_from_beginning(
    pulp_labs: Callable[[str], PulpLab], tmp_path: Path
) -> None:
    """Not one migration is applied, and all are once these services are gone."""
    old = pulp_labs("18").clone()
    with PulpServices(old, ("api", "content", "worker"), under="runit") as services:
        before = applied(old)
        nodes = {SERVER: {"services": services.described()}}
        with PulpSite(tmp_path / "site", old.on("24"), nodes=nodes) as site:
            done = site.regctl(*UP)
            assert (done.exit_code, done.json["result"]) == (6, "refused")
            assert "runs container 2.18.1, core 3.49.72" in done.stderr
            assert applied(old) == before
        services.stop()
        with PulpSite(tmp_path / "stopped", old.on("24")) as site:
            expired = wait_until_ready(site)
            assert expired.json["result"] == "changed", str(expired)


@pytest.mark.soak
def test_the_stock_command_begins_beside_older_services_and_fails_in_its_middle(
    pulp_labs: Callable[[str], PulpLab],
) -> None:
    old = pulp_labs("18").clone()
    with PulpServices(old, ("api", "content", "worker")):
        before = applied(old)
        stock = old.on("24").call("migrate", "--noinput")
        assert stock.returncode == 1
        assert b"Incompatible versions detected" in stock.stderr
        assert len(applied(old)) > len(before)


def wait_until_ready(site: PulpSite) -> Any:
    """Migrate once those that were stopped are forgotten."""
    calls: list[Any] = []

    def done() -> bool:
        calls.append(site.regctl(*UP, timeout=300))
        return calls[-1].exit_code not in (5, 6)

    wait_until(done, what="the old services forgotten", timeout=180, interval=5.0)
    return calls[-1]
