"""`regctl content verify`: each manifest that is not done, why, who shows it, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.resources import read_resource
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_site import PulpSite

SEED = Seed(
    images=12,
    lists=2,
    repositories=2,
    prepared=13,
    damage={
        "manifest_file_missing": 1,
        "config_file_missing": 2,
        "config_not_stored": 1,
        "corrupt_json": 2,
        "lost": 3,
        "relinkable": 1,
    },
)
# One is pushed, one synced; one is shown through an index alone, one by an old version, one by nobody.
_ARRANGE = """
import json
from pulp_container.app.models import (
    ContainerPushRepository, ContainerRemote, ContainerRepository, Manifest, ManifestListManifest, Tag)
from pulp_container.constants import MEDIA_TYPE
from pulpcore.app.models import Content, RepositoryContent

def only(name, *content, kind=ContainerRepository, **more):
    repository = kind.objects.create(name=name, **more)
    with repository.new_version() as version:
        version.add_content(Content.objects.filter(pk__in=[one.pk for one in content]))
    return repository

def alone(digest):
    found = Manifest.objects.get(digest=digest)
    tags = Tag.objects.filter(tagged_manifest=found)
    RepositoryContent.objects.filter(content__in=[found.pk, *tags.values_list("pk", flat=True)]).delete()
    return found, tags.first()

remote = ContainerRemote.objects.create(
    name="up", url="https://registry.example.com", upstream_name="x", policy="on_demand")
asked = REQUEST
only("pushed", *alone(asked["pushed"]), kind=ContainerPushRepository)
only("synced", *alone(asked["synced"]), remote=remote)
child, _ = alone(asked["listed"])
index = Manifest.objects.create(digest="sha256:" + "1" * 64, schema_version=2, type="index", data="{}",
    media_type=MEDIA_TYPE.INDEX_OCI)
ManifestListManifest.objects.create(image_manifest=index, manifest_list=child)
only("through-an-index", index, Tag.objects.create(name="multi", tagged_manifest=index))
old, tag = alone(asked["old"])
repository = only("old", old, tag)
with repository.new_version() as version:
    version.remove_content(Content.objects.filter(pk__in=[old.pk, tag.pk]))
alone(asked["nobody"])
print(json.dumps({"regctl": "arranged"}))
"""
_WRITES = """
from django.db import DatabaseError
with transaction.atomic():
    read_only()
    try:
        with transaction.atomic():
            Manifest.objects.update(type="changed")
        say("wrote")
    except DatabaseError as error:
        say("refused", why=str(error))
"""


def every_row(pulp: PulpUnderTest) -> dict[str, tuple[int, int]]:
    """Return how many rows each table has, and the newest transaction that wrote one of them."""
    tables = pulp.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    count = "SELECT count(*), coalesce(max(xmin::text::bigint), 0) FROM "
    return {name: pulp.query(f'{count}"{name}"')[0] for (name,) in tables}


@pytest.fixture(scope="module")
def site(pulp_lab: PulpLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulpSite]:
    pulp = pulp_lab.clone(SEED)
    lost = pulp.damaged("lost")
    pulp.run(
        _ARRANGE,
        pushed=lost[0],
        synced=pulp.damaged("config_not_stored")[0],
        listed=pulp.damaged("manifest_file_missing")[0],
        old=lost[1],
        nobody=lost[2],
    )
    odd, unread = pulp.damaged("corrupt_json")[1], pulp.damaged("config_file_missing")[1]
    text = pulp.file_of(odd)
    text.write_text(json.dumps({"schemaVersion": 2, "config": {"mediaType": "x"}, "layers": 7}))
    config = json.loads(pulp.file_of(unread).read_bytes())["config"]["digest"]
    pulp.file_of(config).write_bytes(b"no JSON")
    with PulpSite(tmp_path_factory.mktemp("verify"), pulp) as site:
        yield site


@pytest.fixture(scope="module")
def found(site: PulpSite) -> dict[str, Any]:
    """The host's part of the report, and every row before and after."""
    assert site.server is not None
    before = every_row(site.server)
    done = site.regctl("content", "verify", "katello")
    assert done.exit_code == 3, str(done)
    (host,) = done.json["hosts"]
    return {**host, "before": before, "after": every_row(site.server), "hints": done.json.get("hints")}


