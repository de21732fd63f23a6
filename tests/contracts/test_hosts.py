"""What every host promises, the real one and the one in memory."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.errors import CommandFailedError, RefusedError, RegctlError, UsageError
from ctl.hosts.base import Command, Host, JobStatus, JobTail, Look
from ctl.secret import Secret
from tests.contracts.host_kits import KITS, HostKit
from tests.support.waiting import wait_until

SECOND = timedelta(seconds=1)


@pytest.fixture(params=list(KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostKit]:
    made = KITS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def host(kit: HostKit) -> Host:
    return kit.host


def ended(host: Host, job_id: str) -> JobStatus:
    deadline = time.monotonic() + 10
    while (status := host.job(job_id)).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return status


def test_a_failing_program_is_a_result_and_not_an_error(host: Host) -> None:
    result = host.run(Command(("greet",)))
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"one\ntwo\n", b"err\n")
    assert not result.timed_out


def test_lines_arrive_one_by_one(host: Host) -> None:
    lines: list[tuple[str, str]] = []
    host.run(Command(("greet",)), lambda stream, line: lines.append((stream, line)))
    assert [line for stream, line in lines if stream == "stdout"] == ["one", "two"]
    assert [line for stream, line in lines if stream == "stderr"] == ["err"]


def test_a_last_line_without_an_end_is_a_line(host: Host) -> None:
    lines: list[str] = []
    host.run(Command(("repeat",), stdin=b"a\n\nb"), lambda _, line: lines.append(line))
    assert lines == ["a", "", "b"]


@pytest.mark.parametrize("given", [b"\0\xff bytes\n", Secret("hush")])
def test_stdin_arrives_whole(host: Host, given: bytes | Secret) -> None:
    expected = given if isinstance(given, bytes) else b"hush"
    assert host.run(Command(("repeat",), stdin=given)).stdout == expected


def test_a_missing_program_is_an_error_that_names_it(host: Host) -> None:
    with pytest.raises(CommandFailedError, match="no-such-program"):
        host.run(Command(("no-such-program",)))
    with pytest.raises(CommandFailedError, match="no-such-program"):
        host.start(Command(("no-such-program",)), "job")
    assert host.job("job").state == "absent"


@pytest.mark.parametrize("argv", [(), ("",), ("greet", "a\0b")])
def test_impossible_commands_are_refused(host: Host, argv: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        host.run(Command(argv))


def test_a_command_is_ended_when_its_time_is_up(host: Host) -> None:
    result = host.run(Command(("wait",), timeout=timedelta(seconds=0.2)))
    assert result.timed_out
    assert result.exit_code == -signal.SIGTERM
    assert result.stdout == b"waiting\n"


def test_a_job_runs_on_and_leaves_its_exit_code_and_output(host: Host) -> None:
    job = host.start(Command(("greet",)), "job-1")
    assert job.id == "job-1"
    assert ended(host, "job-1") == JobStatus("exited", 3)
    assert host.job_output("job-1", "stdout") == b"one\ntwo\n"
    assert host.job_output("job-1", "stdout", 4) == b"two\n"
    assert host.job_output("job-1", "stdout", 1, 3) == b"ne\n"
    assert host.job_output("job-1", "stdout", 4, 100) == b"two\n"
    assert host.job_output("job-1", "stderr") == b"err\n"


def test_a_jobs_output_can_go_to_a_log_that_grows(kit: HostKit) -> None:
    log = f"{kit.root}/service.log"
    for name in ("first", "second"):
        kit.host.start(Command(("repeat",), stdin=f"{name}\n".encode()), name, log=log)
        ended(kit.host, name)
    assert kit.host.read(log) == b"first\nsecond\n"
    assert kit.host.job_output("first", "stdout") == b""


def test_the_same_id_is_never_started_twice(host: Host) -> None:
    first = host.start(Command(("wait",)), "job")
    assert host.start(Command(("wait",)), "job") == first
    with pytest.raises(RefusedError, match="another command"):
        host.start(Command(("greet",)), "job")
    host.kill_job("job", SECOND)
    again = host.start(Command(("wait",)), "job")  # dead by now: still the same job
    assert again.process.pid == first.process.pid
    assert host.job("job").state == "exited"


def test_a_running_job_is_found_by_its_process(host: Host) -> None:
    job = host.start(Command(("wait",)), "job")
    status = host.job("job")
    assert status.state == "running"
    assert status.process == job.process
    assert host.process(job.process.pid) == job.process
    assert job.process in list(host.processes())


@pytest.mark.parametrize(
    ("program", "grace", "number"),
    [("wait", 5.0, signal.SIGTERM), ("stubborn", 0.1, signal.SIGKILL), ("wait", 0.0, signal.SIGKILL)],
)
def test_a_killed_job_is_proved_dead(host: Host, program: str, grace: float, number: int) -> None:
    process = host.start(Command((program,)), "job").process
    wait_until(lambda: host.job_output("job", "stdout"), what="the program to set its trap")
    host.kill_job("job", timedelta(seconds=grace))
    assert host.job("job") == JobStatus("exited", -number)
    assert host.process(process.pid) != process


def test_killing_what_is_over_or_was_never_there_does_nothing(host: Host) -> None:
    host.start(Command(("greet",)), "job")
    ended(host, "job")
    host.kill_job("job", SECOND)
    host.kill_job("never", SECOND)
    assert host.job("job") == JobStatus("exited", 3)
    assert host.job("never") == JobStatus("absent")


def test_a_job_without_a_trace_of_a_start_is_unknown_until_it_is_killed(kit: HostKit) -> None:
    kit.claim_only("job")
    assert kit.host.job("job") == JobStatus("unknown")
    with pytest.raises(RefusedError):
        kit.host.start(Command(("greet",)), "job")
    with pytest.raises(RefusedError):
        kit.host.forget_job("job")
    kit.host.kill_job("job", SECOND)
    assert kit.host.job("job") == JobStatus("lost")
    kit.host.forget_job("job")
    assert kit.host.job("job") == JobStatus("absent")


def test_a_job_that_died_with_its_supervisor_is_lost(kit: HostKit) -> None:
    kit.host.start(Command(("wait",)), "job")
    kit.lose("job")
    assert ended(kit.host, "job") == JobStatus("lost")


def test_a_running_job_is_not_forgotten(host: Host) -> None:
    host.start(Command(("wait",)), "job")
    with pytest.raises(RefusedError):
        host.forget_job("job")
    host.kill_job("job", SECOND)
    host.forget_job("job")
    host.forget_job("job")
    assert host.job("job").state == "absent"
    assert host.job_output("job", "stdout") == b""


def test_a_path_is_described_and_read_in_one_go(kit: HostKit) -> None:
    path = f"{kit.root}/file"
    assert kit.host.look(path, 10) is None
    kit.host.write(path, b"a\n\0b\n", mode=0o640)
    info = kit.host.stat(path)
    assert info is not None
    assert kit.host.look(path, 5) == Look(info, b"a\n\0b\n")
    assert kit.host.look(path, 4) == Look(info, None)
    kit.host.write(path, b"", mode=0o640)
    assert getattr(kit.host.look(path, 0), "data", None) == b""
    assert getattr(kit.host.look(kit.root, 10), "data", b"") is None


def test_a_job_is_run_and_waited_for_at_once(host: Host) -> None:
    tail = host.run_job(Command(("greet",)), "job", 10 * SECOND, 100)
    assert tail == JobTail(JobStatus("exited", 3), b"one\ntwo\n", b"err\n", 8, 4)
    assert host.run_job(Command(("greet",)), "job", SECOND, 100) == tail
    assert host.wait_job("job", SECOND, 100) == tail
    with pytest.raises(RefusedError, match="another command"):
        host.run_job(Command(("wait",)), "job", SECOND, 100)


def test_of_much_output_the_last_bytes_come_with_the_end(host: Host) -> None:
    tail = host.run_job(
        Command(("repeat",), stdin=b"".join(b"%05d\n" % n for n in range(2000))), "job", 10 * SECOND, 7
    )
    assert (tail.stdout, tail.stdout_bytes) == (b"\n01999\n", 12000)
    assert (tail.stderr, tail.stderr_bytes) == (b"", 0)
    assert host.wait_job("job", SECOND, 0).stdout == b""


def test_who_waits_for_a_job_waits_no_longer_than_he_wants(host: Host) -> None:
    began = time.monotonic()
    assert host.run_job(Command(("wait",)), "job", SECOND / 5, 100).status.state in ("running", "unknown")
    assert host.wait_job("job", SECOND / 5, 100).status.state == "running"
    assert time.monotonic() - began < 5
    host.kill_job("job", SECOND)
    assert host.wait_job("job", SECOND, 0).status == JobStatus("exited", -signal.SIGTERM)
    assert host.wait_job("never", 5 * SECOND, 0).status == JobStatus("absent")


def test_waiting_for_what_never_starts_says_so(kit: HostKit) -> None:
    kit.claim_only("job")
    assert kit.host.wait_job("job", SECOND / 5, 100).status == JobStatus("unknown")
    with pytest.raises(RefusedError):
        kit.host.run_job(Command(("greet",)), "job", SECOND, 100)
    kit.host.start(Command(("wait",)), "other")
    kit.lose("other")
    assert kit.host.wait_job("other", 10 * SECOND, 100).status == JobStatus("lost")


@pytest.mark.parametrize("job_id", ["", "..", "a/b", ".hidden", "a\nb", "x" * 129])
def test_an_id_that_could_leave_the_folder_is_refused(host: Host, job_id: str) -> None:
    for use in (host.job, host.forget_job):
        with pytest.raises(UsageError):
            use(job_id)
    with pytest.raises(UsageError):
        host.start(Command(("greet",)), job_id)


def test_a_file_is_written_described_and_removed(kit: HostKit) -> None:
    path = f"{kit.root}/config.yml"
    assert kit.host.stat(path) is None
    kit.host.write(path, b"one", mode=0o640)
    found = kit.host.stat(path)
    assert found is not None
    assert (found.kind, found.size, found.mode) == ("file", 3, 0o640)
    kit.host.write(path, b"twofold", mode=0o600)
    assert kit.host.read(path) == b"twofold"
    assert kit.host.list_directory(kit.root) == ["config.yml"]
    kit.host.remove(path)
    kit.host.remove(path)
    assert kit.host.stat(path) is None


def test_what_is_not_there_cannot_be_read_or_listed(kit: HostKit) -> None:
    for use in (kit.host.read, kit.host.list_directory):
        with pytest.raises(FileNotFoundError):
            use(f"{kit.root}/nothing")
    with pytest.raises(RegctlError, match="nothing/here"):
        kit.host.write(f"{kit.root}/nothing/here", b"", mode=0o600)


def test_a_directory_is_not_taken_for_a_file(kit: HostKit) -> None:
    folder = f"{kit.root}/a/b"
    kit.host.make_directory(folder, mode=0o750)
    kit.host.make_directory(folder, mode=0o700)  # there already: left as it is
    found = kit.host.stat(folder)
    assert found is not None
    assert (found.kind, found.mode) == ("directory", 0o750)
    for use in (kit.host.read, kit.host.remove):
        with pytest.raises(RegctlError):
            use(folder)
    with pytest.raises(RefusedError):
        kit.host.write(folder, b"", mode=0o600)
    kit.host.write(f"{kit.root}/file", b"", mode=0o600)
    with pytest.raises(RegctlError):
        kit.host.make_directory(f"{kit.root}/file", mode=0o700)
    with pytest.raises(RegctlError):
        kit.host.list_directory(f"{kit.root}/file")


def test_a_signal_reaches_exactly_the_process_meant(host: Host) -> None:
    process = host.start(Command(("wait",)), "job").process
    successor = dataclasses.replace(process, start_time=process.start_time + 1)
    rebooted = dataclasses.replace(process, boot_id="another-boot")
    for other in (successor, rebooted):
        assert not host.signal(other, signal.SIGKILL)
        assert host.job("job").state == "running"
    assert host.signal(process, signal.SIGTERM)
    assert ended(host, "job") == JobStatus("exited", -signal.SIGTERM)
    assert not host.signal(process, signal.SIGTERM)
