"""A real Pulp's services under runit: healthy by its own API when all of them run, and not before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.pulp import PulpLab
from tests.support.pulp_services import PulpServices
from tests.support.pulp_site import SERVER, PulpSite
from tests.support.runit import real_programs
from tests.support.waiting import wait_until


@pytest.mark.soak
def test_a_pulp_is_healthy_when_all_of_it_runs_and_not_before(pulp_lab: PulpLab, tmp_path: Path) -> None:
    if not real_programs():
        pytest.skip("runit is not installed; apt install runit")
    pulp = pulp_lab.clone()
    services = PulpServices(pulp, ("api", "content", "worker"), under="runit").supervise()
    described = services.described()
    node = {"url": f"http://127.0.0.1:{pulp.api_port}", "services": described}
    try:
        with PulpSite(tmp_path, pulp, nodes={SERVER: node}) as site:
            before = site.regctl("status")
            assert (before.exit_code, before.json["healthy"]) == (3, False)
            assert len(before.json["problems"]) == 4  # three services, and nobody answers

            started = site.ok("service", "start", "katello")
            assert [one["name"] for one in started["services"]] == [one["name"] for one in described]
            assert {one["state"] for one in started["services"]} == {"running"}
            wait_until(
                lambda: site.regctl("status").json["healthy"],
                what="a healthy Pulp",
                timeout=120,
                interval=1.0,
            )
            (seen,) = site.ok("status")["pulps"]["katello"]["nodes"]
            assert seen["status"]["versions"]["container"].startswith("2.24.")
            assert seen["status"]["versions"]["core"].startswith("3.73.")
            assert (seen["status"]["workers"], seen["status"]["content_apps"]) == (1, 1)
            assert (seen["status"]["database"], seen["status"]["redis"]) == (True, False)
            assert seen["status"]["one_version"] is True
            assert seen["status"]["free_bytes"] > 0
            checked = site.ok("check", "pulp-services", "pulp-content", "pulp-migrations")
            assert (checked["ok"], checked["failed"]) == (3, 0)

            worker = services.runits["worker"]
            subprocess.run([worker.sv, "down", str(worker.service)], check=True, capture_output=True)
            wait_until(
                lambda: f"{worker.service} is stopped" in " ".join(site.regctl("status").json["problems"]),
                what="a Pulp without a worker",
                timeout=60,
                interval=1.0,
            )
            stopped = site.ok("service", "stop", "katello")
            assert {one["state"] for one in stopped["services"]} == {"stopped"}
    finally:
        services.stop()