def test_every_manifest_that_is_not_done_is_named_with_its_reason(
    site: PulpSite, found: dict[str, Any]
) -> None:
    pulp = site.server
    assert pulp is not None
    wanted = {
        pulp.damaged("manifest_file_missing")[0]: "manifest-file-missing",
        pulp.damaged("config_file_missing")[0]: "config-file-missing",
        pulp.damaged("config_file_missing")[1]: "config-unreadable",
        pulp.damaged("config_not_stored")[0]: "config-not-stored",
        pulp.damaged("corrupt_json")[0]: "manifest-unreadable",
        pulp.damaged("corrupt_json")[1]: "odd-shape",
        pulp.damaged("relinkable")[0]: "unlinked",
        **dict.fromkeys(pulp.damaged("lost"), "lost"),
    }
    assert {one["digest"]: one["reason"] for one in found["problems"]} == wanted
    counts = pulp.counts()
    assert (found["total"], found["remaining"], found["doable"]) == (counts.total, counts.todo, 1)
    assert (found["broken"], found["skipped"], found["untried"]) == (5, 5, 0)
    assert found["hints"] == ["regctl content repair katello", "regctl content prepare katello"]


def test_who_shows_it_and_its_tags_also_through_an_index(site: PulpSite, found: dict[str, Any]) -> None:
    pulp = site.server
    assert pulp is not None
    by_digest = {one["digest"]: one for one in found["problems"]}
    lost = [by_digest[digest] for digest in pulp.damaged("lost")]
    assert (lost[0]["repositories"], lost[0]["shown_by"][0]["kind"]) == (["pushed"], "pushed")
    assert [tag.partition(":")[0] for tag in lost[0]["tags"]] == ["pushed"]
    assert (lost[1]["repositories"], lost[1]["tags"]) == ([], [])
    assert lost[1]["shown_by"] == [{"name": "old", "kind": "local", "current": False}]
    assert (lost[2]["repositories"], lost[2]["shown_by"], lost[2]["tags"]) == ([], [], [])
    listed = by_digest[pulp.damaged("manifest_file_missing")[0]]
    assert (listed["repositories"], listed["tags"]) == (["through-an-index"], ["through-an-index:multi"])


def test_the_remedy_is_the_one_of_its_case(site: PulpSite, found: dict[str, Any]) -> None:
    pulp = site.server
    assert pulp is not None
    by_digest = {one["digest"]: one for one in found["problems"]}
    actions = [by_digest[digest]["action"] for digest in pulp.damaged("lost")]
    assert actions == ["push-again", "cleanup", "cleanup"]
    assert by_digest[pulp.damaged("relinkable")[0]]["action"] == "relink"
    synced = by_digest[pulp.damaged("config_not_stored")[0]]
    assert (synced["action"], synced["served"], synced["state"]) == ("sync-immediate", True, "skipped")
    assert "policy immediate" in synced["remedy"]
    assert synced["then"] == "regctl content prepare katello --host server"


def test_verifying_writes_nothing(found: dict[str, Any]) -> None:
    assert len(found["before"]) > 100
    assert found["after"] == found["before"]


def test_what_is_asked_within_the_transaction_could_not_write(site: PulpSite) -> None:
    """The control of the promise: without it this would have changed every row."""
    assert site.server is not None
    common = read_resource("templates", "pulp/common.py").replace("from __future__ import annotations\n", "")
    answer = site.server.run(common + _WRITES)
    assert answer["regctl"] == "refused"
    assert "read-only transaction" in answer["why"]


def test_too_many_to_try_are_counted_and_not_called_fine(site: PulpSite, tmp_path: Path) -> None:
    done = site.regctl("content", "verify", "katello", "--host", "server", "--tries", "0")
    (host,) = done.json["hosts"]
    assert (done.exit_code, host["untried"]) == (3, 4)  # the one to do, and three that only trying tells
    assert {one["reason"] for one in host["problems"]} == {
        "manifest-file-missing",
        "config-file-missing",
        "config-not-stored",
        "unlinked",
        "lost",
    }
