"""The SSH door on a real sshd: whom it talks to, what it offers, what it does when the line goes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.errors import ConfigError, RefusedError, UnreachableError, UsageError
from ctl.hosts.base import Command
from ctl.hosts.known_hosts import HostKey, Way, known_keys, without
from ctl.hosts.posix import PosixHost
from ctl.hosts.ssh import SshShell
from ctl.secret import Secret
from tests.support.sshd import SshServer, key_pair
from tests.support.waiting import free_port, wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with SshServer(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(shared: SshServer) -> SshServer:
    shared.trust()
    return shared


_WITH_SYSTEMD = 'mount -t tmpfs none /run && mkdir -p /run/sshd /run/systemd/system && exec "$@"'


class Far:
    """Hosts over one server, closed at the end of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.opened = folder, list[SshShell]()

    def host(self, way: Way, become: str = "", jump: SshShell | None = None) -> PosixHost:
        self.opened.append(SshShell(way, jump))
        return PosixHost(way.name, self.opened[-1], str(self.folder / "jobs"), become)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path)
    yield made
    for shell in made.opened:
        shell.close()


def hashed(entry: str) -> str:
    """A host's name as `ssh-keygen -H` writes it."""
    salt = os.urandom(20)
    digest = hmac.new(salt, entry.encode(), hashlib.sha1).digest()
    return "|1|" + base64.b64encode(salt).decode() + "|" + base64.b64encode(digest).decode()


def fingerprint(server: SshServer) -> str:
    return HostKey(*server.host_key.split()[:2]).fingerprint


# -- whom it talks to -----------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_the_trusting_command(
    server: SshServer, far: Far
) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(UnreachableError, match="is not known") as told:
        far.host(server.way()).read("/etc/hostname")
    assert fingerprint(server) in told.value.message
    assert "regctl host trust far" in told.value.hint


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    server: SshServer, far: Far, tmp_path: Path
) -> None:
    other = key_pair(tmp_path / "other").split()
    server.known_hosts.write_text(f"{server.entry} {other[0]} {other[1]}\n")
    with pytest.raises(UnreachableError, match="has changed") as told:
        far.host(server.way()).read("/etc/hostname")
    assert fingerprint(server) in told.value.message
    assert HostKey(other[0], other[1]).fingerprint in told.value.details[0]
    assert "--replace" in told.value.hint


def test_a_revoked_key_is_refused_although_it_is_known_too(server: SshServer, far: Far) -> None:
    kind, text = server.host_key.split()[:2]
    server.known_hosts.write_text(f"{server.entry} {kind} {text}\n@revoked {server.entry} {kind} {text}\n")
    with pytest.raises(UnreachableError, match="revoked"):
        far.host(server.way()).read("/etc/hostname")


def test_names_in_known_hosts_may_be_hashed_or_several(server: SshServer, far: Far) -> None:
    kind, text = server.host_key.split()[:2]
    for names in (hashed(server.entry), f"elsewhere,{server.entry}"):
        server.known_hosts.write_text(f"# a comment\n\n{names} {kind} {text}\n")
        assert far.host(server.way()).stat("/") is not None
    server.known_hosts.write_text(f"{hashed('[127.0.0.1]:1')} {kind} {text}\n")
    with pytest.raises(UnreachableError, match="not known"):
        far.host(server.way()).stat("/")


def test_replacing_a_key_leaves_other_hosts_lines_as_they_are() -> None:
    text = "# ours\na,b ssh-ed25519 OLD\nb ssh-rsa OLD2\nc ssh-ed25519 OLD\n@revoked b ssh-ed25519 BAD\n"
    assert without(text, "b", keep=HostKey("ssh-ed25519", "NEW")) == (
        "# ours\na ssh-ed25519 OLD\nc ssh-ed25519 OLD\n@revoked b ssh-ed25519 BAD\n"
    )
    assert without(text, "b", keep=HostKey("ssh-rsa", "OLD2")).count("ssh-rsa OLD2") == 1


