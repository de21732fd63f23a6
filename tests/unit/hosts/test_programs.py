"""Programs get exactly their arguments and a scrubbed environment, and never outstay their time."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.errors import CommandFailedError, RefusedError, UsageError
from ctl.hosts import programs
from ctl.hosts.base import Command
from ctl.hosts.local import LocalHost
from ctl.secret import Secret

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
PRINT = ("/usr/bin/printf", r"%s\0")
NASTY = ("$(id)", "`id`", "'", '"', "\\", "\n", "\r", "\t", ";", "&", "|", "*", "?", "~", "!", "#", "%s",
         "-", "--", "-rf", "=", " ", "\x1b[2J", "é", "\u202e", "\U0001f980", "\udc80", "\udcff", "$IFS",
         "${HOME}", ">", "<", "(", ")", "{a,b}", "\x7f")  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    return LocalHost("local", str(tmp_path / "jobs"))


def hostile(count: int, seed: int) -> Iterator[str]:
    """Make arguments out of what shells, terminals and decoders trip over; none is like another."""
    dice = random.Random(seed)
    for number in range(count):
        yield "".join(dice.choices(NASTY, k=dice.randrange(0, 8))) + ("" if number % 50 == 0 else str(number))


def printed(stdout: bytes) -> list[str]:
    return [os.fsdecode(part) for part in stdout.split(b"\0")[:-1]]


def test_twenty_thousand_hostile_arguments_arrive_byte_for_byte(host: LocalHost) -> None:
    arguments = list(hostile(24_000, 2026))
    for at in range(0, len(arguments), 2_000):
        batch = arguments[at : at + 2_000]
        assert printed(host.run(Command((*PRINT, *batch))).stdout) == batch


def test_hostile_arguments_reach_a_job_too(host: LocalHost) -> None:
    batch = list(hostile(2_000, 7))
    host.start(Command((*PRINT, *batch)), "job")
    deadline = time.monotonic() + 10
    while host.job("job").state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert printed(host.job_output("job", "stdout")) == batch


def test_such_arguments_break_where_a_shell_line_is_pasted() -> None:
    """Positive control, with harmless ones of the same kinds."""
    batch = ["two words", "$HOME", "a;echo b", "'quoted'", "*"]
    line = f"{shlex.join(PRINT)} {' '.join(batch)}"
    pasted = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=False, cwd="/")
    assert printed(pasted.stdout) != batch


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=20))
def test_any_text_arrives(texts: list[str]) -> None:
    prepared = programs.prepare(Command((*PRINT, "", *texts)), "local")
    assert printed(programs.run(prepared, "local", None, None).stdout) == ["", *texts]


def test_the_environment_holds_nothing_of_ours(host: LocalHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGISTRY_HTTP_SECRET", "PGPASSWORD", "LD_PRELOAD_NOT", "PATH"):
        monkeypatch.setenv(name, f"{os.environ.get(name, '')}:/canary")
    command = Command(("/usr/bin/env",), env={"REGISTRY_LOG_LEVEL": "debug"})
    host.start(command, "job")
    run = host.run(command).stdout.decode().splitlines()
    assert sorted(run) == sorted(
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            f"HOME={os.path.expanduser('~')}",
            "REGISTRY_LOG_LEVEL=debug",
        ]
    )
    deadline = time.monotonic() + 10
    while host.job("job").state == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(host.job_output("job", "stdout").decode().splitlines()) == sorted(run)


def leaks(canary: bytes) -> list[str]:
    """Name every file below /proc/*/ that shows the canary in a command line or an environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                if canary in Path(f"/proc/{pid}/{name}").read_bytes():
                    found.append(f"{pid}/{name}")
            except OSError:
                continue
    return found


@pytest.mark.parametrize("how", ["run", "start"])
def test_a_secret_on_stdin_shows_in_no_process(host: LocalHost, how: str) -> None:
    canary = f"canary-{random.SystemRandom().getrandbits(64):x}"
    command = Command(("/bin/sh", "-c", "cat >/dev/null; echo read; sleep 0.3"), stdin=Secret(canary))
    seen: list[str] = []
    if how == "run":
        host.run(command, lambda _stream, _line: seen.extend(leaks(canary.encode())))
    else:
        host.start(command, "job")
        seen += leaks(canary.encode())
        host.kill_job("job", timedelta(0))
        on_disk = [path for path in Path(host._jobs.folder).rglob("*") if path.is_file()]
        assert on_disk
        assert not [path for path in on_disk if canary.encode() in path.read_bytes()]
    assert seen == []


def test_the_search_for_leaks_finds_one(host: LocalHost) -> None:
    canary = f"canary-{random.SystemRandom().getrandbits(64):x}"
    seen: list[str] = []
    command = Command(("/bin/sh", "-c", "echo go; sleep 0.3"), env={"TOKEN": canary})
    host.run(command, lambda _stream, _line: seen.extend(leaks(canary.encode())))
    assert len(seen) > 0


@needs_root
def test_a_command_runs_as_its_user_with_that_users_groups_and_home(host: LocalHost) -> None:
    command = Command(("/bin/sh", "-c", "id -un; id -Gn; echo $HOME; umask; pwd"), user="nobody")
    expected = b"nobody\nnogroup\n/nonexistent\n0022\n/\n"
    assert host.run(command).stdout == expected
    process = host.start(Command(("sleep", "30"), user="nobody"), "job").process
    assert process.user == "nobody"
    host.kill_job("job", timedelta(seconds=5))


def test_an_unknown_user_and_one_that_we_cannot_become_are_refused(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no-such-user"):
        host.run(Command(("true",), user="no-such-user"))
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(RefusedError, match="only root"):
        host.run(Command(("true",), user="nobody"))


@pytest.mark.parametrize("content", ["not a program", ""])
def test_a_file_that_is_no_program_is_told_as_such(host: LocalHost, tmp_path: Path, content: str) -> None:
    path = tmp_path / "thing"
    path.write_text(content)
    with pytest.raises(CommandFailedError, match="thing"):
        host.run(Command((str(path),)))
    path.chmod(0o755)
    with pytest.raises(CommandFailedError, match="Exec format"):
        host.run(Command((str(path),)))
    with pytest.raises(CommandFailedError, match="Exec format"):
        host.start(Command((str(path),)), "job")
    assert host.job("job").exit_code == 127


def test_a_group_that_ignores_term_is_killed_with_its_children(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TERM_GRACE", 0.2)
    marker = f"{random.SystemRandom().randrange(10**8, 10**9)}"
    script = f"trap '' TERM; sleep 1{marker} & echo $!; sleep 1{marker}; :"
    result = host.run(Command(("/bin/sh", "-c", script), timeout=timedelta(seconds=0.3)))
    assert (result.timed_out, result.exit_code) == (True, -signal.SIGKILL)
    assert not leaks(f"1{marker}".encode())


def test_a_child_that_holds_the_pipe_does_not_hold_us(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "LINGER", 0.2)
    result = host.run(Command(("/bin/sh", "-c", "echo before; sleep 4 & exit 0")))
    assert (result.exit_code, result.stdout) == (0, b"before\n")
    assert result.seconds < 3


def test_output_is_kept_whole_up_to_a_limit_and_never_beyond(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Command(("/usr/bin/head", "-c", "8000000", "/dev/zero"))
    assert len(host.run(many).stdout) == 8_000_000
    monkeypatch.setattr(programs, "OUTPUT_LIMIT", 1_000_000)
    with pytest.raises(CommandFailedError, match="printed more than"):
        host.run(many)


def test_a_sink_that_fails_ends_the_program(host: LocalHost) -> None:
    def refuse(_stream: str, _line: str) -> None:
        raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        host.run(Command(("/bin/sh", "-c", "echo now; exec sleep 30")), refuse)
    assert time.monotonic() - began < 5


def test_ctrl_c_does_not_reach_the_program_but_ends_it(host: LocalHost) -> None:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    ended: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        host.run(
            Command(
                ("/bin/sh", "-c", "trap 'echo int; exit' INT; trap 'exit 9' TERM; echo up; sleep 30 & wait")
            ),
            lambda _stream, line: ended.append(line),
        )
    timer.join()
    assert ended == ["up"]
