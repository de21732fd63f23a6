"""`regctl service`, `status` and `check` for a Pulp: services under runit, and an API that says how it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.runit import Runit, real_programs
from tests.support.site import RegctlCalls
from tests.unit.engines.test_pulp_status import app, status

NAMES = ("api", "worker")
_RUN = (
    'sh -c \'echo start {name} >>{order}; trap "echo stop {name} >>{order}; exit" TERM; '
    "while :; do sleep 0.05; done'"
)


@dataclass
class Site(RegctlCalls):
    """A Pulp of three services, which are shell loops, and of an API that answers what the test says."""

    folder: Path
    port: int
    services: dict[str, Runit]
    answer: dict[str, Any] = field(default_factory=status)

    @property
    def order(self) -> list[str]:
        """What was started and stopped since the last look."""
        path = self.folder / "order"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def write(self) -> None:
        node = {
            "host": "here",
            "role": "server",
            "manager": "/nowhere/pulpcore-manager",
            "settings_file": "/nowhere/settings.py",
            "url": f"http://127.0.0.1:{self.port}",
            "services": [{"kind": "runit", "name": str(self.services[name].service)} for name in NAMES],
        }
        site = {
            "version": 1,
            "state_dir": str(self.folder / "state"),
            "hosts": {"here": {"connection": "local"}},
            "registries": {"katello": {"engine": "pulp", "nodes": [node]}},
        }
        self.site_file.write_text(yaml.safe_dump(site))
        self.site_file.chmod(0o640)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not real_programs():
        pytest.skip("runit is not installed; apt install runit")
    folder = tmp_path_factory.mktemp("pulp-services")
    made: list[Site] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = self.path == "/pulp/api/v3/status/"
            body = json.dumps(made[0].answer if there else {"detail": "Not found."}).encode()
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Api))
        services = {}
        for name in NAMES:
            run = _RUN.format(name=name, order=folder / "order")
            services[name] = Runit(folder / name, run, real=True)
            stack.callback(services[name].close)
        made.append(Site(folder, server.server_port, services))
        made[0].write()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield made[0]


def states(done: dict[str, Any]) -> list[str]:
    return [one["state"] for one in done["services"]]


def test_they_start_in_the_order_of_the_site_and_stop_in_reverse(site: Site) -> None:
    dry = site.ok("--dry-run", "service", "start", "katello")
    assert (len(dry["changes"]), site.order) == (2, [])
    done = site.ok("service", "start", "katello")
    assert (done["result"], states(done)) == ("changed", ["running"] * 2)
    assert site.order == ["start api", "start worker"]

    restarted = site.ok("service", "restart")  # the site has nothing else
    assert states(restarted) == ["running"] * 2
    assert [word for word in site.order if word.startswith("start")] == ["start api", "start worker"]

    stopped = site.ok("service", "stop", "katello/here")
    assert states(stopped) == ["stopped"] * 2
    assert site.order == ["stop worker", "stop api"]
    seen = site.regctl("service", "status")
    assert (seen.exit_code, states(seen.json)) == (3, ["stopped"] * 2)


def test_status_and_check_tell_what_is_wrong(site: Site) -> None:
    site.answer = status()
    seen = site.regctl("status", output="table")
    assert seen.exit_code == 3
    assert f"{site.services['api'].service} is stopped" in seen.stdout
    site.ok("service", "start", "katello")
    seen = site.regctl("status")
    assert (seen.exit_code, seen.json["healthy"], seen.json["problems"]) == (0, True, []), str(seen)
    (node,) = seen.json["pulps"]["katello"]["nodes"]
    assert node["status"]["versions"] == {"core": "3.73.47", "container": "2.24.15"}
    assert (node["status"]["workers"], node["status"]["content_apps"]) == (1, 1)

    site.answer = status(online_workers=[], online_content_apps=[app("3@host", container="2.22.13")])
    checked = site.regctl("check", "pulp-services", "--registry", "katello")
    assert (checked.exit_code, checked.json["failed"]) == (1, 1)
    told = " ".join(one["message"] for one in checked.json["checks"][0]["seen"])
    assert "no worker is online" in told
    assert "2.22.13" in told

    site.answer = {"no": "status"}
    assert "not with a Pulp's status" in " ".join(site.regctl("status", "katello").json["problems"])
