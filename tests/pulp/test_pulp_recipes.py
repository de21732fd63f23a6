"""The recipes for a Pulp that ship: each run on a real one, and each refused where it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import PulpSite

PREPARE = ("recipe", "run", "content-premigration", "--yes")
UPGRADE = ("recipe", "run", "pre-upgrade-pulp", "--set", "to=2.27.14", "--yes")
# what depends on the machine that the tests run on
SKIPPED = ("--skip", "controller", "--skip-reason", "not of this site")


def test_the_recipe_prepares_where_it_is_worth_it(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(Seed(images=6, lists=1, repositories=1))
    with PulpSite(tmp_path / "site", pulp, overlay={"content": {"worth_minutes": 30}}) as site:
        spared = site.ok(*PREPARE)
        assert (spared["result"], pulp.counts().todo) == ("nothing-to-do", 7)
        done = site.regctl(*PREPARE, "--set", "to=2.27.14")
        assert (done.exit_code, done.json["result"], pulp.counts().todo) == (0, "changed", 0), str(done)


@pytest.mark.soak
def test_what_stands_in_the_way_of_an_upgrade_is_named_at_once(pulp_lab: PulpLab, tmp_path: Path) -> None:
    """On the server and on a proxy."""
    server = pulp_lab.clone(Seed(images=6, lists=1, repositories=1))
    proxy = pulp_lab.clone(Seed(images=4, damage={"relinkable": 2}, repositories=1))
    with PulpSite(tmp_path / "site", server, {"proxy1": proxy}) as site:
        refused = site.regctl(*UPGRADE, *SKIPPED)
        assert (refused.exit_code, refused.json["result"]) == (1, "failed"), str(refused)
        for words in (
            "server: 7 manifests",
            "proxy1: 2 manifests have lost the link to their files",
            "which a cleanup of orphans would delete for good",
            "regctl content repair katello --host proxy1",
        ):
            assert words in refused.stderr, str(refused)
        assert (server.counts().todo, proxy.counts().unreadable) == (7, 2)

        done = site.regctl(*PREPARE)
        assert (done.exit_code, server.counts().todo, proxy.counts().todo) == (3, 0, 2), str(done)
        assert "proxy1: 2 manifests have lost their files, and can be linked again only" in done.stderr
        assert site.regctl("content", "repair", "--yes").exit_code == 0
        again = site.regctl(*PREPARE)
        assert (again.exit_code, proxy.counts().todo) == (0, 0), str(again)
        assert site.ok(*PREPARE)["result"] == "nothing-to-do"
        ready = site.regctl(*UPGRADE, *SKIPPED)
        assert ready.exit_code == 0, str(ready)
