"""The installed command in a shell's hands: pipes, terminals, locales, completion."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctl import listing
from tests.support.site import Done
from tests.support.waiting import clean_environment

SCRIPTS = Path(sys.executable).parent
REGCTL = str(SCRIPTS / "regctl")
ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**clean_environment(), "REGCTL_SITE": str(folder / "site.yml"), **more}


def regctl(folder: Path, *arguments: str, program: str = REGCTL, **more: str) -> Done:
    done = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(folder, **more),
        cwd=folder,
        timeout=60,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("program", ["regctl", "registry-maintain"])
def test_it_is_installed_under_both_names(program: str, tmp_path: Path) -> None:
    done = regctl(tmp_path, "version", program=str(SCRIPTS / program))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == f"registry-maintain {listing.own_version()} (regctl)"


def test_a_module_call_is_the_same(tmp_path: Path) -> None:
    ours = regctl(tmp_path, "--help").stdout
    module = subprocess.run(
        [sys.executable, "-m", "ctl", "--help"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        cwd=ROOT,
    )
    assert module.stdout == ours


@pytest.mark.parametrize("name", sorted(listing.commands()))
def test_every_command_explains_itself(name: str, tmp_path: Path) -> None:
    done = regctl(tmp_path, name, "-h")
    assert done.exit_code == 0, str(done)
    assert done.stdout.startswith(f"Usage: regctl {name} ")
    assert done.stderr == ""
    assert "--output" in done.stdout, "the global options are mentioned"


LOCALES = [
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONIOENCODING": "ascii"},
    {"LANG": "tr_TR.UTF-8", "LANGUAGE": "tr:de", "COLUMNS": "30", "TERM": "dumb"},
    {"LC_ALL": "C.UTF-8", "COLUMNS": "300", "TERM": "xterm-256color", "TZ": "Asia/Kathmandu"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: next(iter(locale.values())))
def test_no_locale_and_no_width_changes_what_is_said(locale: dict[str, str], tmp_path: Path) -> None:
    plain = regctl(tmp_path, "version", "-v")
    assert regctl(tmp_path, "version", "-v", **locale) == plain
    wrong = regctl(tmp_path, "gc", "--größe", "--output", "json", **locale)
    assert wrong.exit_code == 2
    assert wrong.json["result"] == "usage"
    assert "Traceback" not in wrong.stderr


def test_bytes_that_are_no_text_are_spelt_out(tmp_path: Path) -> None:
    done = subprocess.run([REGCTL, b"\xff\x1b[2J"], capture_output=True, env=environment(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == rb"regctl: no such command: regctl \udcff\x1b[2J"


@pytest.mark.parametrize("line", ["--help", "version", "plugin list", "--output jsonl plugin list"])
def test_a_reader_that_stops_reading_is_no_error(line: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [REGCTL, *line.split()], stdout=write, stderr=subprocess.PIPE, env=environment(tmp_path), timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("line", ["version", "--help", "--output json plugin list"])
def test_closed_streams_are_no_crash(line: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {REGCTL} {line} <&- >&- 2>&-"], env=environment(tmp_path), timeout=60
    )
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [REGCTL, "version", "--output", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            timeout=60,
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_regclients_settings_are_not_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".regctl").mkdir(parents=True)
    (home / ".regctl" / "config.json").write_text("{")
    done = regctl(tmp_path, "status", REGCTL_CONFIG=str(home / ".regctl" / "config.json"), HOME=str(home))
    assert done.exit_code == 10
    assert f"there is no site file at {tmp_path}/site.yml" in done.stderr
    assert "regctl init" in done.stderr


def test_the_site_is_found_by_option_before_variable(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yml").write_text(f"version: 1\n{name}: 1\n")
    done = regctl(
        tmp_path, "status", "--site", str(tmp_path / "one.yml"), REGCTL_SITE=str(tmp_path / "two.yml")
    )
    assert "one.yml:2:1" in done.stderr
    assert "two.yml" not in done.stderr


def complete(folder: Path, line: str, *, shell: str = "bash") -> list[str]:
    words = line.split(" ")
    done = regctl(
        folder,
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        _REGCTL_COMPLETE=f"{shell}_complete",
    )
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.splitlines()]


def test_words_are_completed(tmp_path: Path) -> None:
    assert complete(tmp_path, "regctl gar") == ["garbage-collect"]
    assert complete(tmp_path, "regctl plugin l") == ["list"]
    assert complete(tmp_path, "regctl completion z") == ["zsh"]
    assert "--read-only" in complete(tmp_path, "regctl gc --read")
    assert complete(tmp_path, "regctl gc --dry") == ["--dry-run"]
    assert complete(tmp_path, "regctl gc --output js") == ["json", "jsonl"]
    assert set(complete(tmp_path, "regctl ")) == set(listing.commands())


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = regctl(tmp_path, "completion", "bash").stdout
    (tmp_path / "regctl.bash").write_text(script)
    done = subprocess.run(
        [
            "bash",
            "--norc",
            "-c",
            "source regctl.bash; COMP_WORDS=(regctl stat); COMP_CWORD=1; "
            '_regctl_completion regctl; echo "${COMPREPLY[@]}"; complete -p regctl registry-maintain',
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment(tmp_path), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "status"
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell: str, tmp_path: Path) -> None:
    done = regctl(tmp_path, "completion", shell, "--output", "json")
    assert done.json["script"].count("_REGCTL_COMPLETE") >= 1
    assert f"{shell}_complete" in done.json["script"]


QUESTION = """
import sys
from ctl import listing, root
import click
from ctl.context import pass_context
from ctl.recipes.model import Do, Preview, Recipe, Step, StepReport
from ctl.report.events import Progress

