"""Service kind `process`: a plain detached process. For trials: nobody restarts it when it dies."""

from __future__ import annotations

import dataclasses
import json
import os.path
import re
import secrets
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError, RegctlError
from ctl.hosts import serving
from ctl.hosts.base import Command
from ctl.hosts.environment import read_environment
from ctl.hosts.services import ServiceState, last_words, port_of

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.hosts.base import Host, ProcessInfo

_POLL = 0.02  # seconds
_GLANCE = 0.1  # seconds that it must live, once it listens
_SETTLE = 1.5  # seconds that it must live where its port tells nothing
_OBEY = 10.0  # seconds after KILL before we give up
_SEARCHED = 1000  # lines of the log that are searched for its last words


class ProcessService:
    """A registry as a detached job of its host; its log and a record of the job below state_dir/services/.

    One that was started by hand, with the same binary and file, is found and driven too.
    """

    kind = "process"

    def __init__(
        self, host: Host, registry: str, node: Node, serve: Callable[[], Command], state_dir: str
    ) -> None:
        self._host = host
        self._registry = registry
        self._node = node
        self._serve = serve
        folder = os.path.join(state_dir, "services")
        self._folder = folder
        self._stem = re.sub(r"[^A-Za-z0-9.-]", "_", f"{registry}-{node.service.name}")
        self._record = os.path.join(folder, f"{self._stem}.json")
        self._judged: dict[tuple[object, ...], bool] = {}
        self.log_file = os.path.join(folder, f"{self._stem}.log")

    def _job(self) -> str | None:
        """Return the id of the job that we started last."""
        try:
            return str(json.loads(self._host.read(self._record))["job"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise RegctlError(
                f"{self._record} is damaged", hint="remove it; the process is found without it"
            ) from error

    def _own(self) -> ProcessInfo | None:
        job = self._job()
        return None if job is None else self._host.job(job).process

    def _all(self) -> list[ProcessInfo]:
        """Find every live process of the service, ours first, then those started by hand, oldest first."""
        own = self._own()
        others = [item for item in self._host.processes() if item != own and self._serves(item)]
        others.sort(key=lambda item: item.start_time)
        return [own, *others] if own is not None else others

    def _serves(self, process: ProcessInfo) -> bool:
        """Judge each process once: polling must not resolve the paths of every other registry again."""
        if "serve" not in process.argv:
            return False
        key = (process, process.argv, process.executable)
        if key not in self._judged:
            node = self._node
            self._judged[key] = serving.serves(self._host, process, node.binary, node.config_file)
        return self._judged[key]

    def state(self) -> ServiceState:
        """Say what it does now; only reads."""
        found = self._all()
        if not found:
            return ServiceState(False, None, None, None, self._why_not())
        detail = "for trials: nobody restarts it"
        if found[0] != self._own():
            detail += "; started by hand"
        if len(found) > 1:
            detail += f"; {len(found)} processes serve this file"
        since = serving.started_at(self._host, found[0])
        return ServiceState(True, found[0], since, None, detail)

    def _why_not(self) -> str:
        job = self._job()
        if job is None:
            return "stopped"
        status = self._host.job(job)
        if status.state == "exited":
            return f"ended by itself with exit code {status.exit_code}"
        return {"lost": "killed, or ended with the machine"}.get(status.state, "stopped")

    def start(self) -> None:
        """Start it, unless it runs already; return when it has lived for a moment."""
        if self._all():
            return
        port = port_of(self._node.url)
        taken = self._host.listening(port)
        command = self._command()
        self._host.make_directory(self._folder, mode=0o750)
        self._forget()
        job = f"service-{self._stem[:80]}-{secrets.token_hex(6)}"
        # the record first: killed between the two, it names a job that never was, and does no harm
        self._host.write(self._record, json.dumps({"job": job}).encode(), mode=0o640)
        before = self._host.stat(self.log_file)
        self._host.start(command, job, log=self.log_file)
        self._watch(job, None if taken else port, before.size if before else 0)

    def _command(self) -> Command:
        command = self._serve()
        env = {**read_environment(self._host, self._node.environment_file), **command.env}
        user = self._node.user or command.user
        return dataclasses.replace(command, env=env, user=user, timeout=None)

    def _watch(self, job: str, port: int | None, logged: int) -> None:
        """Look at it for a moment. A port that somebody held before it came (None) says nothing."""
        began = time.monotonic()
        while (lived := time.monotonic() - began) < _SETTLE:
            status = self._host.job(job)
            if status.state != "running":
                raise CommandFailedError(
                    f"registry {self._registry} on {self._host.name} ended at once, "
                    f"exit code {status.exit_code}",
                    hint=f"its whole log: {self.log_file}",
                    details=last_words(self._log(_SEARCHED, logged)),
                )
            if lived >= _GLANCE and port is not None and self._host.listening(port):
                return
            time.sleep(_POLL)

    def _forget(self) -> None:
        job = self._job()
        if job is None:
            return
        self._host.kill_job(job, timedelta(0))  # its program is dead; what it left in its session goes too
        self._host.forget_job(job)
        self._host.remove(self._record)

    def stop(self, grace: timedelta) -> bool:
        """Send TERM, wait for it to drain and end; KILL it after the grace. Proved dead on return."""
        found = self._all()
        for process in found:
            self._host.signal(process, signal.SIGTERM)
        drained = self._gone(found, grace.total_seconds())
        if not drained:
            for process in found:
                self._host.signal(process, signal.SIGKILL)
            if not self._gone(found, _OBEY):
                pids = ", ".join(str(item.pid) for item in found)
                raise RegctlError(
                    f"registry {self._registry} on {self._host.name}: process {pids} does not obey KILL",
                    hint="it hangs in the kernel, often on a broken disk or mount; repair that first",
                )
        self._forget()
        return drained

    def _gone(self, found: list[ProcessInfo], seconds: float) -> bool:
        return serving.wait_for(
            lambda: all(self._host.process(item.pid) != item for item in found), seconds, _POLL
        )

    def restart(self, grace: timedelta) -> bool:
        """Stop it as `stop` does and start it as `start` does; True if it ended by itself."""
        drained = self.stop(grace)
        self.start()
        return drained

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of its log; [] for a process that was started by hand."""
        found = self._all()
        if found and found[0] != self._own():
            return []
        return self._log(lines)

    def _log(self, lines: int, after: int = 0) -> list[str]:
        """Return the last lines of the log, of those behind a byte; the host cuts, however long it is."""
        if lines <= 0 or self._host.stat(self.log_file) is None:
            return []
        if after:
            result = self._host.run(Command(("tail", "-c", f"+{after + 1}", "--", self.log_file)))
        else:
            result = self._host.run(Command(("tail", "-n", str(lines), "--", self.log_file)))
        return result.stdout.decode("utf-8", "replace").splitlines()[-lines:]

    def loaded_config(self) -> str | None:
        """Return the configuration file that the live process loaded; None if it does not run."""
        process = self.state().process
        return serving.loaded_config(self._host, process) if process else None

    def loaded_binary(self) -> str | None:
        """Return the file that the live process executes; None if it does not run."""
        process = self.state().process
        return serving.loaded_binary(process)
