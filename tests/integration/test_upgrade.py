"""Debian's registry 2.8 to 3.x on two nodes behind nginx: no pull fails, and what fails goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.sshd import SshServer
from tests.support.transfer import Client
from tests.support.upgrading import Clients, upgrading_site

pytestmark = [pytest.mark.registry, pytest.mark.distribution3]
APPLY = ("upgrade", "apply", "main", "--yes")


def test_two_nodes_go_to_3_and_no_client_notices(tmp_path: Path) -> None:
    unnoticed(tmp_path)


@pytest.mark.soak
def test_nor_where_the_second_is_on_a_host_over_ssh(tmp_path: Path) -> None:
    unnoticed(tmp_path, sshd=SshServer(tmp_path / "sshd", "there"))


def unnoticed(folder: Path, **facts: Any) -> None:
    with upgrading_site(folder, **facts) as site:
        plan = site.regctl("upgrade", "plan", "main")
        assert plan.exit_code == 0, str(plan)
        assert plan.json["result"] == "pending"
        assert plan.json["roll"] == ["here", "there"]
        with Clients(site.nginx.url, site.images, pause=0.02) as clients:
            done = site.ok(*APPLY)
        print(clients.told())
        assert clients.failures == []
        assert clients.pulls > 50
        assert clients.pushes > 10
        assert [(one["host"], one["result"]) for one in done["hosts"]] == [
            ("here", "changed"), ("there", "changed"),
        ]  # fmt: skip
        assert {version.split("+")[0] for version in site.versions().values()} == {"3.1.1"}
        assert set(site.binaries().values()) == {programs.registry3()}
        for server in (site.server, site.other):
            settings = site.settings(server)
            assert "compatibility" not in settings
            assert settings["redis"]["addrs"] == ["127.0.0.1:1"]
            assert "pool" not in settings["redis"]
        assert site.nginx.drained() == ["out here", "in here", "out there", "in there"]
        assert site.nginx.serving() == ["here", "there"]
        with Client(site.nginx.url) as client:
            for (repository, tag), digest in {**site.images, **clients.pushed}.items():
                assert digest in client.pull(repository, tag).manifests
        again = site.regctl("upgrade", "plan", "main").json
        assert (again["result"], again["next"], again["mixed"]) == ("nothing-to-do", None, False)
        assert site.ok("status")["healthy"]


def test_without_the_drain_the_same_clients_see_it(tmp_path: Path) -> None:
    """The control of the test above: it is the drain that keeps pulls from failing."""
    with upgrading_site(tmp_path, drains=False) as site:
        with Clients(site.nginx.url, site.images) as clients:
            site.ok(*APPLY)
        print(clients.told())
        assert clients.failures
        assert {version.split("+")[0] for version in site.versions().values()} == {"3.1.1"}
