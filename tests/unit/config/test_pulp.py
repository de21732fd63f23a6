"""What a site says about a Pulp. Mistakes in it stand, with their lines, in tests/cases/sites/malformed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctl.config.load import load_site
from ctl.errors import ConfigError
from ctl.fleet.select import select
from tests.unit.conftest import Call

CASES = Path(__file__).resolve().parents[2] / "cases" / "sites" / "malformed"
SITE = """\
version: 1
hosts:
  katello: {connection: local}
  proxy1: {connection: ssh, address: proxy1.example.com}
  reg1: {connection: local}
registries:
  katello:
    engine: pulp
    nodes:
      - host: proxy1
        role: proxy
        manager: /usr/bin/pulpcore-manager
        settings_file: /etc/pulp/settings.py
      - host: katello
        role: server
        manager: /usr/bin/pulpcore-manager
        settings_file: /etc/pulp/settings.py
        services: [{name: pulpcore-api}, {kind: runit, name: worker}]
        reindex: [foreman-rake, "katello:import"]
  main:
    engine: distribution
    storage: {filesystem: {rootdirectory: /var/lib/registry}}
    nodes:
      - host: reg1
        binary: /usr/bin/docker-registry
        config_file: /etc/docker/registry/config.yml
        url: http://127.0.0.1:5000
        service: {kind: systemd, name: docker-registry}
"""


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return path


def test_it_is_read_with_defaults_and_kept_apart_from_the_registries(site_file: Path) -> None:
    site = load_site(str(site_file)).site
    assert (list(site.registries), list(site.pulps)) == (["main"], ["katello"])
    pulp = site.pulps["katello"]
    assert [node.host for node in pulp.nodes] == ["proxy1", "katello"]
    assert (pulp.nodes[0].user, pulp.nodes[0].services, pulp.nodes[0].url) == ("pulp", (), None)
    assert [(one.kind, one.name) for one in pulp.nodes[1].services] == [
        ("systemd", "pulpcore-api"),
        ("runit", "worker"),
    ]
    content = pulp.content
    assert (content.worth_minutes, content.chunk, content.patience_seconds) == (30.0, 200, 120)


def test_config_show_and_check_are_not_confused_by_it(site_file: Path, call: Call) -> None:
    shown = call("--site", str(site_file), "--output", "json", "config", "show", "--origin")
    assert shown.code == 0, shown.err
    registries = shown.json["site"]["registries"]
    assert registries["katello"]["nodes"][1]["reindex"] == ["foreman-rake", "katello:import"]
    assert registries["main"]["engine"] == "distribution"
    assert shown.json["origins"]["registries.katello.engine"].endswith("site.yml:8:5")


def test_its_hosts_are_meant_by_its_name(site_file: Path, call: Call) -> None:
    site = load_site(str(site_file)).site
    assert select(site, "registry=katello") == ("katello", "proxy1")
    assert select(site, "registry=*&!registry=katello") == ("reg1",)
    listed = call("--site", str(site_file), "--output", "json", "host", "list")
    assert [(one["host"], one["registries"]) for one in listed.json["hosts"]] == [
        ("katello", ["katello"]),
        ("proxy1", ["katello"]),
        ("reg1", ["main"]),
    ]


def test_a_pulp_alone_is_a_whole_site(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "site.yml"
    path.write_text(SITE.partition("  main:\n")[0])
    checked = call("--site", str(path), "--state-dir", str(tmp_path / "state"), "config", "check")
    assert checked.code == 0, checked.err
    assert "is right" in checked.out


def test_a_tagged_union_names_the_keys_of_its_own_kind_alone(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text(
        SITE.replace("    nodes:\n      - host: proxy1", "    xyz: 1\n    nodes:\n      - host: proxy1")
    )
    with pytest.raises(ConfigError) as caught:
        load_site(str(path))
    (told,) = caught.value.details
    assert told.endswith("is not a known key; there are: content, credentials, maintenance")