def test_the_key_that_is_shown_can_be_asked_for_without_trust(server: SshServer, far: Far) -> None:
    server.known_hosts.write_text("")
    shown = SshShell(server.way()).presented()
    assert f"{shown.kind} {shown.text}" == " ".join(server.host_key.split()[:2])
    assert known_keys(server.way()) == ()


# -- what it offers -------------------------------------------------------------------------------


def test_a_key_that_is_not_authorized_is_an_error_that_names_user_and_file(
    server: SshServer, far: Far, tmp_path: Path
) -> None:
    key_pair(tmp_path / "stranger")
    with pytest.raises(UnreachableError, match="not in: 1 key offered") as told:
        far.host(server.way(identity_file=str(tmp_path / "stranger"))).stat("/")
    assert str(tmp_path / "stranger") in told.value.message


def test_only_the_identity_that_the_site_names_is_offered(
    server: SshServer, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that holds the right key does not help: IdentitiesOnly."""
    import subprocess

    agent = subprocess.Popen(
        ["/usr/bin/ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: (tmp_path / "agent").exists(), what="the agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        subprocess.run(
            ["/usr/bin/ssh-add", "-q", str(server.identity)], check=True, stderr=subprocess.DEVNULL
        )
        key_pair(tmp_path / "stranger")
        with pytest.raises(UnreachableError, match="1 key offered"):
            far.host(server.way(identity_file=str(tmp_path / "stranger"))).stat("/")
        host = far.host(server.way(identity_file=None))
        assert host.stat("/") is not None  # the control: without a named one, the agent's key is offered
        assert b"SSH_AUTH_SOCK" not in host.run(Command(("env",))).stdout  # and the agent goes no further
    finally:
        agent.terminate()
        agent.wait()


def test_a_private_key_that_others_may_read_is_not_used(server: SshServer, far: Far, tmp_path: Path) -> None:
    key_pair(tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(RefusedError, match="may be read by others"):
        far.host(server.way(identity_file=str(tmp_path / "open"))).stat("/")
    with pytest.raises(ConfigError, match="is not there"):
        far.host(server.way(identity_file=str(tmp_path / "none"))).stat("/")
    (tmp_path / "bad").write_text("nonsense")
    (tmp_path / "bad").chmod(0o600)
    with pytest.raises(ConfigError, match="cannot use"):
        far.host(server.way(identity_file=str(tmp_path / "bad"))).stat("/")


# -- ways there -----------------------------------------------------------------------------------


def test_nobody_listening_and_somebody_who_never_speaks_are_unreachable(server: SshServer, far: Far) -> None:
    with pytest.raises(UnreachableError, match="cannot reach far"):
        far.host(server.way(port=free_port())).stat("/")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(UnreachableError):
            far.host(server.way(port=silent.getsockname()[1], connect_timeout=1.0)).stat("/")
        assert time.monotonic() - began < 10


def test_a_host_behind_another_is_reached_through_it(server: SshServer, far: Far, tmp_path: Path) -> None:
    with SshServer(tmp_path / "inner", "inner") as inner:
        gate = SshShell(server.way())
        far.opened.append(gate)
        host = far.host(inner.way(), jump=gate)
        assert host.run(Command(("sh", "-c", "echo $PPID >/dev/null; echo in"))).stdout == b"in\n"
        # the inner server sees the gate's own connection, made from there
        gate.close()
        assert host.stat("/") is not None  # reopened through the gate


def test_becoming_another_user_is_by_sudo_and_its_refusal_is_told(server: SshServer, far: Far) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user without a password here")
    host = far.host(server.way(), become="nobody")
    assert host.identity().user == "nobody"
    assert host.run(Command(("id", "-un"))).stdout == b"nobody\n"
    assert host.run(Command(("id", "-un"), user="daemon")).stdout == b"daemon\n"
    with pytest.raises(UsageError, match="no user 'nobody-at-all'"):
        far.host(server.way(), become="nobody-at-all").stat("/")
    with pytest.raises(UsageError, match="no user's name"):
        far.host(server.way(), become="x; rm -rf /").stat("/")


# -- when the line goes ---------------------------------------------------------------------------


def test_a_program_whose_connection_breaks_is_unknown_and_the_next_call_connects_again(
    server: SshServer, far: Far
) -> None:
    host = far.host(server.way())
    host.stat("/")
    cut = threading.Timer(0.5, server.drop_connections)
    cut.start()
    with pytest.raises(UnreachableError, match="broke") as told:
        host.run(Command(("sleep", "20")))
    assert "not known" in told.value.hint
    assert host.stat("/") is not None


def test_a_peer_that_falls_silent_is_given_up(server: SshServer, far: Far) -> None:
    host = far.host(server.way(silence=1.0, connect_timeout=1.0))
    host.stat("/")
    serving = server.serving()

    def stop() -> None:
        for pid in serving:
            with suppress(ProcessLookupError):  # of an earlier test's connection, just ended
                os.kill(pid, signal.SIGSTOP)

    timer = threading.Timer(0.3, stop)
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(UnreachableError, match="no answer"):
            host.run(Command(("sleep", "30")))
        assert time.monotonic() - began < 15
    finally:
        timer.join()
        for pid in serving:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_write_that_is_cut_off_leaves_the_old_file(server: SshServer, far: Far, tmp_path: Path) -> None:
    host, path = far.host(server.way()), tmp_path / "config.yml"
    path.write_bytes(b"old")
    cut = threading.Event()

    def cutting() -> None:
        while not cut.is_set():
            if any(tmp_path.glob(".config.yml.regctl-tmp-*")):
                server.drop_connections()
                return
            time.sleep(0.001)

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        with pytest.raises(UnreachableError):
            host.write(str(path), os.urandom(60_000_000), mode=0o600)
    finally:
        cut.set()
        thread.join()
    time.sleep(0.2)
    assert path.read_bytes() == b"old"


def test_a_job_outlives_its_connection_and_is_found_again(server: SshServer, far: Far) -> None:
    host = far.host(server.way())
    job = host.start(Command(("sh", "-c", "sleep 1; echo done; exit 4")), "job-1")
    server.drop_connections()
    again = far.host(server.way())
    assert (
        again.start(Command(("sh", "-c", "sleep 1; echo done; exit 4")), "job-1").process.pid
        == job.process.pid
    )
    wait_until(lambda: again.job("job-1").state == "exited", what="the job to end")
    assert again.job("job-1").exit_code == 4
    assert again.job_output("job-1", "stdout") == b"done\n"


SYSTEMD_RUN = """#!/bin/sh
# Stands in for systemd-run: one unit of a name, in a session that is no login's. Real systemd was not tried.
unit=
while :; do
  case $1 in
    --unit=*) unit=${1#--unit=} ;;
    --*) ;;
    *) break ;;
  esac
  printf '%%s\\n' "$1" >>"%(log)s"
  shift
