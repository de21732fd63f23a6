"""The tables of releases say what the packages themselves say: recorded facts of each that was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ctl.engines import pulp_releases as releases

CASES = Path(__file__).parents[2] / "cases" / "pulp"


def recorded(package: str) -> list[Any]:
    found = [json.loads(path.read_text()) for path in sorted(CASES.glob(f"{package}-*.json"))]
    assert len(found) > 10
    return [pytest.param(one, id=one["version"]) for one in found]


def number(migration: str) -> int:
    return int(migration.partition("_")[0])


@pytest.mark.parametrize("case", recorded("pulp-container"))
def test_what_a_release_serves_and_can_do(case: dict[str, Any]) -> None:
    version = Version(case["version"])
    assert releases.serves_unprepared(version) is case["serves_from_files"]
    assert releases.has_command(version) is case["command"]
    assert releases.is_fixed(version) is not case["stops_without_config_blob"]
    assert releases.repairs_by_sync(version) is case["sync_brings_lost_text_back"]


@pytest.mark.parametrize("case", recorded("pulp-container"))
def test_the_fields_of_each_pre_migration_are_there_from_its_release_on(case: dict[str, Any]) -> None:
    version, fields = Version(case["version"]), set(case["manifest_fields"])
    brought = {
        "image-nature": {"labels", "annotations", "is_bootable", "is_flatpak"},
        "artifactless-manifests": {"data"},
        "image-details": {"type", "architecture", "os", "compressed_image_size"},
    }
    for one in releases.PRE_MIGRATIONS:
        if one.since is not None:
            assert (brought[one.name] <= fields) is (version >= one.since), one.name
            assert bool(brought[one.name] & fields) is (version >= one.since), one.name


@pytest.mark.parametrize("case", recorded("pulp-container"))
def test_the_pulpcore_of_a_line_is_one_that_its_package_takes(case: dict[str, Any]) -> None:
    version, demanded = Version(case["version"]), SpecifierSet(case["requires_pulpcore"])
    line = releases.line_of(version)
    core = releases.core_of(version)
    assert line is not None
    assert core is not None
    assert demanded.contains(Version(f"{core}.99") if len(core.release) == 2 else core)
    last = [
        one for one in recorded("pulp-container") if Version(one.values[0]["version"]).minor == version.minor
    ]
    newest = max((one.values[0] for one in last), key=lambda one: Version(one["version"]))
    bounds = {one.operator: Version(one.version) for one in SpecifierSet(newest["requires_pulpcore"])}
    assert {one.operator: Version(one.version) for one in line.demands} == bounds


@pytest.mark.parametrize("case", recorded("pulpcore"))
def test_which_pulpcore_knows_which_history(case: dict[str, Any]) -> None:
    """A database that only has the old history needs a release with both; 3.85 has the new one alone."""
    version = Version(case["version"])
    knows_new, knows_old = bool(case["squashed"]), case["replaced_still_there"]
    assert knows_new is (version >= releases.STEPS[0].fewer_than)
    assert knows_old is (version < releases.STEPS[0].at_least)
    left = releases.left_by(case["last_migration"])
    assert left is not None
    assert left <= version
    assert bool(releases.skipped(left, Version("3.105"))) is not knows_new


@pytest.mark.parametrize(
    ("container", "core", "target", "through"),
    [
        ("2.18.1", "3.49.72", "2.24.15", ""),
        ("2.18.1", "3.49.72", "2.26.19", "3.73"),
        ("2.22.13", "3.63.21", "2.27.14", "3.73"),
        ("2.22.13", "3.63.21", "2.25.1", ""),
        ("2.24.15", "3.73.47", "2.27.14", ""),
        ("2.26.19", "3.85.40", "2.30.0", ""),
        ("2.19.4", "3.73.0", "2.27.14", "2.24"),  # its content could not be prepared before
        ("2.24.15", "3.73.47", "2.99.0", ""),
    ],
)
def test_which_release_must_be_gone_through(container: str, core: str, target: str, through: str) -> None:
    said = releases.skipped_releases(Version(container), Version(core), Version(target))
    assert (through in said) if through else said == ""


@pytest.mark.parametrize(
    ("migration", "core"),
    [
        ("0117_task_unblocked_at", "3.49"),
        ("0119_grouprole", "3.49"),
        ("0123_upstreampulp_q_select", "3.63"),
        ("0132_alter_content_options", "3.80"),
        ("0090_char_to_text_field", None),
        ("", None),
    ],
)
def test_which_pulpcore_a_database_was_left_by(migration: str, core: str | None) -> None:
    found = releases.left_by(migration)
    assert found == (Version(core) if core else None)


def test_what_nobody_read_is_judged_like_the_last_one() -> None:
    assert not releases.was_tried(Version("2.31.0"))
    assert not releases.was_tried(Version("2.25.1"))
    assert releases.was_tried(Version("2.27.14"))
    assert releases.core_of(Version("2.31.0")) == releases.core_of(Version("2.30.0"))
    assert releases.core_of(Version("2.9.0")) is None
    assert releases.core_text(Version("2.27.14")) == "pulpcore 3.105.* (it takes >=3.73.2, <3.115)"
    assert releases.core_text(Version("2.31.0")) == ""
    assert releases.goes_with(Version("3.49")) == "2.18 to 2.23"
