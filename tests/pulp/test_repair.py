"""`regctl content repair` links again what Pulp's own command left with neither text nor link."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_services import PulpServices
from tests.support.pulp_site import PulpSite
from tests.support.waiting import wait_until

LOCK = 0x72656763  # of whoever prepares: see templates/pulp/common.py
IMAGES = 150  # all of them in flight: Pulp's own command writes after 1,001
ALIKE = Seed(images=IMAGES, varied=False)
LOST = Seed(images=4, varied=False, damage={"relinkable": 3, "lost": 1})
_CLEANUP = """
import json
from django_guid import set_guid
from pulpcore.tasking.tasks import dispatch
set_guid("test")
task = dispatch("pulpcore.app.tasks.orphan.orphan_cleanup", kwargs={"orphan_protection_time": 0},
    exclusive_resources=["orphans"], immediate=True, deferred=False, versions={"core": "3.0.0"})
assert task.state == "completed", task.error
print(json.dumps({"regctl": "cleaned"}))
"""
_RUNNING_CLEANUP = """
import json
from pulpcore.app.models import Task
Task.objects.create(name="pulpcore.app.tasks.orphan.orphan_cleanup", state="running", logging_cid="x")
print(json.dumps({"regctl": "made"}))
"""
# A second domain has a manifest of the same digest, unlinked too; its file is known in the first one alone.
_DOMAINS = """
import json
from pulp_container.app.models import Manifest
from pulpcore.app.models import Artifact, ContentArtifact, Domain
from pulpcore.app.util import set_domain
settings_ = {"location": REQUEST["media"]}
other = Domain.objects.create(
    name="other", storage_class="pulpcore.app.models.storage.FileSystem", storage_settings=settings_)
here = Manifest.objects.get(digest=REQUEST["digest"])
there = Manifest.objects.create(digest=here.digest, schema_version=2, media_type=here.media_type,
    _pulp_domain=other, pulp_domain=other)
print(json.dumps({"regctl": "made", "here": str(here.pk), "there": str(there.pk)}))
"""

_LOSE_FILE = """
import json
from pulpcore.app.models import Artifact
Artifact.objects.get(sha256=REQUEST["digest"].removeprefix("sha256:")).delete()
print(json.dumps({"regctl": "deleted"}))
"""


def links(pulp: PulpUnderTest) -> set[tuple[Any, ...]]:
    """Every link of a manifest to a file: (key, manifest, file, path)."""
    return set(
        pulp.query(
            "SELECT c.pulp_id, c.content_id, c.artifact_id, c.relative_path FROM core_contentartifact c "
            "JOIN container_manifest m ON m.content_ptr_id = c.content_id"
        )
    )


def break_by_stock(pulp: PulpUnderTest, ended_by: signal.Signals) -> int:
    """End Pulp's own command in the middle, as a dropped session does; return how many it broke."""
    process = pulp.start_manager("container-handle-image-data")
    try:
        wait_until(
            lambda: pulp.counts().unreadable >= 40, what="the stock command", timeout=60, interval=0.05
        )
        process.send_signal(ended_by)
        process.communicate(timeout=30)
    finally:
        process.kill()
    return pulp.counts().unreadable


