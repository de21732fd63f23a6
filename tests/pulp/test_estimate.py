"""How long preparing will take is said before it begins, from a rehearsal that changes nothing.

How near it comes is measured by tests/benchmarks/pulp.py: no test demands a time.
"""

from __future__ import annotations

from pathlib import Path

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
