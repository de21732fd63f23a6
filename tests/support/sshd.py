"""Real SSH servers on the loopback: each with its own host key, port, login key and folder."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ctl.hosts.known_hosts import Way
from tests.support.programs import find
from tests.support.waiting import clean_environment, free_port, stop_process

_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
SetEnv HOME={folder}/root
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
MaxStartups 200
LogLevel ERROR
{more}
"""


def key_pair(path: Path) -> str:
    """Make an ed25519 key without a passphrase; return the public line."""
    argv = [find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(path.name + ".pub").read_text()


class SshServer:
    """One sshd for the user who runs the tests; `name` is the host's name in a site."""

    def __init__(
        self, folder: Path, name: str = "far", *, identity: Path | None = None, more: str = ""
    ) -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        self.more = more
        self.before: tuple[str, ...] = ()  # a program and its arguments that starts it, as unshare does
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        self.host_key = key_pair(folder / "host_key")
        self.identity = identity or folder / "identity"
        if identity is None:
            key_pair(self.identity)
        public = self.identity.with_name(self.identity.name + ".pub").read_text()
        (folder / "authorized_keys").write_text(public)
        self.known_hosts = folder / "known_hosts"
        self.trust()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def entry(self) -> str:
        """The server's name in a known_hosts file."""
        return f"[127.0.0.1]:{self.port}"

    def trust(self) -> None:
        """Write the server's key into its known_hosts file."""
        self.known_hosts.write_text(f"{self.entry} {' '.join(self.host_key.split()[:2])}\n")

    def change_host_key(self) -> None:
        """Give it another host key at its next start; what was written into known_hosts stays."""
        (self.folder / "host_key").unlink()
        (self.folder / "host_key.pub").unlink()
        self.host_key = key_pair(self.folder / "host_key")

    def start(self) -> SshServer:
        """Start it and return when it greets."""
        with suppress(OSError):  # privilege separation needs this folder; Debian makes it at boot
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, folder=self.folder, more=self.more))
        argv = [*self.before, find("sshd"), "-D", "-e", "-f", str(config)]
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment()
            )
        self._await_greeting()
        return self

    def _await_greeting(self) -> None:
        import socket

        deadline = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise AssertionError((self.folder / "sshd.log").read_text())
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """List the processes that serve connections now."""
        if self._process is None:
            return []
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def serving(self) -> list[int]:
        """List these processes and their children: where root logs in, it is the children that answer."""
        found = self.pids()
        for pid in list(found):
            found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def drop_connections(self) -> None:
        """End every connection, as a cut line does; the server itself goes on."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def stop(self) -> None:
        """Stop it and every connection, by process id."""
        if self._process is not None:
            self.drop_connections()
            stop_process(self._process)
            self._process = None

    def __enter__(self) -> SshServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def way(self, **other: object) -> Way:
        """How it is reached."""
        values: dict[str, object] = {
            "name": self.name,
            "address": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "identity_file": str(self.identity),
            "known_hosts_file": str(self.known_hosts),
            **other,
        }
        return Way(**values)  # type: ignore[arg-type]

    def described(self, **other: object) -> dict[str, object]:
        """The host as a site describes it."""
        return {
            "connection": "ssh",
            "address": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "identity_file": str(self.identity),
            "known_hosts_file": str(self.known_hosts),
            **other,
        }