def test_what_the_stock_command_broke_is_linked_again_and_prepared(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(ALIKE)
    before = {(content, artifact, path) for _, content, artifact, path in links(pulp)}
    broken = break_by_stock(pulp, signal.SIGTERM)
    assert 40 <= broken <= IMAGES  # the control: this is what it does
    with PulpSite(tmp_path, pulp) as site:
        done = site.ok("content", "repair", "katello", "--yes")
        assert (done["result"], done["linked"], done["hosts"][0]["lost"]) == ("changed", broken, 0)
        # exactly those that were there: the same manifest, the same file, under the same name
        assert {(content, artifact, path) for _, content, artifact, path in links(pulp)} == before
        assert pulp.counts().unreadable == 0

        code, answers = pulp.ask("prepare")
        assert (code, answers[-1]["remaining"]) == (0, 0)
        verified = site.ok("content", "verify", "katello")
        assert [(one["remaining"], one["broken"], one["problems"]) for one in verified["hosts"]] == [
            (0, 0, [])
        ]


def test_it_is_refused_while_somebody_prepares_named_before_and_taken_back_to_the_last_link(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    import psycopg

    pulp = pulp_lab.clone(LOST)
    before = links(pulp)
    with PulpSite(tmp_path, None, {"proxy1": pulp}) as site:  # over SSH
        with psycopg.connect(pulp.database.dsn, autocommit=True) as preparing:
            preparing.execute("SELECT pg_advisory_lock(0, %s)", [LOCK])
            refused = site.regctl("--dry-run", "content", "repair", "katello")
            assert (refused.exit_code, "prepares" in refused.stderr) == (5, True), str(refused)
        done = site.regctl("content", "repair", "katello", "--yes")
        assert done.exit_code == 3, str(done)  # one has no file any more
        (host,) = done.json["hosts"]
        assert (host["linkable"], host["linked"], host["lost"]) == (3, 3, 1)
        assert sorted(host["manifests"]) == sorted(pulp.damaged("relinkable"))
        assert all(digest in done.stderr for digest in host["manifests"])  # shown before they are touched
        made = links(pulp) - before
        assert {path for _, _, _, path in made} == set(pulp.damaged("relinkable"))

        back = site.regctl("content", "repair", "katello", "--undo", done.json["run"], "--yes")
        assert (back.exit_code, back.json["hosts"][0]["unlinked"]) == (0, 3), str(back)
        assert links(pulp) == before
        assert site.regctl("content", "repair", "katello", "--undo", "nothing-of-the-kind").exit_code == 2


@pytest.mark.soak
def test_after_a_cleanup_of_orphans_nothing_can_be_linked_and_it_says_so(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    pulp = pulp_lab.clone(Seed(images=4, varied=False, repositories=1, damage={"relinkable": 3}))
    pulp.run(_CLEANUP)
    before = links(pulp)
    with PulpSite(tmp_path, pulp) as site:
        done = site.regctl("content", "repair", "katello")
        assert (done.exit_code, done.json["result"], done.json["linked"]) == (3, "warning", 0), str(done)
        assert done.json["hosts"][0]["lost"] == 3
        assert "regctl content verify katello" in done.json["hints"]
        assert "orphans" in site.regctl("content", "repair", "katello", output="table").stdout
    assert links(pulp) == before


@pytest.mark.soak
def test_nobody_links_under_somebody_elses_lock_or_beside_a_cleanup_of_orphans(pulp_lab: PulpLab) -> None:
    import psycopg

    pulp = pulp_lab.clone(LOST)
    request = {"action": "link", "seed": str(uuid.uuid4())}
    with psycopg.connect(pulp.database.dsn, autocommit=True) as preparing:
        preparing.execute("SELECT pg_advisory_lock(0, %s)", [LOCK])
        code, answers = pulp.ask("relink", **request)
        assert (code, answers[-1]["state"], answers[-1]["done"]) == (5, "locked", 0)
        _, looked = pulp.ask("relink", action="look")
        assert (looked[-1]["preparing"], looked[-1]["linkable"], looked[-1]["lost"]) == (True, 3, 1)
    pulp.run(_RUNNING_CLEANUP)
    code, answers = pulp.ask("relink", **request)
    assert (code, answers[-1]["state"], answers[-1]["done"]) == (4, "cleanup", 0)
    assert pulp.counts().unreadable == 4


@pytest.mark.soak
def test_a_file_of_another_domain_is_not_linked(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone(Seed(images=2, varied=False, damage={"relinkable": 1}), DOMAIN_ENABLED=True)
    (digest,) = pulp.damaged("relinkable")
    made = pulp.run(_DOMAINS, digest=digest, media=str(pulp.media))
    code, answers = pulp.ask("relink", action="link", seed=str(uuid.uuid4()))
    assert (code, answers[-1]["done"], answers[-1]["linkable"]) == (0, 1, 0)
    linked = {str(content) for _, content, _, _ in links(pulp)}
    assert made["here"] in linked
    assert made["there"] not in linked


@pytest.mark.soak
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_however_the_stock_command_was_ended(
    pulp_lab: PulpLab, tmp_path: Path, ended_by: signal.Signals
) -> None:
    pulp = pulp_lab.clone(ALIKE)
    broken = break_by_stock(pulp, ended_by)
    assert broken >= 40
    with PulpSite(tmp_path, pulp) as site:
        assert site.ok("content", "repair", "--yes")["linked"] == broken
    assert pulp.counts().unreadable == 0


@pytest.mark.soak
def test_a_repair_that_is_killed_is_finished_by_the_next_one(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(Seed(images=2, varied=False, damage={"relinkable": 400}))
    seed = str(uuid.uuid4())
    process = pulp.start("relink", tmp_path / "log", action="link", seed=seed, chunk=1)
    wait_until(lambda: pulp.counts().unreadable < 390, what="the first links", timeout=60, interval=0.02)
    process.kill()
    process.wait(30)
    assert 0 < (left := pulp.counts().unreadable) < 400
    code, answers = pulp.ask("relink", action="link", seed=seed)
    assert (code, answers[-1]["done"]) == (0, left)
    code, answers = pulp.ask("relink", action="unlink", seed=seed)  # those of both
    assert (code, answers[-1]["done"], pulp.counts().unreadable) == (0, 400, 400)


@pytest.mark.soak
def test_a_push_of_the_same_image_brings_back_the_file_that_a_repair_links(pulp_lab: PulpLab) -> None:
    pulp = pulp_lab.clone()
    services = PulpServices(pulp, ("api", "content"))
    services.set_password()

    def reasons() -> list[tuple[str, str]]:
        found = [one for one in pulp.ask("verify")[1] if one["regctl"] == "problem"]
        return [(one["reason"], one["repositories"][0]["kind"]) for one in found]

    with services:
        digest = services.push("apps", "1")
        assert services.pull("apps", "1").status == 200
        pulp.query("UPDATE container_manifest SET data = NULL, type = NULL WHERE digest = %s", digest)
        pulp.run(_LOSE_FILE, digest=digest)
        assert reasons() == [("lost", "pushed")]
        assert services.pull("apps", "1").status >= 500  # as after an interrupted run and a cleanup

        assert services.push("apps", "1") == digest
        assert services.pull("apps", "1").status >= 500  # the control: the push alone mends nothing
        assert reasons() == [("unlinked", "pushed")]
        assert pulp.ask("relink", action="link", seed=str(uuid.uuid4()))[0] == 0
        assert pulp.ask("prepare")[1][-1]["remaining"] == 0
        assert services.pull("apps", "1").status == 200


@pytest.mark.soak
@pytest.mark.parametrize("line", ["20", "27"])
def test_other_releases_are_verified_and_repaired_as_well(
    pulp_labs: Callable[[str], PulpLab], line: str
) -> None:
    seed = Seed(
        images=6, varied=False, repositories=1, damage={"relinkable": 2, "lost": 1, "corrupt_json": 1}
    )
    pulp = pulp_labs(line).clone(seed)
    _, answers = pulp.ask("verify")
    found = {one["digest"]: one["reason"] for one in answers if one["regctl"] == "problem"}
    assert found == {
        **dict.fromkeys(pulp.damaged("relinkable"), "unlinked"),
        **dict.fromkeys(pulp.damaged("lost"), "lost"),
        **dict.fromkeys(pulp.damaged("corrupt_json"), "manifest-unreadable"),
    }
    assert (answers[-1]["remaining"], answers[-1]["doable"]) == (10, 6)
    code, ended = pulp.ask("relink", action="link", seed=str(uuid.uuid4()))
    assert (code, ended[-1]["done"], ended[-1]["linkable"]) == (0, 2, 0)
    pulp.ask("prepare")
    _, answers = pulp.ask("verify")
    assert {one["reason"] for one in answers if one["regctl"] == "problem"} == {"lost", "manifest-unreadable"}


@pytest.mark.soak
def test_before_2_20_there_is_nothing_to_verify_or_to_link(pulp_labs: Callable[[str], PulpLab]) -> None:
    pulp = pulp_labs("18").clone()
    code, answers = pulp.ask("verify")
    assert (code, answers[-1]["remaining"], answers[-1]["problems"]) == (0, None, 0)
    code, answers = pulp.ask("relink", action="look")
    assert (code, answers[-1]["linkable"], answers[-1]["lost"]) == (0, 0, 0)
    code, answers = pulp.ask("relink", action="link", seed=str(uuid.uuid4()))
    assert (code, answers[-1]["state"], answers[-1]["done"]) == (0, "done", 0)
