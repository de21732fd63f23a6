"""How a Pulp's services and API come into `regctl status`: what cannot be found out is said, not guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctl.config.models import site_model
from ctl.errors import UnreachableError
from ctl.hosts.base import Command
from ctl.overview import look
from ctl.report.model import Table
from ctl.steps.pulp_look import PulpView
from ctl.steps.pulp_look_report import pulp_blocks, pulp_data
from ctl.testing import MemoryHost, MemoryWorld
from ctl.testing.hosts import FOREVER, Script
from tests.unit.engines.test_pulp_status import status

NODE = {"manager": "/usr/bin/pulpcore-manager", "settings_file": "/etc/pulp/settings.py"}
SITE = site_model().model_validate(
    {
        "version": 1,
        "hosts": {"katello": {}, "proxy1": {}},
        "registries": {
            "katello": {
                "engine": "pulp",
                "nodes": [
                    {"host": "proxy1", "role": "proxy", **NODE},
                    {
                        "host": "katello",
                        "role": "server",
                        "url": "http://127.0.0.1:24817",
                        "services": [{"name": "pulpcore-api"}, {"name": "pulpcore-worker@1"}],
                        "database_service": {"name": "postgresql"},
                        **NODE,
                    },
                ],
            }
        },
    }
)


class Api:
    """An API that answers, or not."""

    def __init__(self, answer: Mapping[str, Any] | None) -> None:
        self.answer = answer

    def status(self) -> Mapping[str, Any]:
        if self.answer is None:
            raise UnreachableError("http://127.0.0.1:24817 does not answer: refused")
        return self.answer


def seen(tmp_path: Path, api: Api, down: str = "", unknown: str = "") -> PulpView:
    """Look at a Pulp whose services run, but for one that is down and one that systemd does not know."""
    host = MemoryHost("katello")
    main = host.spawn(("serve",), Script(seconds=FOREVER)).pid

    def systemctl(command: Command) -> Script:
        unit = command.argv[-1]
        facts = {
            "LoadState": "not-found" if unit == unknown else "loaded",
            "ActiveState": "inactive" if unit == down else "active",
            "SubState": "dead" if unit == down else "running",
            "MainPID": 0 if unit == down else main,
        }
        return Script(stdout="".join(f"{name}={value}\n" for name, value in facts.items()).encode())

    host.programs["systemctl"] = systemctl
    world = MemoryWorld(
        SITE,
        state_dir=str(tmp_path),
        hosts={"katello": host, "proxy1": MemoryHost("proxy1")},
        pulp_clients={("katello", "katello"): api},
    )
    view = look(world, ["katello"], 5)
    assert view.registries == ()
    (pulp,) = view.pulps
    assert view.all_problems() == pulp.all_problems()
    return pulp


def test_all_is_well(tmp_path: Path) -> None:
    pulp = seen(tmp_path, Api(status()))
    assert pulp.all_problems() == []
    assert pulp.versions == ("2.24.15",)
    server, proxy = pulp.nodes  # the server first, however the site orders them
    assert [(one.name, one.state, one.of_database) for one in server.services] == [
        ("postgresql", "running", True),
        ("pulpcore-api", "running", False),
        ("pulpcore-worker@1", "running", False),
    ]
    assert (proxy.host, proxy.services, proxy.status, proxy.problems) == ("proxy1", (), None, ())


def test_a_stopped_service_an_unknown_one_and_an_api_that_is_away_are_each_a_problem(tmp_path: Path) -> None:
    pulp = seen(tmp_path, Api(None), down="pulpcore-api", unknown="pulpcore-worker@1")
    told = pulp.all_problems()
    assert [text.partition(": ")[0] for text in told] == ["katello on katello"] * 3
    assert "pulpcore-api is stopped (inactive (dead))" in told[0]
    assert "pulpcore-worker@1 is unknown" in told[1]
    assert "refused" in told[2]
    assert pulp.nodes[0].status is None


def test_what_is_shown_of_it(tmp_path: Path) -> None:
    pulp = seen(tmp_path, Api(status()))
    table, services = pulp_blocks([pulp])
    assert isinstance(table, Table)
    assert isinstance(services, Table)
    assert table.rows[0][3:8] == ("2.24.15", "3.73.47", "answers", "1", "1")
    assert table.rows[1][5] == "not asked (no url)"
    assert len(services.rows) == 3
    data: Any = pulp_data(pulp)
    assert json.loads(json.dumps(data))["nodes"][0]["status"]["one_version"] is True
    assert (data["engine"], data["mixed"]) == ("pulp", False)
    assert pulp_blocks([]) == []
