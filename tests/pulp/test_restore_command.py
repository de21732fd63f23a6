"""By commands: prepared on a proxy over SSH, brought back there, prepared again, its copy forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import PulpSite

pytestmark = [pytest.mark.soak]


def test_a_proxy_is_led_back_and_forth(pulp_lab: PulpLab, tmp_path: Path) -> None:
    proxy = pulp_lab.clone(Seed(images=10, lists=2, repositories=1))
    before = proxy.manifests()
    with PulpSite(tmp_path / "site", None, {"proxy1": proxy}) as site:
        assert site.ok("content", "prepare", "--yes")["done"] == 12
        after = proxy.manifests()
        looked = site.regctl("content", "restore", "--dry-run")
        assert (looked.exit_code, looked.json["counts"]) == (0, {"restorable": 12}), str(looked)
        assert proxy.manifests() == after

        restored = site.ok("content", "restore", "--yes")
        assert (restored["restored"], restored["counts"]) == (12, {"as-before": 12})
        assert proxy.manifests() == before
        assert site.ok("content", "restore", "--yes")["result"] == "nothing-to-do"

        assert site.ok("content", "prepare", "--yes")["done"] == 12
        assert proxy.manifests() == after
        names = [one["name"] for one in site.ok("content", "copies")["hosts"][0]["copies"]]
        assert len(names) == 2
        which = site.regctl("content", "restore", "--yes")
        assert (which.exit_code, "which copy? there are several" in which.stderr) == (2, True), str(which)
        assert site.ok("content", "forget", "--copy", names[0], "--yes")["bytes"] > 0
        gone = site.regctl("content", "restore", "--copy", names[0], "--yes")
        assert (gone.exit_code, "there is no copy" in gone.stderr) == (6, True), str(gone)
        kept = site.ok("content", "copies")["hosts"][0]["copies"]
        assert [(one["name"], one["rows"], one["damaged"]) for one in kept] == [(names[1], 12, "")]
