"""Installed commands and plugins are found as text: no import, no surprise."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from ctl import listing

ROOT = Path(listing.HERE).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def install(folder: Path, name: str, version: str, entry_points: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_a_checkout_lists_what_pyproject_declares() -> None:
    found = {
        p.name: p.target for p in listing.entry_points(listing.COMMANDS) if p.package == "registry-maintain"
    }
    assert found == PROJECT["entry-points"]["regctl.commands"]


def test_every_command_of_the_issue_is_declared() -> None:
    wanted = (
        "init status doctor version config service database registry import gc garbage-collect read-only run "
        "lock seed plugin completion"
    )
    assert set(wanted.split()) <= set(listing.commands())


def test_versions_are_those_of_the_project() -> None:
    assert listing.own_version() == PROJECT["version"]
    assert set(listing.DEPENDENCIES) == {
        dependency.partition(">")[0].partition("[")[0] for dependency in PROJECT["dependencies"]
    }


def test_library_versions_are_what_the_metadata_says() -> None:
    for name, version in listing.dependency_versions().items():
        assert version == importlib.metadata.version(name)


def test_other_packages_are_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "[console_scripts]\nx = x:main\n\n[regctl.commands]\nshelf = shelf.command:command\n"
        "old = shelf.old : command [extra]\n# a comment = here\n[regctl]\nshelf = shelf\n"
    )
    install(tmp_path, "Shelf_Tools", "1.0", text)
    install(tmp_path, "without", "2.0", "[console_scripts]\ny = y:main\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [p for p in listing.entry_points(listing.COMMANDS) if p.package == "shelf-tools"]
    assert [(p.name, p.target, p.version) for p in found] == [
        ("old", "shelf.old:command", "1.0"),
        ("shelf", "shelf.command:command", "1.0"),
    ]
    assert [p.name for p in listing.entry_points(listing.PLUGINS)] == ["builtin", "shelf"]


def test_the_first_of_two_versions_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("second", "1.0"), ("first", "2.0")):
        install(tmp_path / folder, "shelf", version, "[regctl]\nshelf = shelf\n")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert [p.version for p in listing.entry_points(listing.PLUGINS) if p.name == "shelf"] == ["2.0"]


def test_nobody_takes_a_builtin_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "aaa", "1.0", "[regctl.commands]\ngc = evil:command\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert listing.commands()["gc"].target == "ctl.commands.gc:command"


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.dist-info").write_text("a file, not a folder")
    (tmp_path / "bytes-1.dist-info").mkdir()
    (tmp_path / "bytes-1.dist-info" / "entry_points.txt").write_bytes(b"[regctl]\nb\xff = m\n=\nno equals\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), "/does/not/exist"])
    assert "gc" in listing.commands()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('"""One line."""\n', "One line"),
        ('"""First.\n\nSecond.\n"""\n', "First"),
        ("# licence\n\n'''Quoted otherwise'''\n", "Quoted otherwise"),
        ('r"""Raw \\d."""\n', "Raw \\d"),
        ("import os\n", ""),
        ("", ""),
    ],
)
def test_the_help_line_is_the_docstrings_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: str
) -> None:
    (tmp_path / "a_module_of_the_test.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = listing.EntryPoint(listing.COMMANDS, "x", "a_module_of_the_test:command", "p", "1")
    assert listing.first_line(point) == line


def test_a_module_that_is_not_there_has_no_help_line() -> None:
    for target in ("nowhere.at.all:command", "ctl.commands.nothing:command"):
        assert listing.first_line(listing.EntryPoint(listing.COMMANDS, "x", target, "p", "1")) == ""
