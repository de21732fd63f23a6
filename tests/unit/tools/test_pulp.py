"""tools/pulp.sh makes an environment once, whole or not at all. uv and pip are stand-ins here."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.support import programs

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tools" / "pulp.sh"

# Makes a folder as uv does, says what it was asked for, and fails where it is told to.
UV = """#!/bin/bash
echo "uv $*" >>"$SEEN"
if [ "$1" = venv ]; then
    mkdir -p "${!#}/bin"
    printf '#!/bin/sh\\necho "python $*" >>"$SEEN"\\n' >"${!#}/bin/python"
    chmod +x "${!#}/bin/python"
else
    [ -z "$UV_FAILS" ] || exit 1
    [ -z "$UV_DIES" ] || kill -9 $PPID
fi
"""
# Stands in for `python3 -m venv` where uv is missing or fails; all else is the real one.
PYTHON = """#!/bin/bash
if [ "$1 $2" = "-m venv" ]; then
    echo "venv $*" >>"$SEEN"
    mkdir -p "${!#}/bin"
    printf '#!/bin/sh\\necho "python $*" >>"$SEEN"\\n' >"${!#}/bin/python"
    chmod +x "${!#}/bin/python"
else
    exec /usr/bin/env -u PATH "$REAL" "$@"
fi
"""


class Machine:
    """A cache folder and programs of its own."""

    def __init__(self, folder: Path) -> None:
        import sys

        self.folder, self.seen = folder, folder / "seen"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in (("uv", UV), ("python3.11", PYTHON)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "SEEN": str(self.seen),
            "REAL": sys.executable,
        }

    def install(self, *lines: str, **more: str) -> subprocess.CompletedProcess[str]:
        self.seen.write_text("")
        environment = {**self.environment, **more}
        return subprocess.run(
            ["bash", str(SCRIPT), *lines], capture_output=True, text=True, env=environment, check=False
        )

    def calls(self) -> list[str]:
        return [line.split()[0] + " " + line.split()[1] for line in self.seen.read_text().splitlines()]

    def place(self, line: str) -> Path:
        pins = (ROOT / "requirements" / f"pulp-{line}.txt").read_bytes()
        name = f"{line}-{hashlib.sha256(pins).hexdigest()[:12]}"
        return self.folder / ".cache" / "registry-maintain" / "test" / "pulp" / name


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_is_installed_once_by_its_hashes_and_compiled(machine: Machine) -> None:
    assert machine.install("24").returncode == 0
    asked = machine.seen.read_text()
    assert "--require-hashes --compile-bytecode" in asked
    assert "-r requirements/pulp-24.txt" in asked
    assert (machine.place("24") / ".installed").exists()

    assert machine.install("24").returncode == 0
    assert machine.calls() == ["python -c"]  # it looks whether it still runs, and that is all


def test_the_tests_find_it_where_it_was_put(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.folder / ".cache"))
    with pytest.raises(
        programs.MissingProgramError, match=r"Pulp 2\.24 is not installed; run `tools/pulp\.sh 24`"
    ):
        programs.pulp()
    machine.install("24")
    assert programs.pulp() == str(machine.place("24"))


def test_pip_does_it_where_uv_cannot(machine: Machine) -> None:
    assert machine.install("24", UV_FAILS="1").returncode == 0
    assert machine.calls()[-2:] == ["venv -m", "python -m"]
    assert "pip --disable-pip-version-check --quiet install --require-hashes" in machine.seen.read_text()
    assert (machine.place("24") / ".installed").exists()


def test_one_that_was_killed_is_made_anew(machine: Machine) -> None:
    assert machine.install("24", UV_DIES="1").returncode != 0
    assert not (machine.place("24") / ".installed").exists()
    (machine.place("24") / "half").touch()

    assert machine.install("24").returncode == 0
    assert not (machine.place("24") / "half").exists()


def test_one_that_nobody_asked_for_in_months_goes_away(machine: Machine) -> None:
    machine.install("18")
    os.utime(machine.place("18") / ".installed", (0, 0))
    machine.install("24")
    assert not machine.place("18").exists()
    assert machine.place("24").exists()


def test_a_line_that_is_not_pinned_is_named(machine: Machine) -> None:
    done = machine.install("99")
    assert done.returncode == 2
    assert "there is no requirements/pulp-99.txt" in done.stderr
    assert "pulp-24.txt" in done.stderr
    assert machine.install().returncode == 2