class Tick(Step):
    def title(self): return "tick"
    def apply(self, here, before):
        for n in range(3):
            here.run.emit(Progress("ticking", n, 3, "ticks", 1.0, 3.0 - n))
        return StepReport()

@click.command()
@pass_context
def tick(context):
    report = context.run(Recipe("tick", (Do(Tick()),), ("registry/main",), question="Tick now?"))
    from ctl.report.model import Report, Table
    context.show(Report("tick", report.outcome, {}, (Table(("a", "b"), (("1", "2"),)),)))

load = root.load
sys.modules["ticking"] = sys.modules["__main__"]
root.load = lambda point: tick if point.name == "version" else load(point)
from ctl.cli import run
raise SystemExit(run(sys.argv[1:]))
"""
SITE = """\
version: 1
hosts: {here: {}}
registries:
  main:
    engine: distribution
    storage: {filesystem: {rootdirectory: /nowhere}}
    nodes:
      - {host: here, binary: /bin/true, config_file: /nowhere.yml, url: "http://127.0.0.1:9",
         service: {kind: process, name: x}}
"""


def on_a_terminal(folder: Path, answer: bytes) -> tuple[int, str]:
    """Run a command that asks a question on a terminal of its own, and answer it."""
    (folder / "site.yml").write_text(SITE)
    (folder / "ticking.py").write_text(QUESTION)
    variables = environment(
        folder, TERM="xterm", REGCTL_STATE_DIR=str(folder / "state"), PYTHONPATH=str(ROOT)
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "ticking.py", "version"], variables)
    shown, answered, deadline = b"", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
            if b"[y/N]" in shown and not answered:
                os.write(terminal, answer)
                answered = True
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_a_question_is_asked_on_the_terminal(tmp_path: Path) -> None:
    code, shown = on_a_terminal(tmp_path, b"y\n")
    assert code == 0, shown
    assert shown.index("- tick") < shown.index("Tick now? [y/N]"), (
        "what would change stands before the question"
    )
    assert "\x1b[K" in shown, "progress is drawn on the line"
    assert "tick: changed" in shown
    assert len(list((tmp_path / "state" / "runs").iterdir())) == 1


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"yess\n", b"\x04"])
def test_anything_but_yes_is_a_no(answer: bytes, tmp_path: Path) -> None:
    code, shown = on_a_terminal(tmp_path, answer)
    assert code == 130, shown
    assert "nothing was changed" in shown
    assert not (tmp_path / "state").exists()


def test_ctrl_c_at_the_question(tmp_path: Path) -> None:
    code, shown = on_a_terminal(tmp_path, b"\x03")
    assert code == 130
    assert "Traceback" not in shown
    assert not (tmp_path / "state").exists()


def test_json_lines_are_lines_of_json(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(SITE)
    (tmp_path / "ticking.py").write_text(QUESTION)
    done = regctl(
        tmp_path,
        "ticking.py",
        "version",
        "--yes",
        "--output",
        "jsonl",
        program=sys.executable,
        REGCTL_STATE_DIR=str(tmp_path / "state"),
        PYTHONPATH=str(ROOT),
    )
    assert done.exit_code == 0, str(done)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("event") for line in lines] == [
        "planned",
        "step-started",
        *["progress"] * 3,
        "step-ended",
        None,
    ]
    assert lines[-1] == {"schema": "regctl/tick/1", "result": "changed"}
