"""Every row that regctl prepares is, field by field, what Pulp's own command makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.pulp import FIELDS, PulpLab, PulpUnderTest, Seed

VARIED = Seed(images=36, lists=6, repositories=3)
Rows = Mapping[str, Mapping[str, Any]]

# What a wrong order makes of it: an index that is asked for its kind before those that it lists.
_LISTS_FIRST = """
import importlib, json
from pulp_container.app.models import Manifest
from pulp_container.constants import MEDIA_TYPE
command = importlib.import_module(
    "pulp_container.app.management.commands.container-handle-image-data").Command()
lists = [MEDIA_TYPE.MANIFEST_LIST, MEDIA_TYPE.INDEX_OCI]
done = command.update_manifests(Manifest.objects.filter(media_type__in=lists))
done += command.update_manifests(Manifest.objects.exclude(media_type__in=lists))
print(json.dumps({"regctl": "done", "count": done}))
"""


def differences(one: Rows, other: Rows) -> list[tuple[str, str, Any, Any]]:
    """List (digest, field, here, there) of all that is not the same."""
    found: list[tuple[str, str, Any, Any]] = []
    for digest in sorted({*one, *other}):
        here, there = one.get(digest), other.get(digest)
        if here is None or there is None:
            found.append((digest, "row", here is not None, there is not None))
            continue
        found += [
            (digest, name, here[name], there[name])
            for name in (*FIELDS, "artifacts")
            if here[name] != there[name]
        ]
    return found


@pytest.fixture(scope="module")
def stock(pulp_lab: PulpLab) -> PulpUnderTest:
    """A Pulp whose content was done by Pulp's own command."""
    pulp = pulp_lab.clone(VARIED)
    done = pulp.stock()
    assert done.returncode == 0, done.stderr.decode()
    return pulp


def test_every_field_is_what_the_stock_command_makes_of_it(pulp_lab: PulpLab, stock: PulpUnderTest) -> None:
    ours = pulp_lab.clone(VARIED)
    before = ours.manifests()
    code, answers = ours.ask("prepare")  # one chunk: an index and what it lists are done in one transaction

    assert (code, answers[-1]["state"], answers[-1]["done"]) == (0, "done", 42)
    rows = ours.manifests()
    assert differences(rows, stock.manifests()) == []
    # and the comparison has something to compare
    assert {row["type"] for row in rows.values()} == {
        "image",
        "bootable",
        "flatpak",
        "helm",
        "cosign_signature",
        "artifact",
        "index",
    }
    assert {row["architecture"] for row in rows.values()} == {"amd64", "arm64", "s390x", None}
    assert {row["os"] for row in rows.values()} == {"linux", "windows", None}
    assert sum(row["is_bootable"] for row in rows.values()) > 6 > 0  # images and indexes
    assert sum(bool(row["labels"]) for row in rows.values()) > 10
    assert sum(bool(row["annotations"]) for row in rows.values()) > 5
    assert len({row["compressed_image_size"] for row in rows.values()}) > 20
    for digest, row in rows.items():
        assert row["data"].encode() == ours.file_of(digest).read_bytes()
        assert (row["artifacts"], before[digest]["artifacts"], before[digest]["data"]) == (0, 1, None)


def test_the_comparison_finds_what_a_wrong_order_makes_of_an_index(
    pulp_lab: PulpLab, stock: PulpUnderTest
) -> None:
    wrong = pulp_lab.clone(VARIED)
    assert wrong.run(_LISTS_FIRST)["count"] == 42

    found = differences(wrong.manifests(), stock.manifests())
    assert {(name, here, there) for _, name, here, there in found} >= {("is_bootable", False, True)}


@pytest.mark.soak
def test_so_are_twelve_hundred_rows_beside_damaged_ones(pulp_lab: PulpLab) -> None:
    damage = {"corrupt_json": 2, "config_not_stored": 2, "lost": 1}  # what the stock command passes over
    seed = Seed(images=1200, lists=60, repositories=5, damage=damage)
    stock, ours = pulp_lab.clone(seed), pulp_lab.clone(seed)
    assert stock.stock().returncode == 0
    code, answers = ours.ask("prepare")

    assert (code, answers[-1]["remaining"]) == (3, 5)
    assert differences(ours.manifests(), stock.manifests()) == []
    assert ours.counts().todo == 5
