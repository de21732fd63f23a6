"""Plugins in this process: asked once, kept apart, never able to take a name or the tool."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ctl.engines.distribution import Distribution
from ctl.errors import ConfigError, RegctlError
from ctl.plugins import KINDS, Plugin, Plugins
from ctl.report.console import ConsoleReporter
from tools import docs_pages

HEADER = "from ctl.hookspecs import hookimpl\n"
Install = Callable[..., tuple[Plugins, list[str]]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put modules on the path as plugins: `install(name=source)`; return Plugins and its warnings."""

    def put(**sources: str) -> tuple[Plugins, list[str]]:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(HEADER + source)
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "entry_points.txt").write_text(f"[regctl]\n{name} = {name}\n")
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        warnings: list[str] = []
        return Plugins(warnings.append), warnings

    return put


def named(plugins: Plugins, name: str) -> Plugin:
    (found,) = [plugin for plugin in plugins.all() if plugin.name == name]
    return found


def test_what_ships_is_the_first_plugin(install: Install) -> None:
    plugins, warnings = install()
    assert [plugin.name for plugin in plugins.all()] == ["builtin"]
    assert plugins.names("report format") == ["json", "jsonl", "table", "yaml"]
    assert plugins.find("engine", "distribution") is Distribution
    assert plugins.find("report format", "table") is ConsoleReporter
    assert warnings == []


def test_everything_that_ships_can_be_imported(install: Install) -> None:
    plugins, _ = install()
    for kind in KINDS:
        for name in plugins.names(kind):
            assert plugins.find(kind, name) is not None


def test_every_step_that_ships_is_named(install: Install) -> None:
    plugins, _ = install()
    named_after = {
        re.sub(r"(?<!^)([A-Z])", r"-\1", step.__name__).lower(): step for step in docs_pages.steps()
    }
    assert {name: plugins.find("step", name) for name in plugins.names("step")} == named_after


BROKEN = {
    "raises": ("raise RuntimeError('no')\n", "RuntimeError: no"),
    "leaves": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "misspells": ("@hookimpl\ndef register_engine():\n    return {}\n", "register_engine"),
    "wants_more": ("@hookimpl\ndef register_steps(site):\n    return {}\n", "site"),
    "fails_late": ("@hookimpl\ndef register_steps():\n    return 1 / 0\n", "ZeroDivisionError"),
    "returns_classes": ("@hookimpl\ndef register_steps():\n    return {'a': object}\n", "module:attribute"),
    "returns_nonsense": ("@hookimpl\ndef register_steps():\n    return 7\n", "TypeError"),
    "is_no_python": ("def def\n", "SyntaxError"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_and_left_out(name: str, install: Install) -> None:
    source, reason = BROKEN[name]
    good = "@hookimpl\ndef register_steps():\n    return {'good': 'os:path'}\n"
    plugins, warnings = install(**{name: source, "zz_good": good})
    assert reason in named(plugins, name).broken
    assert named(plugins, name).adds == {}
    assert "good" in plugins.names("step")
    (warning,) = warnings
    assert warning.startswith(f"plugin {name} of ")
    assert plugins.all() is plugins.all(), "said once"


def test_a_name_that_is_taken_stays_taken(install: Install) -> None:
    source = "@hookimpl\ndef register_engines():\n    return {'distribution': 'os:path', 'new': 'os:path'}\n"
    plugins, warnings = install(first=source, second=source)
    assert plugins.find("engine", "distribution") is Distribution
    assert named(plugins, "first").overruled == ("engine distribution",)
    assert named(plugins, "second").overruled == ("engine distribution", "engine new")
    assert len(warnings) == 3


def test_a_name_that_nobody_adds(install: Install) -> None:
    plugins, _ = install(broken_one="raise RuntimeError('no')\n")
    with pytest.raises(ConfigError) as caught:
        plugins.find("engine", "distributon")
    assert caught.value.hint == "did you mean 'distribution'?"
    assert caught.value.details == ("plugin broken_one is broken: RuntimeError: no",)


def test_a_reference_that_leads_nowhere_names_its_package(install: Install) -> None:
    plugins, _ = install(lost="@hookimpl\ndef register_steps():\n    return {'a': 'os:nothing_there'}\n")
    with pytest.raises(RegctlError, match=r"the step 'a' of lost 1\.0 cannot be loaded"):
        plugins.find("step", "a")
