"""regctl starts fast, and loads nothing that a command does not need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RATIO = 2.5
HEAVY = ("pydantic", "psycopg", "httpx", "rich", "jinja2", "stamina", "yaml", "packaging")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As an operator has it: compiled files are kept, and no site of this machine is read."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "REGCTL"))}
    return {
        **inherited,
        "PYTHONPYCACHEPREFIX": str(tmp_path / "cache"),
        "REGCTL_SITE": str(tmp_path / "site.yml"),
    }


def seconds(argv: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True, env=environment, cwd=ROOT)
    return time.perf_counter() - began


def test_help_takes_little_longer_than_python_itself(environment: dict[str, str]) -> None:
    bare = [sys.executable, "-c", "pass"]
    script = Path(sys.executable).parent / "regctl"
    ours = [str(script), "--help"] if script.exists() else [sys.executable, "-m", "ctl", "--help"]
    for argv in (bare, ours):
        seconds(argv, environment)  # warm: files read, bytecode written
    # The least of many is what the machine can do; turns are taken so that a busy moment hits both.
    pairs = [(seconds(bare, environment), seconds(ours, environment)) for _ in range(20)]
    least_bare, least_ours = (min(column) for column in zip(*pairs, strict=True))
    assert least_ours <= RATIO * least_bare, f"{least_ours * 1000:.1f} ms against {least_bare * 1000:.1f} ms"


def imported(arguments: list[str], environment: dict[str, str]) -> set[str]:
    """Return the top-level modules that a call imports."""
    code = (
        "import sys; from ctl.__main__ import main; sys.argv = ['regctl', *sys.argv[1:]]\n"
        "code = main()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "raise SystemExit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("line", ["--help", "-h", "--version", "-y --no-color --help"])
def test_help_and_version_import_not_even_click(line: str, environment: dict[str, str]) -> None:
    found = imported(line.split(), environment)
    assert not found & {*HEAVY, "click", "pluggy", "importlib_metadata", "asyncio", "argparse", "logging"}


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("version", set()),
        ("version --output json", set()),
        ("version --output yaml", {"yaml"}),
        ("completion bash", set()),
        ("gc --help", {"pydantic"}),
        ("status --help", set()),
        ("service --help", {"pydantic"}),
        ("plugin list", set()),
        ("seed --help", set()),
    ],
)
def test_a_command_imports_no_library_that_it_does_not_need(
    line: str, needed: set[str], environment: dict[str, str]
) -> None:
    assert imported(line.split(), environment) & set(HEAVY) <= needed


def test_the_check_would_notice(environment: dict[str, str]) -> None:
    (Path(environment["REGCTL_SITE"])).write_text("version: 1\nhosts: {}\nregistries: {}\n")
    assert "pydantic" in imported(["service", "status"], environment)
