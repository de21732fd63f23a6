"""Who lives is read from /proc without being fooled by names, zombies or reused pids."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ctl.errors import RefusedError
from ctl.hosts import processes
from tests.support.waiting import free_port, stop_process, wait_until


@pytest.mark.parametrize("name", [b"sleep", b"a b", b") Z 1 (", b"((", b"x) R 1 2 3 (y)"])
def test_a_name_cannot_pretend_to_be_the_fields_after_it(name: bytes) -> None:
    fields = b" ".join(str(number).encode() for number in range(4, 53))
    found = processes.parse_stat(77, b"77 (" + name + b") S " + fields + b"\n")
    assert found == processes.Stat(pid=77, alive=True, group=5, session=6, start_time=22)


def test_a_process_with_a_lying_name_is_described_rightly(tmp_path: Path) -> None:
    program = tmp_path / ") Z 1 (y"
    shutil.copy("/bin/sleep", program)
    child = subprocess.Popen([program, "30"])
    try:
        wait_until(lambda: processes.process(child.pid), what="the process")
        found = processes.process(child.pid)
        assert found is not None
        assert found.argv == (str(program), "30")
        assert found.executable == str(program)
        program.unlink()  # as an upgrade does
        again = processes.process(child.pid)
        assert again is not None
        assert again.executable == str(program)
        assert again == found
    finally:
        stop_process(child)


def test_a_zombie_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        wait_until(lambda: b") Z " in Path(f"/proc/{child}/stat").read_bytes(), what="a zombie")
        found = processes.stat(child)
        assert found is not None
        assert not found.alive
        assert processes.process(child) is None
        assert not processes.is_alive(child, found.start_time, processes.boot_id())
        assert not processes.send(child, found.start_time, processes.boot_id(), 0)
    finally:
        os.waitpid(child, 0)
    assert processes.process(child) is None


def test_we_ourselves_are_described() -> None:
    found = processes.process(os.getpid())
    assert found is not None
    assert found.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found in list(processes.processes())
    started = Path("/proc/stat").read_text().split("btime ")[1].split()[0]
    assert float(started) + found.start_time / 100 == pytest.approx(time.time(), abs=3600)


def test_a_group_is_signalled_only_through_its_leader() -> None:
    child = subprocess.Popen(["sleep", "30"], process_group=0)
    follower = subprocess.Popen(["sleep", "30"], process_group=child.pid)
    boot = processes.boot_id()
    try:
        found = processes.stat(follower.pid)
        assert found is not None
        with pytest.raises(RefusedError, match="does not lead"):
            processes.send_group(follower.pid, found.start_time, boot, signal.SIGKILL)
        leader = processes.stat(child.pid)
        assert leader is not None
        assert not processes.send_group(child.pid, leader.start_time + 1, boot, signal.SIGKILL)
        assert follower.poll() is None
        assert processes.send_group(child.pid, leader.start_time, boot, signal.SIGKILL)
        assert (child.wait(5), follower.wait(5)) == (-9, -9)
    finally:
        stop_process(child)
        stop_process(follower)


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")],
)
def test_only_a_listening_socket_listens(family: socket.AddressFamily, address: str) -> None:
    port = free_port()
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        assert not processes.listening(port)
        server.listen()
        assert processes.listening(port)
        loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        with socket.create_connection((loopback, port)) as client:
            assert not processes.listening(client.getsockname()[1])
    assert not processes.listening(port)
