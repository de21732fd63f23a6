"""Service kind `runit`: a folder that runsv supervises, driven through sv. GitLab's package has one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError, ConfigError, RegctlError
from ctl.hosts import serving
from ctl.hosts.base import Command
from ctl.hosts.services import ServiceState, last_words

if TYPE_CHECKING:
    from ctl.hosts.base import Host, ProcessInfo

# where supervised folders are, and the programs beside them: GitLab's package first
FOLDERS = ("/opt/gitlab/service", "/etc/service", "/service", "/etc/runit/runsvdir/current")
PROGRAMS = ("/opt/gitlab/embedded/bin/sv", "/usr/bin/sv", "/sbin/sv", "/usr/sbin/sv")
_LOGS = ("/var/log/gitlab/{name}/current", "{folder}/log/main/current", "{folder}/log/current")
_STATUS = re.compile(r"(?P<state>run|down|finish|fail): [^\n]*?: (?P<rest>[^\n]*)")
_PID = re.compile(r"\(pid (\d+)\)")
_HEARS = 3.0  # seconds until runsv has surely read what it was told
_POLL = 0.1  # seconds
_GLANCE = 0.25  # seconds that it must live, once it listens
_SETTLE = 1.5  # seconds that it must live where its port tells nothing; runsv restarts what ends after one
_APPEAR = 10.0  # seconds until it must be there: runsv waits for one if the last was short-lived
_OBEY = 20.0  # seconds after KILL before we give up
_SEARCHED = 200  # lines of the log that are searched for its last words


def own_words(said: str) -> str:
    """Return what `sv status` says of the service itself, without what it says of its log."""
    return said.split("; run: log:")[0].split("; down: log:")[0]


def process_id(words: str) -> str:
    """Return the process that `sv status` names, "" for none."""
    found = _PID.search(words)
    return found[1] if found else ""


class RunitService:
    """A supervised folder. `name` is its path, or its name below a usual place; `port` is the registry's."""

    kind = "runit"

    def __init__(self, host: Host, name: str, port: int, programs: tuple[str, ...] = PROGRAMS) -> None:
        self._host = host
        self._name = name
        self._port = port
        self._programs = programs

    def _folder(self) -> str:
        if self._name.startswith("/"):
            return self._name
        for place in FOLDERS:
            if self._host.stat(f"{place}/{self._name}") is not None:
                return f"{place}/{self._name}"
        raise ConfigError(
            f"runit on {self._host.name} has no service {self._name}",
            hint=f"write its folder as service.name in the site; looked in {', '.join(FOLDERS)}",
        )

    def _program(self) -> str:
        return next((path for path in self._programs if self._host.stat(path) is not None), "sv")

    def _sv(self, verb: str) -> str:
        """Run sv without waiting; CommandFailedError with its words where nothing supervises the folder."""
        result = self._host.run(
            Command((self._program(), verb, self._folder()), timeout=timedelta(seconds=30))
        )
        said = result.stdout.decode("utf-8", "replace").strip()
        if said.startswith(("fail:", "warning:")) or (result.exit_code != 0 and not said):
            words = said or result.stderr.decode("utf-8", "replace").strip()
            hint = "is runit running? In GitLab's package: gitlab-ctl status"
            if "not running" not in words:
                hint = "run regctl as root, and look at service.name in the site"
            raise CommandFailedError(f"runit on {self._host.name}: {words[-300:]}", hint=hint)
        return said

    def _look(self) -> tuple[str, ProcessInfo | None]:
        """Return (what sv says of the service itself, its live process)."""
        said = own_words(self._sv("status"))
        found = _STATUS.match(said)
        if found is None:
            raise CommandFailedError(f"runit on {self._host.name} says of {self._name}: {said[:200]}")
        pid = process_id(found["rest"])
        process = self._host.process(int(pid)) if found["state"] == "run" and pid else None
        return f"{found['state']}: {found['rest']}", process

    def state(self) -> ServiceState:
        """Say what it does now; only reads."""
        detail, process = self._look()
        since = serving.started_at(self._host, process) if process else None
        enabled = self._host.stat(f"{self._folder()}/down") is None
        return ServiceState(process is not None, process, since, enabled, detail)

    def start(self) -> None:
        """Start it, unless it runs already; return when it has lived for a moment."""
        if self.state().running:
            return
        taken = self._host.listening(self._port)
        self._sv("up")
        try:
            self._watch(taken)
        except CommandFailedError:
            self._sv("down")  # it was down before, and runsv would start it again and again
            self._heard()
            raise

    def _heard(self) -> None:
        """Wait until runsv has read that it is to stay down.

        While it rests for a second between two starts it reads nothing, and of a `down` and an `up` in that
        second the `down` wins (runit 2.1.2, seen).
        """
        serving.wait_for(lambda: "want up" not in self._look()[0], _HEARS, _POLL)

    def _watch(self, taken: bool) -> None:
        """Look at it for a moment: runsv starts again and again what ends at once."""
        began = time.monotonic()
        first: ProcessInfo | None = None
        seen = 0.0
        while (lived := time.monotonic() - (seen or began)) < (_SETTLE if seen else _APPEAR):
            process = self._look()[1]
            if process is not None and first is None:
                first, seen = process, time.monotonic()
            if first is not None and process != first:
                raise self._ended_at_once()
            if seen and lived >= _GLANCE and not taken and self._host.listening(self._port):
                return
            time.sleep(_POLL)
        if first is None:
            raise self._ended_at_once()

    def _ended_at_once(self) -> CommandFailedError:
        return CommandFailedError(
            f"{self._name} on {self._host.name} ended at once",
            hint=f"its log: gitlab-ctl tail {self._name}, or {self._folder()}/log",
            details=self._words(),
        )

    def _words(self) -> tuple[str, ...]:
        try:
            return last_words(self.tail(_SEARCHED))
        except RegctlError:
            return ()

    def stop(self, grace: timedelta) -> bool:
        """Send TERM, wait for it to drain and end; KILL it after the grace. Proved dead on return."""
        process = self._look()[1]
        self._sv("down")  # also where it is down: a supervisor that is about to start it again must not
        if process is None:
            self._heard()
            process = self._look()[1]
        return self._or_kill(lambda: self._gone(process), grace)

    def restart(self, grace: timedelta) -> bool:
        """Have it end, and runsv start it again, which it does even if we are killed in the middle."""
        process = self._look()[1]
        if process is None:
            self.start()
            return True
        self._sv("term")
        drained = self._or_kill(lambda: self._host.process(process.pid) != process, grace)
        self._watch(taken=False)
        return drained

    def _gone(self, process: ProcessInfo | None) -> bool:
        alive = process is not None and self._host.process(process.pid) == process
        return not alive and self._look()[1] is None

    def _or_kill(self, ended: Callable[[], bool], grace: timedelta) -> bool:
        if serving.wait_for(ended, grace.total_seconds(), _POLL):
            return True
        self._sv("kill")
        if not serving.wait_for(ended, _OBEY, _POLL):
            raise RegctlError(
                f"{self._name} on {self._host.name} does not end, not even by KILL",
                hint=f"see: sv status {self._folder()}",
            )
        return False

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of its log; [] where svlogd keeps none in a usual place."""
        folder = self._folder()
        for place in _LOGS:
            path = place.format(name=folder.rpartition("/")[2], folder=folder)
            if lines > 0 and self._host.stat(path) is not None:
                result = self._host.run(Command(("tail", "-n", str(lines), "--", path)))
                return result.stdout.decode("utf-8", "replace").splitlines()
        return []

    def loaded_config(self) -> str | None:
        """Return the configuration file that the live process loaded; None if it does not run."""
        process = self._look()[1]
        return serving.loaded_config(self._host, process) if process else None

    def loaded_binary(self) -> str | None:
        """Return the file that the live process executes; None if it does not run."""
        process = self._look()[1]
        return serving.loaded_binary(process)
