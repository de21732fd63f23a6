"""Service kind `systemd`: a unit, driven through systemctl, read through `systemctl show`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError, ConfigError, RegctlError
from ctl.hosts import serving
from ctl.hosts.base import Command
from ctl.hosts.services import ServiceState, last_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctl.hosts.base import Host, ProcessInfo

PROPERTIES = "LoadState,ActiveState,SubState,Result,MainPID,ExecMainStartTimestamp,UnitFileState,ExecStart"
_POLL = 0.1  # seconds; each look is a process
_GLANCE = 0.25  # seconds that it must live, once it listens
_SETTLE = 1.5  # seconds that it must live where its port tells nothing
_OBEY = 20.0  # seconds after KILL, or for a start job, before we give up
_SEARCHED = 200  # lines of the journal that are searched for its last words
_ENABLED = {"enabled", "enabled-runtime", "alias", "linked", "static", "generated", "indirect"}


def show_command(unit: str) -> Command:
    """The call that tells a unit's state; changes nothing."""
    return Command(("systemctl", "show", "--no-pager", "-p", PROPERTIES, "--", unit))


def verb_command(verb: str, unit: str, *options: str) -> Command:
    """The call that starts, stops, restarts or kills a unit; never asks for a password."""
    return Command(
        ("systemctl", verb, "--no-ask-password", *options, "--", unit),
        timeout=timedelta(seconds=120),
    )


def journal_command(unit: str, lines: int) -> Command:
    """The call that prints the end of a unit's journal."""
    return Command(("journalctl", "--no-pager", "-o", "short-iso", "-n", str(lines), "-u", unit))


def parse_show(text: str) -> dict[str, str]:
    """Read `systemctl show`: a property a line."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


class SystemdService:
    """A unit of systemd. `port` is where the registry listens."""

    kind = "systemd"

    def __init__(self, host: Host, unit: str, port: int) -> None:
        self._host = host
        self._unit = unit
        self._port = port

    def _show(self) -> Mapping[str, str]:
        result = self._host.run(show_command(self._unit))
        if result.exit_code != 0:
            raise CommandFailedError(
                f"systemd on {self._host.name} does not answer about {self._unit}",
                hint="where systemd does not run, use a service of kind process (for trials)",
                details=_words(result.stderr),
            )
        found = parse_show(result.stdout.decode("utf-8", "replace"))
        if found.get("LoadState") == "not-found":
            raise ConfigError(
                f"systemd on {self._host.name} knows no unit {self._unit}",
                hint="correct service.name in the site file: systemctl list-unit-files '*registry*'",
            )
        return found

    def _main(self, shown: Mapping[str, str]) -> ProcessInfo | None:
        pid = int(shown.get("MainPID") or 0)
        return self._host.process(pid) if pid else None

    def state(self) -> ServiceState:
        """Say what it does now; only reads."""
        shown = self._show()
        process = self._main(shown)
        active = shown.get("ActiveState", "")
        running = process is not None and active in ("active", "reloading", "refreshing")
        since = serving.started_at(self._host, process) if process else None
        detail = f"{active} ({shown.get('SubState', '')})"
        if not running and shown.get("Result", "success") != "success":
            detail += f", {shown['Result']}"
        enabled = shown.get("UnitFileState", "") in _ENABLED
        return ServiceState(running, process if running else None, since, enabled, detail)

    def _verb(self, verb: str, *options: str) -> None:
        result = self._host.run(verb_command(verb, self._unit, *options))
        if result.exit_code != 0 or result.timed_out:
            hint = "run regctl as root" if b"uthentication" in result.stderr else ""
            if self._show().get("Result") == "start-limit-hit":
                hint = f"it was started too often; systemctl reset-failed {self._unit}, then again"
            raise CommandFailedError(
                f"systemctl {verb} {self._unit} failed on {self._host.name}",
                hint=hint,
                details=(*_words(result.stderr), *self._last_words()),
            )

    def _last_words(self) -> tuple[str, ...]:
        try:
            return last_words(self.tail(_SEARCHED))
        except RegctlError:
            return ()

    def start(self) -> None:
        """Start it, unless it runs already; return when it has lived for a moment."""
        if self.state().running:
            return
        taken = self._host.listening(self._port)
        self._verb("start")
        self._watch(taken)

    def _watch(self, taken: bool) -> None:
        began = time.monotonic()
        first = self.state().process
        while True:
            lived = time.monotonic() - began
            state = self.state()
            if state.process is None or state.process != first:
                raise CommandFailedError(
                    f"{self._unit} on {self._host.name} ended at once: {state.detail}",
                    hint=f"see: journalctl -u {self._unit}",
                    details=self._last_words(),
                )
            listens = not taken and self._host.listening(self._port)
            if lived >= _SETTLE or (lived >= _GLANCE and listens):
                return
            time.sleep(_POLL)

    def stop(self, grace: timedelta) -> bool:
        """Send TERM, wait for it to drain and end; KILL it after the grace. Proved dead on return.

        A unit whose TimeoutStopSec is shorter than the grace is killed by systemd; that counts as killed.
        """
        shown = self._show()
        process = self._main(shown)
        if process is None and shown.get("ActiveState") in ("inactive", "failed"):
            return True
        self._verb("stop", "--no-block")
        drained = self._until_ended(process, grace)
        return drained and self._show().get("Result") != "timeout"

    def _until_ended(self, process: ProcessInfo | None, grace: timedelta) -> bool:
        def ended() -> bool:
            alive = process is not None and self._host.process(process.pid) == process
            return not alive and self._show().get("ActiveState") in ("inactive", "failed")

        return self._or_kill(ended, grace)

    def _or_kill(self, ended: Callable[[], bool], grace: timedelta) -> bool:
        """Wait until it has ended; KILL what is left after the grace. True if it ended by itself."""
        if serving.wait_for(ended, grace.total_seconds(), _POLL):
            return True
        self._verb("kill", f"--signal={signal.SIGKILL.name}")
        if not serving.wait_for(ended, _OBEY, _POLL):
            raise RegctlError(
                f"{self._unit} on {self._host.name} does not end, not even by KILL",
                hint=f"see: systemctl status {self._unit}",
            )
        return False

    def restart(self, grace: timedelta) -> bool:
        """Restart in one transaction of systemd, which ends well even if we are killed in its middle."""
        process = self.state().process
        if process is None:
            self.start()
            return True
        self._verb("restart", "--no-block")

        def ended() -> bool:
            return self._host.process(process.pid) != process

        drained = self._or_kill(ended, grace)
        serving.wait_for(
            lambda: self.state().running or self._show()["ActiveState"] == "failed", _OBEY, _POLL
        )
        self._watch(taken=False)
        return drained

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of its journal."""
        if lines <= 0:
            return []
        result = self._host.run(journal_command(self._unit, lines))
        if result.exit_code != 0:
            raise CommandFailedError(f"journalctl failed on {self._host.name}", details=_words(result.stderr))
        return result.stdout.decode("utf-8", "replace").splitlines()

    def loaded_config(self) -> str | None:
        """Return the configuration file that the live process loaded; None if it does not run."""
        process = self.state().process
        return serving.loaded_config(self._host, process) if process else None

    def loaded_binary(self) -> str | None:
        """Return the file that the live process executes; None if it does not run."""
        process = self.state().process
        return serving.loaded_binary(process)


def _words(stderr: bytes) -> tuple[str, ...]:
    return tuple(stderr.decode("utf-8", "replace").splitlines()[-5:])
