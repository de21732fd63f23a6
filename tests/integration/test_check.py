"""`regctl check` on two real nodes: what is broken is found by its own check, with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.registry import RegistryServer
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    folder = tmp_path_factory.mktemp("check")
    with TwoNodes(folder / "site", RegistryServer(folder / "registry")) as site:
        assert isinstance(site, TwoNodes)
        yield site


def looked(site: TwoNodes, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = site.regctl("check", *arguments)
    assert done.json["schema"] == "regctl/check/1", str(done)
    return done.exit_code, {one["name"]: one for one in done.json["checks"]}


def test_all_is_well_and_what_does_not_apply_says_so(site: TwoNodes) -> None:
    names = [one["name"] for one in site.ok("check", "--list")["checks"]]
    code, found = looked(site, *(name for name in names if name not in ("controller", "storage-space")))
    assert code == 0, found
    # another test of this module may have had the site manage its files: no drift then, either
    assert found.pop("config-drift")["result"] in ("not-applicable", "ok")
    assert {name: one["result"] for name, one in found.items()} == {
        "node-listening": "ok",
        "version-known": "ok",
        "backend": "not-applicable",
        "storage-reachable": "ok",
        "database-reachable": "not-applicable",
        "database-migrations": "not-applicable",
        "open-runs": "ok",
        "maintenance": "ok",
        "online-gc": "not-applicable",
        "clock": "not-applicable",
        "certificates": "not-applicable",
        "pulp-services": "not-applicable",
        "pulp-content": "not-applicable",
        "pulp-migrations": "not-applicable",
    }
    assert len(found["node-listening"]["seen"]) == 2


def test_a_stopped_node_fails_names_its_remedy_and_is_not_started(site: TwoNodes) -> None:
    site.ok("service", "stop", "main/there", "--yes")
    try:
        code, found = looked(site, "node-listening", "open-runs")
        assert (code, found["node-listening"]["result"]) == (1, "failed")
        bad = [one for one in found["node-listening"]["seen"] if one["result"] == "failed"]
        assert {one["where"] for one in bad} == {"main/there"}
        assert bad[0]["remedy"] == "regctl service start main/there"
        code, found = looked(site, "--skip", "node-listening", "--skip-reason", "planned", "node-listening")
        one = found["node-listening"]
        assert (code, one["result"], one["would_be"], one["reason"]) == (0, "skipped", "failed", "planned")
        services = site.regctl("service", "status").json["services"]
        assert [one["state"] for one in services if one["host"] == "there"] == ["stopped"]
    finally:
        site.ok("service", "start", "main/there")


def test_usage_is_told(site: TwoNodes) -> None:
    done = site.regctl("check", "node-listning")
    assert done.exit_code == 2
    assert 'did you mean "node-listening"' in done.stderr
    assert site.regctl("check", "--skip", "clock").exit_code == 2
    assert site.regctl("check", "--skip", "clok", "--skip-reason", "x").exit_code == 2
    assert site.regctl("check", "--registry", "man").exit_code == 2


def test_drift_lost_storage_a_broken_binary_and_a_cut_off_run(site: TwoNodes) -> None:
    site.ok("config", "apply", "--take-over", "--yes")
    assert looked(site, "config-drift")[0] == 0
    config = site.server.config_file
    kept, info = config.read_bytes(), config.stat()
    config.write_bytes(kept + b"# by hand\n")
    code, found = looked(site, "config-drift")
    assert (code, found["config-drift"]["result"]) == (3, "warned")
    config.write_bytes(kept)
    os.utime(config, ns=(info.st_atime_ns, info.st_mtime_ns))
    moved = site.server.storage.with_name("elsewhere")
    site.server.storage.rename(moved)
    code, found = looked(site, "storage-reachable", "storage-space")
    moved.rename(site.server.storage)
    assert (code, found["storage-reachable"]["result"]) == (1, "failed")
    assert found["storage-space"]["result"] == "not-applicable"
    killed = site.regctl("maintenance", "on", "--yes", REGCTL_FAILPOINT="6:after:kill")
    assert killed.exit_code == -9
    code, found = looked(site, "open-runs", "maintenance")
    assert (code, found["open-runs"]["result"], found["maintenance"]["result"]) == (1, "failed", "failed")
    assert found["open-runs"]["seen"][0]["remedy"].startswith("regctl run resume 2")
    site.ok("run", "resume", "--yes")
    site.ok("maintenance", "off", "--yes")
    assert looked(site, "open-runs", "maintenance", "config-drift")[0] == 0
