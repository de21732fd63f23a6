"""`regctl service`, as an operator types it, around a real registry."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest
from tests.support.waiting import wait_until

pytestmark = pytest.mark.registry


@pytest.fixture
def site(tmp_path: Path, make_registry: Callable[..., RegistryServer]) -> Iterator[SiteUnderTest]:
    made = SiteUnderTest(tmp_path / "site", make_registry()).write()
    yield made
    made.close()


def only(found: dict[str, Any]) -> dict[str, Any]:
    (service,) = found["services"]
    assert isinstance(service, dict)
    return service


def test_an_operators_day(site: SiteUnderTest) -> None:
    down = site.regctl("service", "status")
    assert (down.exit_code, only(down.json)["state"]) == (3, "stopped")
    assert not site.state_dir.exists(), "status writes nothing"

    looked = site.ok("service", "start", "--dry-run")
    assert (looked["result"], looked["changes"]) == ("pending", ["start main on here"])
    assert not site.server.answers()

    started = site.ok("service", "start", "main/here")
    assert started["result"] == "changed"
    assert only(started)["listening"] is True
    assert only(started)["config_file"] == str(site.server.config_file)
    assert site.server.answers(), "it lives on after regctl has ended"
    pid = only(started)["pid"]

    again = site.ok("service", "start")
    assert (again["result"], only(again)["pid"]) == ("nothing-to-do", pid)

    up = site.ok("service", "status")
    assert (only(up)["state"], only(up)["pid"]) == ("running", pid)

    restarted = site.ok("service", "restart", "main")
    assert restarted["result"] == "changed"
    assert only(restarted)["pid"] != pid

    tail = site.ok("service", "tail", "--lines", "3")
    assert len(tail["logs"][0]["lines"]) == 3
    assert "listening on" in tail["logs"][0]["lines"][-1]

    stopped = site.ok("service", "stop")
    assert (stopped["result"], only(stopped)["state"]) == ("changed", "stopped")
    assert not site.server.answers()
    assert site.ok("service", "stop")["result"] == "nothing-to-do"


def test_a_registry_that_cannot_start_fails_with_its_own_words(site: SiteUnderTest) -> None:
    site.server.config_file.write_text("version: 0.1\nstorage: [\n")
    done = site.regctl("service", "start")
    assert done.exit_code == 1
    assert (done.json["result"], only(done.json)["state"]) == ("failed", "stopped")
    assert "Traceback" not in done.stderr
    assert "ended at once" in done.stderr


def test_one_that_died_is_seen_with_the_reason(site: SiteUnderTest) -> None:
    pid = only(site.ok("service", "start"))["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not site.server.answers(), what="its death")
    done = site.regctl("service", "status")
    assert done.exit_code == 3
    assert "exit code -9" in only(done.json)["detail"]


def test_an_unknown_node_or_registry_is_a_usage_error_that_names_the_choices(site: SiteUnderTest) -> None:
    for target, choice in (
        ("other", "main"),
        ("main/there", "here"),
        ("main/", "here"),
        ("main/here/x", "here"),
    ):
        done = site.regctl("service", "restart", target)
        assert done.exit_code == 2, str(done)
        assert choice in done.json["error"]["hint"]


def test_a_systemd_unit_without_systemd_is_unknown_and_no_crash(site: SiteUnderTest) -> None:
    text = site.site_file.read_text().replace("kind: process", "kind: systemd")
    site.site_file.write_text(text)
    done = site.regctl("service", "status")
    assert done.exit_code == 3
    assert only(done.json)["state"] in ("unknown", "stopped")
    assert json.loads(done.stdout)["result"] == "warning"
    site.site_file.write_text(text.replace("kind: systemd", "kind: process"))
