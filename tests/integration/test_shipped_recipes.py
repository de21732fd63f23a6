"""The recipes for operation that ship, each run on two real nodes."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.site import Done
from tests.support.transfer import Client
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]
# what depends on the machine that the tests run on
SKIPPED = ("--skip", "controller", "--skip", "storage-space", "--skip-reason", "not of this site")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    folder = tmp_path_factory.mktemp("recipes")
    with TwoNodes(folder / "site", RegistryServer(folder / "registry")) as site:
        assert isinstance(site, TwoNodes)
        site.ok("config", "apply", "--take-over", "--yes")
        with site.client() as client:
            client.push("team/app", "v1", image("v1"))
        yield site


def run(site: TwoNodes, name: str, *more: str) -> Done:
    return site.regctl("recipe", "run", name, "--set", "registry=main", "--yes", *more)


def pids(site: TwoNodes) -> dict[str, int | None]:
    return {one["host"]: one["pid"] for one in site.regctl("service", "status").json["services"]}


class Users(threading.Thread):
    """Pulls and pushes as behind a load balancer: what one node does not take is given to the other."""

    def __init__(self, site: TwoNodes) -> None:
        super().__init__()
        self.urls = [site.server.url, site.other.url]
        self.stop, self.failed, self.pulls, self.pushes = threading.Event(), [], 0, 0  # type: ignore[var-annotated]

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            for what in ("pull", "push"):
                errors = [str(one) for one in (self._try(url, what, number) for url in self.urls) if one]
                if len(errors) == len(self.urls):
                    self.failed.append((what, errors))
            self.pulls, self.pushes = self.pulls + 1, self.pushes + 1
            self.urls.reverse()

    def _try(self, url: str, what: str, number: int) -> Exception | None:
        try:
            with Client(url) as client:
                if what == "pull":
                    client.pull("team/app", "v1")
                else:
                    client.push("team/app", "busy", image(f"busy {number}"))
        except (httpx.HTTPError, OSError) as error:  # not reachable now; any other error is one
            return error
        return None

    def __enter__(self) -> Users:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self.stop.set()
        self.join()


def test_health_passes_and_one_stopped_node_fails_it(site: TwoNodes) -> None:
    done = run(site, "health", *SKIPPED)
    assert done.exit_code in (0, 3), str(done)  # 3 where what is passed over would warn
    assert [one for one in done.json["problems"] if one["blocking"]] == []
    site.ok("service", "stop", "main/there", "--yes")
    try:
        done = run(site, "health", *SKIPPED)
        assert done.exit_code == 1
        assert "node-listening: main/there: its service is stopped" in done.stderr
        assert "regctl service start main/there" in done.stderr
        passed = run(site, "health", *SKIPPED[:-2], "--skip", "node-listening", *SKIPPED[-2:])
        assert passed.exit_code in (0, 3), str(passed)
        assert pids(site)["there"] is None
    finally:
        site.ok("service", "start", "main/there")


def test_pre_upgrade_check_changes_nothing_and_names_what_would_stop_it(site: TwoNodes) -> None:
    before = pids(site), site.server.config_file.read_bytes()
    done = run(site, "pre-upgrade-check", *SKIPPED)
    assert done.exit_code in (0, 3), str(done)
    config, info = site.server.config_file, site.server.config_file.stat()
    config.write_bytes(before[1] + b"\nstorage: {}\n")
    done = run(site, "pre-upgrade-check", *SKIPPED)
    assert done.exit_code in (1, 6, 10), str(done)
    assert str(config) in done.stderr
    config.write_bytes(before[1])
    os.utime(config, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert (pids(site), site.server.config_file.read_bytes()) == before


def test_gc_weekly_takes_the_garbage_and_keeps_the_rest(site: TwoNodes) -> None:
    with site.client() as client:
        client.push("team/old", "gone", image("only here"))
        kept = image("v1")
    blobs = site.server.storage / "docker/registry/v2/blobs/sha256"
    links = site.server.storage / "docker/registry/v2/repositories/team/old"
    shutil.rmtree(links)
    before = sum(1 for path in blobs.rglob("data"))
    done = run(site, "gc-weekly")
    assert done.exit_code == 0, str(done)
    assert sum(1 for path in blobs.rglob("data")) < before
    with site.client() as client:
        client.pull("team/app", "v1")
        client.push("team/app", "after", kept)
    before_again = pids(site)
    again = run(site, "gc-weekly")
    assert (again.exit_code, again.json["result"]) == (0, "nothing-to-do")
    assert pids(site) == before_again  # no window for nothing


def test_rolling_restart_goes_node_by_node_while_pulls_and_pushes_go_on(site: TwoNodes) -> None:
    before = pids(site)
    with Users(site) as users:
        done = run(site, "rolling-restart")
    assert done.exit_code == 0, str(done)
    after = pids(site)
    assert all(before[host] != after[host] is not None for host in before)
    assert users.failed == []
    assert users.pulls > 3
    steps = site.ok("run", "show", done.json["run"])["steps"]
    hosts = [one for one in steps if one["step"] == "RestartNode"]
    assert [one["host"] for one in hosts] == ["here", "there"]
    assert hosts[0]["ended_at"] <= hosts[1]["started_at"]


def secret_of(config: Path) -> str:
    found: Any = yaml.safe_load(config.read_text())
    return str(found["http"]["secret"])


def holding(site: TwoNodes, text: str) -> list[str]:
    """Every file of the site and of its nodes that holds a text."""
    found = []
    for top in (site.folder.parent, site.state_dir):
        for path in top.rglob("*"):
            if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
                found.append(str(path))
    return sorted(found)


def test_rotate_secret_leaves_the_old_one_nowhere_and_no_one_unserved(site: TwoNodes) -> None:
    old = secret_of(site.server.config_file)
    assert old == secret_of(site.other.config_file)
    assert len(holding(site, old)) >= 3
    with Users(site) as users:
        done = run(site, "rotate-secret")
    assert done.exit_code == 0, str(done)
    new = secret_of(site.server.config_file)
    assert new != old
    assert new == secret_of(site.other.config_file)
    assert holding(site, old) == []
    secrets = site.folder / "secrets" / "main.http.secret"
    assert holding(site, new) == sorted(map(str, (secrets, site.server.config_file, site.other.config_file)))
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert old not in str(done)
    assert new not in str(done)
    assert (users.failed, users.pulls > 3) == ([], True)
    assert site.regctl("config", "diff").json["result"] == "nothing-to-do"


@pytest.mark.parametrize(
    "number", [11, *(pytest.param(other, marks=pytest.mark.soak) for other in range(3, 24) if other != 11)]
)
def test_rotate_secret_killed_in_the_middle_is_resumed_to_the_end(site: TwoNodes, number: int) -> None:
    old = secret_of(site.server.config_file)
    done = site.regctl(
        "recipe", "run", "rotate-secret", "--set", "registry=main", "--yes",
        REGCTL_FAILPOINT=f"{number}:after:kill",
    )  # fmt: skip
    assert done.exit_code == -9, str(done)
    mine = site.other.config_file.with_name("notes.txt")
    mine.write_text(f"it was {old}\n")  # not ours to remove
    resumed = site.regctl("run", "resume", "--yes")
    assert resumed.exit_code == 3, str(resumed)
    assert str(mine) in str(resumed)
    assert secret_of(site.server.config_file) == secret_of(site.other.config_file) != old
    assert holding(site, old) == [str(mine)]
    mine.unlink()


def test_rotate_secret_takes_all_back_where_a_node_does_not_come_up(site: TwoNodes) -> None:
    old, config = secret_of(site.server.config_file), site.other.config_file.read_bytes()
    done = site.regctl(
        "recipe", "run", "rotate-secret", "--set", "registry=main", "--yes",
        REGCTL_FAILPOINT="16:before:error",
    )  # fmt: skip
    assert done.exit_code == 1, str(done)
    assert secret_of(site.server.config_file) == old
    assert site.other.config_file.read_bytes() == config
    assert (site.folder / "secrets" / "main.http.secret").read_text().strip() == old
    assert old not in str(done)
    with Client(site.other.url) as client:
        client.push("team/app", "again", image("again"))
