"""The SSH door: one authenticated connection to a host, and shells over it. The only importer of paramiko.

Strict on purpose: a host key must stand in the known_hosts file (paramiko's and fabric's own default is to
accept any), only the identity that the site names is offered, no agent is forwarded, and a peer that stopped
answering is found by a deadline of ours: paramiko alone can wait for one for ever.
"""

from __future__ import annotations

import os
import select
import signal as signals
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST, cMSG_CHANNEL_REQUEST

from ctl.errors import BrokenConnectionError, ConfigError, RefusedError, UnreachableError
from ctl.hosts.known_hosts import HostKey, Way, known_keys, revoked_keys

if TYPE_CHECKING:
    from ctl.hosts.shell import Sink, Tick
    from ctl.hosts.streams import SshPipe

_CHUNK = 32768
_GLANCE = 0.2  # seconds between looks at an exit code that came while a child still holds the pipe
_LINGER = 2.0  # seconds that we go on reading after the program ended
_NO_REPLY = "Timeout opening channel"  # paramiko 5.1 of a peer that says neither yes nor no
_AT_ONCE = 8  # channels; sshd allows ten in a connection unless told otherwise (MaxSessions)


def _on_request(channel: Any, message: paramiko.Message) -> None:
    """Take what the peer says of a program's end (RFC 4254, 6.10): paramiko passes over a signal, and
    reports an end also where only the connection ended.
    """
    what = message.get_text()
    if what in ("exit-status", "exit-signal"):
        message.get_boolean()
        if what == "exit-status":
            channel.regctl_code = message.get_int()
        else:
            channel.regctl_code = -int(getattr(signals, f"SIG{message.get_text()}", signals.SIGKILL))
        return
    message.rewind()
    message.get_int()  # the channel's number, which was read before
    channel._handle_request(message)


class _Transport(paramiko.Transport):
    # the table is paramiko's own and documented nowhere: tests/contracts/test_hosts.py holds us to it
    _channel_handler_table = {
        **getattr(paramiko.Transport, "_channel_handler_table"),  # noqa: B009 - unknown to its stubs
        MSG_CHANNEL_REQUEST: _on_request,
    }

    def run(self) -> None:
        """Read until the connection ends. One that ends while paramiko closes it must print no traceback."""
        try:
            super().run()
        except (EOFError, OSError):  # whoever waits for an answer is told by the channel or the handshake
            self.active = False


def execute(channel: Any, line: str) -> None:
    """Ask for a line to be run, and wait for no yes: a refusal closes the channel, which is seen.

    paramiko's own verb waits for the answer without any limit, for a peer that stands still, too.
    """
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(False)  # want_reply
    message.add_string(line)
    channel.transport._send_user_message(message)


