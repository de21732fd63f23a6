"""How long preparing will take is said before it begins, from a rehearsal that changes nothing."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_site import NAME, SERVER, PulpSite


def estimated(pulp: PulpUnderTest, folder: Path) -> float:
    with PulpSite(folder, pulp) as site:
        host = site.ok("content", "status", NAME, "--host", SERVER)["hosts"][0]
    return float(host["estimated_seconds"])


def state(pulp: PulpUnderTest) -> object:
    """What is stored, and how often PostgreSQL has written to it."""
    written = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
    pulp.query("SELECT pg_stat_force_next_flush()")
    return pulp.manifests(), pulp.query(written)


def test_a_rehearsal_writes_nothing(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(Seed(images=24, lists=4))
    before = state(pulp)
    assert estimated(pulp, tmp_path / "site") > 0.5  # a start of the manager alone takes longer
    assert state(pulp) == before
    pulp.query("UPDATE container_manifest SET labels = labels")  # this would have been seen
    assert state(pulp) != before


@pytest.mark.soak
@pytest.mark.parametrize("release", ["2.18", "2.20"])
def test_it_takes_as_long_as_was_said(pulp_lab: PulpLab, tmp_path: Path, release: str) -> None:
    """Within a quarter, be there all of the work to do or only a part of it. Needs a steady machine."""
    seed = Seed(images=1200, lists=60, release=release)  # type: ignore[arg-type]
    ratios = []
    for number in range(3):
        pulp = pulp_lab.clone(seed)
        said = estimated(pulp, tmp_path / f"site{number}")
        began = time.monotonic()
        code, _ = pulp.ask("prepare")
        ratios.append(said / (time.monotonic() - began))
        assert code == 0
        pulp_lab.drop(pulp)
    assert 0.75 <= statistics.median(ratios) <= 1.25, ratios
