"""What a switch remembers in the site is taken back byte for byte, and never over somebody else's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ctl.config.load import load_site
from ctl.errors import RefusedError
from ctl.recipes.model import Target
from ctl.steps.remember_settings import RememberSettings
from ctl.testing.world import MemoryRun, MemoryWorld
from tests.support.enabling import files

SITE = {
    "version": 1,
    "hosts": {"here": {"connection": "local"}},
    "databases": {"gitlab": {"host": "db", "dbname": "r", "user": "r", "password": "file:/etc/p"}},
    "registries": {
        "main": {
            "engine": "gitlab",
            "database": "gitlab",
            "storage": {"filesystem": {"rootdirectory": "/srv"}},
            "nodes": [
                {
                    "host": "here",
                    "binary": "/usr/bin/registry",
                    "config_file": "/etc/registry.yml",
                    "url": "http://127.0.0.1:5000",
                    "service": {"kind": "process", "name": "registry"},
                }
            ],
        }
    },
}
VALUES = {"database": {"enabled": True, "pool": {"maxidle": 25}}, "gc": {"disabled": True}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "site.yml").write_text(yaml.safe_dump(SITE))
    return tmp_path


def target(place: Path) -> Target:
    site: Any = load_site(str(place / "site.yml")).site
    return Target(MemoryWorld(site), MemoryRun())


def step(place: Path) -> RememberSettings:
    return RememberSettings(registry="main", site=str(place / "site.yml"), values=VALUES)


def remembered(place: Path) -> dict[str, Any]:
    found = yaml.safe_load((place / "site.d" / "50-regctl.yml").read_text())
    assert isinstance(found, dict)
    return found


def test_it_is_remembered_once_and_taken_back_without_a_trace(place: Path) -> None:
    before, here = files(place), target(place)
    seen = step(place).observe(here)
    assert list(step(place).check(here)) == []
    assert step(place).preview(here).changes
    assert step(place).apply(here, seen).changed
    assert remembered(place)["registries"]["main"]["config"] == VALUES
    assert not step(place).preview(here).changes
    assert not step(place).apply(here, seen).changed
    step(place).undo(here, seen)
    assert files(place) == before
    step(place).undo(here, seen)
    assert files(place) == before


def test_what_was_remembered_before_comes_back_byte_for_byte(place: Path) -> None:
    folder = place / "site.d"
    folder.mkdir()
    words = "# mine\nregistries: {main: {config: {http: {draintimeout: 9s}, database: {enabled: false}}}}\n"
    (folder / "50-regctl.yml").write_text(words)
    here = target(place)
    seen = step(place).observe(here)
    step(place).apply(here, seen)
    config = remembered(place)["registries"]["main"]["config"]
    assert config == {"http": {"draintimeout": "9s"}, **VALUES}
    step(place).undo(here, seen)
    assert (folder / "50-regctl.yml").read_text() == words


def test_what_somebody_remembered_meanwhile_is_not_taken_back(place: Path) -> None:
    here = target(place)
    seen = step(place).observe(here)
    step(place).apply(here, seen)
    drop_in = place / "site.d" / "50-regctl.yml"
    drop_in.write_text(drop_in.read_text() + "databases: {gitlab: {port: 6432}}\n")
    changed = drop_in.read_bytes()
    with pytest.raises(RefusedError, match="was changed meanwhile; it is not overwritten"):
        step(place).undo(here, seen)
    assert drop_in.read_bytes() == changed


def test_a_later_drop_in_that_would_hide_it_is_named_beforehand(place: Path) -> None:
    (place / "site.d").mkdir()
    (place / "site.d" / "60-mine.yml").write_text("registries: {main: {config: {gc: {disabled: false}}}}\n")
    (problem,) = step(place).check(target(place))
    assert "60-mine.yml" in problem.message
    assert "gc" in problem.message
