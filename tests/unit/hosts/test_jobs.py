"""A job is started once, outlives its controller, and is found again or proved dead."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.errors import RefusedError, RegctlError
from ctl.hosts import jobs, processes, supervisor
from ctl.hosts.base import Command, JobState, JobStatus
from ctl.hosts.local import LocalHost
from tests.support.waiting import wait_until

SECOND = timedelta(seconds=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def host(folder: Path) -> Iterator[LocalHost]:
    made = LocalHost("local", str(folder))
    yield made
    for job in folder.iterdir() if folder.is_dir() else ():
        with suppress(RegctlError):
            made.kill_job(job.name, timedelta(0))


def shell(text: str, *arguments: str) -> Command:
    return Command(("/bin/sh", "-c", text, "sh", *arguments))


def record(folder: Path, job_id: str) -> dict[str, int]:
    found: dict[str, int] = json.loads((folder / job_id / supervisor.RECORD).read_text())
    return found


def as_controller(host: LocalHost, command: Command, job_id: str) -> int:
    """Fork a controller that starts the job and then waits; return its pid."""
    child = os.fork()
    if child == 0:
        try:
            host.start(command, job_id)
            time.sleep(30)
        finally:
            os._exit(0)
    return child


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_job_outlives_a_killed_controller_and_is_found_again(host: LocalHost, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = shell('echo started; while [ ! -e "$1" ]; do sleep 0.02; done; echo over; exit 5', str(gate))
    controller = as_controller(host, command, "job")
    wait_until(lambda: host.job_output("job", "stdout"), what="the job's first line")
    before = host.job("job")
    kill(controller)
    again = LocalHost("local", str(tmp_path / "jobs"))  # another regctl, later
    assert again.job("job") == before
    assert before.state == "running"
    gate.touch()
    wait_until(lambda: again.job("job").state != "running", what="the job's end")
    assert again.job("job") == JobStatus("exited", 5)
    assert again.job_output("job", "stdout") == b"started\nover\n"


def test_a_terminal_that_hangs_up_does_not_reach_the_job(host: LocalHost) -> None:
    process = host.start(shell("sleep 30"), "job").process
    session = processes.stat(process.pid)
    assert session is not None
    assert session.session != os.getsid(0)
    assert session.group == process.pid
    os.kill(session.session, signal.SIGHUP)  # the supervisor stays
    os.kill(session.session, signal.SIGTERM)
    host.kill_job("job", timedelta(0))
    assert host.job("job") == JobStatus("exited", -9)


def test_killed_at_any_moment_of_a_start_a_job_ran_once_or_never(host: LocalHost, tmp_path: Path) -> None:
    """Kill the controller at 40 moments; then whatever the state, the job is settled and ran at most once."""
    states: list[JobState] = []
    ran = tmp_path / "ran"
    ran.mkdir()
    moments = [random.Random(5).uniform(0, 0.06) for _ in range(38)] + [0.0, 0.5]
    for number, moment in enumerate(moments):
        name = f"job-{number}"
        controller = as_controller(host, shell('echo x >>"$1"; sleep 30', str(ran / name)), name)
        time.sleep(moment)
        kill(controller)
        state = host.job(name).state
        states.append(state)
        if state == "absent":
            continue
        if state == "unknown":
            with pytest.raises(RefusedError):
                host.start(shell("true"), name)
        host.kill_job(name, SECOND)
        assert host.job(name).state in ("exited", "lost")
    time.sleep(0.1)  # for any that should never have started
    for number, state in enumerate(states):
        marker = ran / f"job-{number}"
        times = len(marker.read_text().splitlines()) if marker.exists() else 0
        assert times <= 1
        if state == "absent":
            assert times == 0
    assert {"running"} < set(states), "some kills must land before the start was over"


def test_the_gate_stays_shut_without_a_record(host: LocalHost, folder: Path, tmp_path: Path) -> None:
    """A tombstone in the record's place: the supervisor must not let the program run."""
    marker = tmp_path / "ran"
    real = supervisor.RECORD
    claim = jobs.Jobs.__dict__["_claim"]

    def claim_and_bury(self: jobs.Jobs, path: str, digest: str) -> bool:
        made: bool = claim(self, path, digest)
        self._bury(path)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.Jobs, "_claim", claim_and_bury)
        with pytest.raises(RegctlError, match="given up"):
            host.start(shell('touch "$1"', str(marker)), "job")
    assert (folder / "job" / real).exists()
    assert host.job("job") == JobStatus("lost")
    time.sleep(0.2)
    assert not marker.exists()
    host.start(shell('touch "$1"', str(marker)), "control")
    wait_until(marker.exists, what="the same program without a tombstone")


def test_a_program_whose_supervisor_was_killed_is_still_known_and_lost_in_the_end(
    host: LocalHost, folder: Path
) -> None:
    process = host.start(shell("sleep 30"), "job").process
    os.kill(record(folder, "job")["supervisor_pid"], signal.SIGKILL)
    assert host.job("job") == JobStatus("running", process=process)
    host.kill_job("job", SECOND)
    assert host.process(process.pid) != process
    assert host.job("job") == JobStatus("lost")