done
mkdir "%(units)s/$unit" 2>/dev/null || { echo "Unit $unit.service already exists" >&2; exit 1; }
setsid "$@" </dev/null >/dev/null 2>&1 &
"""


def test_where_systemd_runs_a_job_is_a_unit_of_its_own(tmp_path: Path, far: Far) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes a machine that seems to run systemd")
    tools, units = tmp_path / "tools", tmp_path / "units"
    tools.mkdir()
    units.mkdir()
    program = tools / "systemd-run"
    program.write_text(SYSTEMD_RUN % {"log": tmp_path / "log", "units": units})
    program.chmod(0o755)
    with SshServer(tmp_path / "sshd") as server:
        server.stop()
        server.before = ("unshare", "--mount", "sh", "-c", _WITH_SYSTEMD, "sh")
        server.start()
        far.opened.append(SshShell(server.way()))
        path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
        host = PosixHost("far", far.opened[-1], str(tmp_path / "jobs"), search_path=path)
        job = host.start(Command(("sh", "-c", "echo here; exit 4")), "job-1")
        wait_until(lambda: host.job("job-1").state == "exited", what="the job to end")
        assert host.job("job-1").exit_code == 4
        assert host.job_output("job-1", "stdout") == b"here\n"
        again = host.start(Command(("sh", "-c", "echo here; exit 4")), "job-1")
        assert again.process.pid == job.process.pid
    assert [unit.name for unit in units.iterdir()] == ["regctl-job-job-1"]
    assert "--collect" in (tmp_path / "log").read_text().split()


# -- byte for byte --------------------------------------------------------------------------------


def test_much_goes_in_and_comes_out_at_the_same_time(server: SshServer, far: Far) -> None:
    data = os.urandom(5_000_000)
    result = far.host(server.way()).run(Command(("cat",), stdin=data))
    assert result.stdout == data


def test_many_calls_at_once_share_a_connection(server: SshServer, far: Far) -> None:
    host, found = far.host(server.way()), list[bytes]()
    host.stat("/")
    threads = [
        threading.Thread(target=lambda n=n: found.append(host.run(Command(("echo", str(n)))).stdout))
        for n in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(text) for text in found) == list(range(30))
    assert len(server.pids()) == 1


def test_no_argument_variable_or_secret_is_seen_in_a_list_of_processes(server: SshServer, far: Far) -> None:
    host, seen, over = far.host(server.way()), list[str](), threading.Event()
    host.stat("/")
    canary = "canary-" + os.urandom(8).hex()

    def watching() -> None:
        while not over.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    text = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if canary.encode() in text:
                    seen.append(text.decode(errors="replace"))

    thread = threading.Thread(target=watching)
    thread.start()
    try:
        for _ in range(5):
            host.run(Command(("cat",), stdin=Secret(canary), env={"TOKEN": canary}))
            host.start(Command(("sleep", "0.2"), stdin=Secret(canary), env={"TOKEN": canary}), f"job-{_}")
        control = host.run(Command(("sleep", "0.3", "0"), timeout=timedelta(seconds=5)))
        assert control.exit_code == 0
        assert seen == []
        host.run(Command(("sh", "-c", "sleep 0.5", canary)))  # the control: in an argument, it is seen
    finally:
        over.set()
        thread.join()
    assert seen


@pytest.mark.parametrize("batches", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_hostile_arguments_arrive_byte_for_byte(server: SshServer, far: Far, batches: int) -> None:
    """A hundred at a time: every byte but NUL, quotes, newlines, what looks like an option or a pattern."""
    import random

    chosen = random.Random(20261122)
    host = far.host(server.way())
    pieces = [b"$(id)", b"`id`", b"-n", b"--", b"'\\''", b"\r\n", b"${HOME}", b"; :", b"&&", b"\\n"]
    pieces += [bytes([number]) for number in range(1, 256)]
    for _ in range(batches):
        texts = [b"".join(chosen.choices(pieces, k=chosen.randint(0, 12))) for _ in range(100)]
        arguments = tuple(os.fsdecode(text) for text in texts)
        result = host.run(Command(("printf", "%s\\0", *arguments)))
        assert result.stdout.split(b"\0")[:-1] == texts


def test_an_answer_cannot_be_feigned_by_what_a_program_prints(server: SshServer, far: Far) -> None:
    result = far.host(server.way()).run(Command(("printf", "regctl-%032d fail No\\n", "0")))
    assert result.stdout == b"regctl-00000000000000000000000000000000 fail No\n"
    with pytest.raises(FileNotFoundError, match="here"):  # and an answer of ours is one
        far.host(server.way()).read("/proc/1/nothing/here")
