"""The Pulps of the tests themselves: each its own, and as they were asked for."""

from __future__ import annotations

import pytest

from tests.support.pulp import Counts, PulpLab, Seed
from tests.support.pulp_services import PulpServices, request

DAMAGE = {
    "config_file_missing": 1,
    "config_not_stored": 1,
    "corrupt_json": 1,
    "lost": 2,
    "manifest_file_missing": 1,
    "relinkable": 3,
}
DAMAGED = Seed(images=12, lists=2, repositories=2, damage=DAMAGE)


def test_a_seed_damages_what_it_was_asked_to_and_nothing_else(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone(DAMAGED)
    assert pulp.counts() == Counts(total=23, todo=23, unreadable=5)
    assert {how: len(pulp.damaged(how)) for how in DAMAGE} == DAMAGE
    rows = pulp.manifests()
    bare = {digest for digest, row in rows.items() if row["artifacts"] == 0}
    assert bare == {*pulp.damaged("lost"), *pulp.damaged("relinkable")}
    gone = {digest for digest in rows if not pulp.file_of(digest).exists()}
    assert gone == {*pulp.damaged("lost"), *pulp.damaged("manifest_file_missing")}
    kept = pulp.query("SELECT count(*) FROM core_artifact WHERE 'sha256:' || sha256 = ANY(%s)", list(bare))
    assert kept == [(3,)]  # what can be linked again
    shown = pulp.query("SELECT count(*) FROM container_tag")
    assert shown == [(23,)]


def test_two_of_one_seed_share_nothing(pulp_lab: PulpLab) -> None:
    one, other = pulp_lab.clone(DAMAGED), pulp_lab.clone(DAMAGED)
    assert one.manifests() == other.manifests()
    digest = other.damaged("relinkable")[0]
    one.file_of(digest).unlink()
    one.query("DELETE FROM core_contentartifact")
    assert other.file_of(digest).exists()
    assert other.counts() == Counts(total=23, todo=23, unreadable=5)
    assert one.counts().unreadable == 23


def test_a_seed_may_be_done_in_part(pulp_lab: PulpLab) -> None:
    assert pulp_lab.clone(Seed(images=12, lists=2, prepared=5)).counts() == Counts(14, 9, 0)
    assert pulp_lab.clone(Seed(images=24, lists=4, release="2.20")).counts() == Counts(28, 28, 0)


@pytest.mark.soak
def test_services_run_under_runit_and_are_pushed_to(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone()
    with PulpServices(pulp, ("api", "content", "worker"), under="runit") as services:
        services.set_password()
        digest = services.push("lab/app", "one", labels={"a": "b"})
        assert services.pull("lab/app", "one").headers["docker-content-digest"] == digest
        assert services.pull("lab/app", digest).status == 200
        assert len(services.status()["online_workers"]) == 1
        services.down("content")
        with pytest.raises(OSError, match="refused"):
            request(pulp.content_port, "GET", "/pulp/content/")
    with pytest.raises(OSError, match="refused"):
        request(pulp.api_port, "GET", "/pulp/api/v3/status/")
    assert pulp.manifests()[digest]["labels"] == {"a": "b"}  # 2.24 fills in what it takes in