@pytest.mark.parametrize("orphaned", [False, True])
def test_what_a_job_left_in_its_session_is_killed_too(
    host: LocalHost, folder: Path, tmp_path: Path, orphaned: bool
) -> None:
    pids = tmp_path / "pids"
    command = shell(
        'trap "" TERM; sleep 61 & echo $! >>"$1"; (sleep 62 & echo $! >>"$1"); sleep 0.1', str(pids)
    )
    host.start(command, "job")
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, what="the children")
    if orphaned:
        os.kill(record(folder, "job")["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: host.job("job").state != "running", what="the job's end")
    children = [int(pid) for pid in pids.read_text().split()]
    assert all(host.process(pid) for pid in children)
    host.kill_job("job", timedelta(seconds=0.1))
    assert not any(host.process(pid) for pid in children)
    assert host.job("job").state == ("lost" if orphaned else "exited")


@pytest.mark.parametrize("key", ["boot_id", "start_time"])
def test_after_a_reboot_or_with_a_reused_pid_a_job_is_lost_and_nobody_is_harmed(
    host: LocalHost, folder: Path, key: str
) -> None:
    process = host.start(shell("sleep 30"), "job").process
    path = folder / "job" / supervisor.RECORD
    true = json.loads(path.read_text())
    false = dict(true)
    if key == "boot_id":
        false["boot_id"] = "another boot"
    else:
        false |= {"start_time": 1, "supervisor_start_time": 2**60}
    path.write_text(json.dumps(false))
    assert host.job("job") == JobStatus("lost")
    host.kill_job("job", SECOND)
    assert host.process(process.pid) == process
    path.write_text(json.dumps(true))
    assert host.job("job").state == "running"
    host.kill_job("job", SECOND)


def test_a_full_disk_at_the_end_only_delays_the_exit_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    attempts: list[str] = []
    publish = supervisor.publish

    def full_twice(place: str, name: str, value: dict[str, object], *, exclusive: bool) -> None:
        attempts.append(name)
        if len(attempts) < 3:
            raise OSError(28, "No space left on device")
        publish(place, name, value, exclusive=exclusive)

    monkeypatch.setattr(supervisor, "publish", full_twice)
    monkeypatch.setattr(supervisor, "_RETRY", 0.01)
    supervisor._finish(str(folder), {"exit_code": 4})
    assert json.loads((folder / supervisor.EXIT).read_text()) == {"exit_code": 4}
    assert os.listdir(folder) == [supervisor.EXIT]


@pytest.mark.parametrize("name", [supervisor.EXIT, supervisor.RECORD])
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"exit_code": "x", "pid": 1}', ""])
def test_a_damaged_record_is_an_error_and_not_a_guess(
    host: LocalHost, folder: Path, name: str, text: str
) -> None:
    host.start(shell("exit 0"), "job")
    wait_until(lambda: host.job("job").state == "exited", what="the job's end")
    (folder / "job" / name).write_text(text)
    with pytest.raises(RegctlError, match=name.replace(".", r"\.")):
        host.job("job")
    (folder / "job" / name).unlink()


def test_what_a_killed_forget_left_goes_with_the_next_start(host: LocalHost, folder: Path) -> None:
    (folder / ".forgotten-1").mkdir(parents=True)
    (folder / ".forgotten-1" / "stdout").touch()
    host.start(shell("exit 0"), "job")
    assert os.listdir(folder) == ["job"]


def test_jobs_are_private(host: LocalHost, folder: Path) -> None:
    host.start(shell("echo x"), "job")
    wait_until(lambda: host.job("job").state == "exited", what="the job's end")
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


RECORDING = "        publish(folder, RECORD, record, exclusive=True)\n"
OPENING = '    os.write(opener, b"g")\n'


def killed_while_recording(host: LocalHost, tmp_path: Path, source: str, patience: float) -> bool:
    """Kill a supervisor (made from `source`) just before it records its job; say whether the program ran."""
    program = tmp_path / "slow_supervisor.py"
    program.write_text(source)
    marker = tmp_path / "ran"
    controller = os.fork()
    if controller == 0:
        try:
            supervisor.__file__ = str(program)
            host.start(shell('touch "$1"; sleep 30', str(marker)), "job")
        finally:
            os._exit(0)
    needle = os.fsencode(program)

    def supervisors() -> list[int]:
        found = [item for item in processes.processes() if needle.decode() in item.argv]
        return [item.pid for item in found if (tmp_path / "waits").exists() and item.pid == session(item.pid)]

    wait_until(supervisors, what="the supervisor at its record")
    for pid in supervisors():
        os.kill(pid, signal.SIGKILL)
    os.waitpid(controller, 0)
    assert host.job("job").state == "unknown"
    deadline = time.monotonic() + patience  # for a program that was let go too early
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return marker.exists()


def session(pid: int) -> int:
    found = processes.stat(pid)
    return found.session if found else 0


def slow(tmp_path: Path, source: str) -> str:
    pause = f"        open({str(tmp_path / 'waits')!r}, 'w').close(); time.sleep(30)\n"
    assert source.count(RECORDING) == 1
    return source.replace(RECORDING, pause + RECORDING)


def test_no_program_runs_that_nobody_could_find(host: LocalHost, tmp_path: Path) -> None:
    source = Path(supervisor.__file__).read_text()
    assert not killed_while_recording(host, tmp_path, slow(tmp_path, source), patience=0.3)


def test_a_supervisor_that_opens_the_gate_first_is_caught(host: LocalHost, tmp_path: Path) -> None:
    """Positive control: the usual order, start and then record, leaves a program that nobody knows."""
    source = Path(supervisor.__file__).read_text()
    assert source.count(OPENING) == 1
    careless = source.replace(OPENING, "").replace(
        "    try:\n" + RECORDING, OPENING + "    try:\n" + RECORDING
    )
    assert OPENING in careless
    try:
        assert killed_while_recording(host, tmp_path, slow(tmp_path, careless), patience=10)
    finally:
        for item in list(processes.processes()):
            if str(tmp_path / "ran") in item.argv:
                host.signal(item, signal.SIGKILL)
