"""The schema of a Pulp: what is pending, what keeps it from being applied, and that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest
from tests.support.pulp_site import NAME, SERVER, PulpSite

LAST = "container.0045_alter_manifest_compressed_image_size"


def rewind(pulp: PulpUnderTest) -> None:
    """Take the last migration of the container plugin back, as Django can for this one."""
    done = pulp.call("migrate", "container", "0044")
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def applied(pulp: PulpUnderTest) -> set[str]:
    return {f"{app}.{name}" for app, name in pulp.query("SELECT app, name FROM django_migrations")}


def entry(document: dict[str, Any], host: str) -> dict[str, Any]:
    found = document["databases"][f"{NAME}/{host}"]
    assert isinstance(found, dict)
    return found


def test_what_is_pending_on_the_server_and_on_a_proxy_is_applied_and_proved(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    server, proxy = pulp_lab.clone(), pulp_lab.clone()
    rewind(proxy)
    with PulpSite(tmp_path / "site", server, {"proxy1": proxy}) as site:
        plan = site.regctl("database", "migrate", "plan", "--detailed-exitcode")
        assert (plan.exit_code, plan.json["result"]) == (4, "pending")
        assert entry(plan.json, SERVER)["pending"] == []
        assert entry(plan.json, "proxy1")["pending"] == [LAST]
        before = applied(proxy)

        dry = site.regctl("database", "migrate", "up", "--registry", NAME, "--dry-run")
        assert dry.json["result"] == "pending"
        assert applied(proxy) == before

        done = site.ok("database", "migrate", "up", "--registry", NAME)
        assert (done["result"], done["applied"]) == ("changed", [LAST])
        assert {one["host"]: one["result"] for one in done["hosts"]} == {
            SERVER: "not-applicable",
            "proxy1": "changed",
        }
        assert applied(proxy) == before | {LAST}
        again = site.ok("database", "migrate", "up", "--registry", NAME)
        assert (again["result"], again["applied"]) == ("nothing-to-do", [])