class SshShell:
    """A shell on another machine. Opened when something is first run; reopened after a break."""

    def __init__(self, way: Way, jump: SshShell | None = None) -> None:
        self.name = way.name
        self.way = way
        self._jump = jump
        self._transport: paramiko.Transport | None = None
        self._mutex = threading.Lock()
        self._channels = threading.BoundedSemaphore(_AT_ONCE)

    # -- the connection ---------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the connection; jobs over there go on."""
        with self._mutex:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def _connected(self) -> paramiko.Transport:
        with self._mutex:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._open()
            return self._transport

    def _open(self) -> paramiko.Transport:
        known = known_keys(self.way)
        transport = self._handshake(known)
        try:
            self._demand_known(transport, known)
            self._log_in(transport)
            transport.set_keepalive(max(1, int(self.way.silence / 3)))
        except BaseException:
            transport.close()
            raise
        return transport

    def _handshake(self, known: tuple[HostKey, ...]) -> paramiko.Transport:
        way = self.way
        with _told(way):
            transport = _Transport(self._socket())
            transport.banner_timeout = transport.auth_timeout = way.connect_timeout
            transport.handshake_timeout = way.connect_timeout
            options = transport.get_security_options()
            offered = list(options.key_types)
            # as OpenSSH does: ask first for the sort of key that we know
            kinds = {key.kind for key in known}
            options.key_types = sorted(offered, key=lambda kind: _plain(kind) not in kinds)
            try:
                transport.start_client(timeout=way.connect_timeout)
            except BaseException:
                transport.close()
                raise
            return transport

    def _socket(self) -> socket.socket | paramiko.Channel:
        way = self.way
        if self._jump is not None:
            through = self._jump._connected()
            return through.open_channel(
                "direct-tcpip", (way.address, way.port), ("127.0.0.1", 0), timeout=way.connect_timeout
            )
        sock = socket.create_connection((way.address, way.port), way.connect_timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # the kernel gives up on a peer that acknowledges nothing, also while we only wait
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(way.silence * 1000))
        return sock

    def presented(self) -> HostKey:
        """Return the key that the host shows now, known or not. Logs in nowhere."""
        transport = self._handshake(known_keys(self.way))
        try:
            return _host_key(self.way, transport)
        finally:
            transport.close()

    def _demand_known(self, transport: paramiko.Transport, known: tuple[HostKey, ...]) -> None:
        shown, way = _host_key(self.way, transport), self.way
        if shown in revoked_keys(way):
            raise UnreachableError(
                f"the host key of {way.name} ({way.entry}), {shown.fingerprint}, is revoked",
                hint=f"give the host a new key, then: regctl host trust {way.name} --replace",
            )
        if shown in known:
            return
        if known:
            raise UnreachableError(
                f"the host key of {way.name} ({way.entry}) has changed: it shows {shown.kind} "
                f"{shown.fingerprint}",
                details=tuple(f"known: {key.kind} {key.fingerprint}" for key in known),
                hint=f"somebody may be in between. Ask who looks after {way.name}; only where the change is "
                f"theirs: regctl host trust {way.name} --replace",
            )
        raise UnreachableError(
            f"the host key of {way.name} ({way.entry}) is not known: it shows {shown.kind} "
            f"{shown.fingerprint}",
            hint=f"compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there, then: "
            f"regctl host trust {way.name}",
        )

    def _log_in(self, transport: paramiko.Transport) -> None:
        way, refused = self.way, 0
        with _told(way):
            for key in _identities(way):
                try:
                    transport.auth_publickey(way.user, key)
                    return
                except paramiko.AuthenticationException:
                    refused += 1
        raise UnreachableError(
            f"{way.name} ({way.entry}) lets {way.user} not in: {refused or 'no'} key{'s' * (refused != 1)} "
            f"offered{'' if way.identity_file is None else f', {way.identity_file}'}",
            hint=f"put the public key into ~{way.user}/.ssh/authorized_keys there, or correct `user` and "
            "`identity_file` of the host in the site",
        )

    # -- running ----------------------------------------------------------------------------------

    def call(self, line: str, stdin: bytes, sink: Sink, tick: Tick) -> int:
        """Run the line with these bytes on stdin, and return its exit code, negative for a signal.

        UnreachableError where no connection comes about, or it breaks: whether the line ran is not known.
        """
        with self._channels:
            channel = self._channel()
            try:
                with _told(self.way, began=True):
                    execute(channel, line)
                    return _Exchange(self, channel, stdin, sink, tick).run()
            finally:
                channel.close()

    def open(self, line: str) -> SshPipe:
        """Run the line with its stdin and stdout in the caller's hands; UnreachableError as `call`."""
        from ctl.hosts.streams import SshPipe

        self._channels.acquire()
        try:
            channel = self._channel()
            with _told(self.way, began=True):
                execute(channel, line)
        except BaseException:
            self._channels.release()
            raise
        return SshPipe(
            channel,
            lambda: _told(self.way, began=True),
            self.answers,
            self.way.silence,
            self._channels.release,
        )

    def _channel(self) -> paramiko.Channel:
        """Open a channel. Nothing was asked on it yet, so it may be tried again, on a new connection too."""
        deadline = time.monotonic() + self.way.connect_timeout
        while True:
            transport = self._connected()
            try:
                return transport.open_session(timeout=self.way.connect_timeout)
            except (paramiko.SSHException, EOFError, OSError) as error:
                if time.monotonic() > deadline:
                    raise _unreachable(self.way, error) from error
                if transport.is_active() and not str(error).startswith(_NO_REPLY):
                    time.sleep(0.05)  # refused: one that just ended has not been given back over there
                else:
                    self._drop(transport)

    def _drop(self, transport: paramiko.Transport) -> None:
        """Let go of a connection that broke, unless somebody has made a new one already."""
        with self._mutex:
            transport.close()
            if self._transport is transport:
                self._transport = None

    def answers(self) -> bool:
        """Say whether the peer still answers on the connection that there is."""
        transport = self._transport
        try:
            if transport is None:
                return False
            transport.open_session(timeout=self.way.silence).close()
        except (paramiko.SSHException, EOFError, OSError):
            return False
        return True


