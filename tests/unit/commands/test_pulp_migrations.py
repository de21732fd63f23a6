"""What the commands on databases and upgrades say of a Pulp before they ask it anything."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
import yaml

from tests.unit.commands.test_run import Site

NODE = {
    "role": "server",
    "manager": "/nowhere/pulpcore-manager",
    "settings_file": "/nowhere/settings.py",
    "user": getpass.getuser(),
}


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    made = Site(tmp_path, capsys)
    file = tmp_path / "site.yml"
    known = yaml.safe_load(file.read_text())
    known["registries"]["katello"] = {
        "engine": "pulp",
        "nodes": [{**NODE, "host": next(iter(known["hosts"]))}],
    }
    file.write_text(yaml.safe_dump(known))
    return made


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("database", "migrate", "up", "--registry", "katello", "--limit", "1"), 2, "not for a Pulp"),
        (("database", "migrate", "up", "--registry", "katello", "--database", "x"), 2, "on its hosts"),
        (
            ("database", "migrate", "up", "--registry", "katello", "--node", "x"),
            2,
            "has no node on the host 'x'",
        ),
        (("database", "migrate", "down", "--registry", "katello"), 6, "no supported way back"),
        (("database", "background", "status", "--registry", "katello"), 2, "katello is a Pulp"),
        (("upgrade", "plan", "katello"), 2, "name the release that is meant"),
        (("upgrade", "plan", "katello", "--to", "2.27"), 2, "a line of releases"),
        (("upgrade", "plan", "katello", "--to", "new"), 2, "not a version"),
        (("upgrade", "plan", "katello", "--to", "2.27.14", "--to-binary", "/x"), 2, "and no program"),
        (
            ("upgrade", "plan", "katello", "--to", "2.27.14", "--skip", "broken-content"),
            2,
            "needs --skip-reason",
        ),
        (("upgrade", "plan", "main", "--skip", "unknown-skew", "--skip-reason", "x"), 2, "is for a Pulp"),
        (("upgrade", "apply", "katello"), 6, "not upgraded by regctl"),
    ],
)
def test_what_cannot_be_is_said_at_once(site: Site, words: tuple[str, ...], code: int, said: str) -> None:
    found, data, error = site.regctl(*words)
    assert (found, said in error) == (code, True), error
    assert data["result"] == {2: "usage", 6: "refused"}[code]


def test_a_manager_that_is_not_there_is_told_for_each_host(site: Site) -> None:
    code, data, _ = site.regctl("database", "migrate", "plan", "--registry", "katello")
    [entry] = data["databases"].values()
    assert code != 0
    assert entry["reachable"] is False
    assert "/nowhere/pulpcore-manager" in entry["detail"]


def test_without_a_name_a_pulp_is_looked_at_and_left_alone(site: Site) -> None:
    code, data, error = site.regctl("database", "migrate", "plan")
    assert [name for name in data["databases"] if name.startswith("katello/")]
    code, data, error = site.regctl("database", "migrate", "up")
    assert not [name for name in data.get("databases", {}) if name.startswith("katello/")]
    assert "only where --registry names it" in error or code == 2