@dataclass
class _Exchange:
    """What goes over one channel: stdin there, both streams back, an exit code at the end."""

    shell: SshShell
    channel: paramiko.Channel
    stdin: bytes
    sink: Sink
    tick: Tick
    sent: int = 0
    heard: float = 0.0
    ended: float = 0.0

    def run(self) -> int:
        channel = self.channel
        channel.setblocking(0)
        self.heard = time.monotonic()
        while True:
            moved = self._send() | self._receive()
            code = getattr(channel, "regctl_code", None)
            if code is not None and not moved:
                self.ended = self.ended or time.monotonic()
                if channel.eof_received or time.monotonic() - self.ended > _LINGER:
                    self._receive()
                    return int(code)
            elif channel.closed and not moved:
                raise EOFError("the connection was closed")
            wait = self.tick()
            if not moved:
                self._wait(_GLANCE if wait is None or self.sent < len(self.stdin) else min(wait, _GLANCE))

    def _wait(self, seconds: float) -> None:
        if self.sent < len(self.stdin):
            seconds = min(seconds, 0.005)  # the window opens without our being told
        if self.channel.eof_received:
            time.sleep(min(seconds, 0.002))  # its end is told right after; a select would return at once
        else:
            select.select([self.channel], [], [], seconds)
        silence = self.shell.way.silence
        if time.monotonic() - self.heard > silence:
            if not self.shell.answers():
                raise TimeoutError(f"no answer for {silence:.0f} s")
            self.heard = time.monotonic()

    def _send(self) -> bool:
        channel = self.channel
        if self.sent == len(self.stdin):
            if not channel.eof_sent:
                channel.shutdown_write()
            return False
        if not channel.send_ready():
            return False
        try:
            self.sent += channel.send(self.stdin[self.sent : self.sent + _CHUNK])
        except TimeoutError:  # no room after all
            return False
        except OSError:
            self.sent = len(self.stdin)  # the far side reads no more: its exit code says why
            return False
        return True

    def _receive(self) -> bool:
        moved = False
        while self.channel.recv_ready():
            self.sink("stdout", self.channel.recv(_CHUNK))
            moved = True
        while self.channel.recv_stderr_ready():
            self.sink("stderr", self.channel.recv_stderr(_CHUNK))
            moved = True
        if moved:
            self.heard = time.monotonic()
        return moved


# -- keys -----------------------------------------------------------------------------------------


def _plain(kind: str) -> str:
    return "ssh-rsa" if kind.startswith("rsa-sha2") else kind.removesuffix("-cert-v01@openssh.com")


def _host_key(way: Way, transport: paramiko.Transport) -> HostKey:
    with _told(way):
        key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


def _identities(way: Way) -> Iterator[paramiko.PKey]:
    """Yield the keys to offer: the one that the site names, else the agent's and the user's own."""
    if way.identity_file is not None:
        yield _private_key(way.identity_file, way.name)
        return
    if os.environ.get("SSH_AUTH_SOCK"):
        agent = paramiko.Agent()
        try:
            yield from agent.get_keys()
        finally:
            agent.close()
    for name in ("id_ed25519", "id_ecdsa", "id_rsa"):
        path = os.path.expanduser(f"~/.ssh/{name}")
        if os.path.exists(path):
            yield _private_key(path, way.name)


def _private_key(path: str, host: str) -> paramiko.PKey:
    try:
        mode = os.stat(path).st_mode
        if mode & 0o077:
            raise RefusedError(
                f"{path}, the key for {host}, may be read by others (mode {mode & 0o777:o})",
                hint=f"chmod 600 {path}, and think about whether it was read",
            )
        return paramiko.PKey.from_path(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"the identity file {path} of the host {host} is not there",
            hint="make one by `ssh-keygen -t ed25519 -N '' -f PATH`, or correct `identity_file`",
        ) from error
    except paramiko.PasswordRequiredException as error:
        raise ConfigError(
            f"the identity file {path} of the host {host} has a passphrase",
            hint="load it into an agent and leave `identity_file` out, or use a key without one",
        ) from error
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise ConfigError(f"cannot use {path} as the identity for {host}: {error}") from error


# -- errors ---------------------------------------------------------------------------------------


@contextmanager
def _told(way: Way, *, began: bool = False) -> Iterator[None]:
    """Turn whatever the network and paramiko raise into an error that says what to do."""
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise _unreachable(way, error, began=began) from error


def _unreachable(way: Way, error: BaseException, *, began: bool = False) -> UnreachableError:
    if isinstance(error, UnreachableError):
        return error
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = reason or type(error).__name__
    where = f"{way.name} ({way.entry})"
    if began:
        return BrokenConnectionError(
            f"the connection to {where} broke: {reason}",
            hint="whether what ran there was finished is not known; the same command looks first",
        )
    return UnreachableError(
        f"cannot reach {where} over SSH: {reason}",
        hint=f"is it up, `address` and `port` right? By hand: ssh -p {way.port} {way.user}@{way.address}",
    )
