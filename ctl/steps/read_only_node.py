"""Switch one node to read-only and back, provably: what `ReadOnly` and `SetReadOnly` share.

The order of writes makes every point of a crash recoverable: the original bytes are kept beside the file
before the file changes, and go only when the node is proved to be as it was. Which of the two texts
the file holds, and which process runs, say how far an interrupted change came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ctl.errors import RefusedError, RegctlError
from ctl.hosts.base import Command
from ctl.recipes.model import Before, ProbeAnswer, StepReport
from ctl.steps.node_doors import NodeDoors, identity, sha256

if TYPE_CHECKING:
    from ctl.http import WriteProbe

READY = timedelta(seconds=60)
SETTLE = 5.0  # seconds that a registry which answers may take to show its mode


@dataclass(frozen=True)
class ReadOnlyNode(NodeDoors):
    """A node that is made read-only and brought back."""

    def observe(self, run: str) -> dict[str, Any]:
        """Describe the node as it is; JSON-able, holds no secret."""
        data, info, state = self.read(), self.info(), self.service.state()
        by_config = self.engine.is_read_only(self.parsed(data).data)
        probe = self.client.probe_write().state if state.running else "stopped"
        closed = by_config and probe in ("read-only", "stopped")
        return {
            "changes": not closed,
            "running": state.running,
            "process": identity(state.process),
            "probe": probe,
            "config_file": self.config_file,
            "kept": self.kept_path(run),
            "sha256": sha256(data),
            "ours": sha256(data if closed else self.engine.read_only_text(data)),
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
            "mtime": info.mtime,
        }

    def progress(self, before: Before) -> ProbeAnswer:
        """Say how far an interrupted change came."""
        if not before["changes"]:
            return "done"
        current = sha256(self.read())
        if current == before["sha256"]:
            return "pending"
        if current != before["ours"]:
            return "unknown"
        state = self.service.state()
        if not before["running"] and not state.running:
            return "done"
        restarted = state.running and identity(state.process) != before["process"]
        return "done" if restarted and self.client.probe_write().state == "read-only" else "partial"

    # -- closing ---------------------------------------------------------------------------------

    def close(self, before: Before) -> StepReport:
        """Make the node read-only and prove it; on failure bring it back and raise."""
        if not before["changes"]:
            self.prove_closed()
            return StepReport({"read_only_before": True}, changed=False)
        if sha256(self.read()) not in (before["sha256"], before["ours"]):
            raise RefusedError(
                f"{self.name}: {self.config_file} has changed since it was looked at; it is left as it is",
                hint="run the same command again",
            )
        try:
            warnings = self._close(before)
        except RegctlError as error:
            raise self.brought_back(before, error, lambda: self.restore(before)) from error
        return StepReport({"read_only_before": False}, warnings=tuple(warnings))

    def _close(self, before: Before) -> list[str]:
        data = self.read()
        if sha256(data) == before["sha256"]:
            self.here.run.guard()
            self.host.write(before["kept"], data, mode=0o600)
            self.here.run.guard()
            self._write(self.engine.read_only_text(data), before)
        warnings = []
        state = self.service.state()
        if state.running:
            same = identity(state.process) == before["process"]
            if same or self.client.probe_write().state != "read-only":
                warnings += self._restart()
        self.prove_closed()
        return warnings

    def prove_closed(self) -> None:
        """Prove that no write can be accepted now; RegctlError otherwise."""
        if self.service.state().running:
            probe = self._probe_until("read-only")
            if probe.state != "read-only":
                raise RegctlError(
                    f"{self.name} is not proved read-only: {probe.detail or 'it is ' + probe.state}",
                    hint="nothing may rely on it; see its log: regctl service tail",
                )
            return
        port = self._port()
        if port is not None and self.host.listening(port):
            raise RegctlError(
                f"{self.name} is stopped, but something listens on port {port}",
                hint=f"find it by: ss -ltnp 'sport = :{port}'",
            )
        # Another machine may serve what this one does not: a pod beside ours, a twin behind the same name.
        if self.client.probe_write().state == "writable":
            raise RegctlError(
                f"{self.name} is stopped here, but {self.client.url} accepts pushes",
                hint="stop whatever serves that address, or make it read-only; then run this again",
            )

    # -- opening ---------------------------------------------------------------------------------

    def restore(self, before: Before, original: bytes | None = None) -> StepReport:
        """Bring back bytes, mode, owner and the service's state, prove it, and let the kept copy go.

        `original` stands in where the kept copy is gone. A file that is neither what it was nor what we
        made of it is not touched: RefusedError names both.
        """
        if not before["changes"]:
            return StepReport(changed=False)
        current = self.read()
        if sha256(current) == before["ours"]:
            self.here.run.guard()
            self._write(self._original(before, original), before)
        elif sha256(current) != before["sha256"]:
            raise self._drifted(before)
        self._restore_time(before)
        warnings = self._restore_service(before)
        self.here.run.guard()
        self.host.remove(before["kept"])
        return StepReport(warnings=tuple(warnings))

    def _restore_service(self, before: Before) -> list[str]:
        state, warnings = self.service.state(), []
        untouched = state.running and identity(state.process) == before["process"]
        if not before["running"] and not state.running:
            return []
        if not before["running"]:
            # somebody started it meanwhile; it stays up, but on the file that it should have loaded
            warnings.append(f"{self.name} was started by somebody meanwhile; it stays running")
        wanted = before["probe"] if before["probe"] != "stopped" else "writable"
        if not untouched and (not state.running or self.client.probe_write().state != wanted):
            warnings += self._restart()
        probe = self._probe_until(wanted)
        if probe.state != wanted:
            raise RegctlError(
                f"{self.name} runs on its original configuration again, but is not proved {wanted}: "
                f"{probe.detail or 'it is ' + probe.state}",
                hint=f"the original is still kept as {before['kept']}; look at regctl service tail",
            )
        return warnings

    def _original(self, before: Before, fallback: bytes | None) -> bytes:
        try:
            data = self.host.read(before["kept"])
        except FileNotFoundError:
            data = fallback if fallback is not None else b""
        if sha256(data) != before["sha256"]:
            raise RefusedError(
                f"{self.name} stays read-only: the original of {before['config_file']}, kept as "
                f"{before['kept']}, is gone or damaged",
                hint="take the read-only keys out by hand, then: regctl service restart",
            )
        return data

    # -- inside ----------------------------------------------------------------------------------

    def _write(self, data: bytes, before: Before) -> None:
        self.host.write(
            before["config_file"],
            data,
            mode=int(before["mode"]),
            owner=before["owner"],
            group=before["group"],
        )

    def _restore_time(self, before: Before) -> None:
        """Give the file its old time back: newer than the process, it would look changed since its start."""
        wanted = before.get("mtime")
        if wanted is None or abs(self.info().mtime - float(wanted)) < 0.001:
            return
        self.here.run.guard()
        self.host.run(Command(("touch", "-m", "-d", f"@{float(wanted):.6f}", "--", self.config_file)))

    def _restart(self) -> list[str]:
        """Restart with drain, or start what has died; return what the operator should know."""
        self.here.run.guard()
        drained = True
        if self.service.state().running:
            drained = self.service.restart(self.grace())
        else:
            self.service.start()
        self.client.wait_ready(READY)
        return [] if drained else [f"{self.name} did not stop in time and was killed: uploads were cut"]

    def _probe_until(self, wanted: str) -> WriteProbe:
        deadline = time.monotonic() + SETTLE
        while (probe := self.client.probe_write()).state != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return probe

    def _port(self) -> int | None:
        from ctl.hosts.services import port_of

        return self.engine.listening_port(self.parsed(self.read()).data) or port_of(self.node.url)

    def brought_back(
        self, before: Before, error: RegctlError, back: Callable[[], object], what: str = "made read-only"
    ) -> RegctlError:
        """Bring the node back after a failed change, by `back`; return the error to raise."""
        try:
            back()
        except RegctlError as second:
            return RegctlError(
                f"{self.name} could not be {what}: {error.message}; and it is NOT back as it was: "
                f"{second.message}",
                hint=second.hint or f"the original is kept as {before['kept']}",
                details=(*error.details, *second.details),
            )
        message = f"{self.name} could not be {what}, and is as it was: {error.message}"
        return type(error)(message, hint=error.hint, details=error.details)

    def _drifted(self, before: Before) -> RefusedError:
        return RefusedError(
            f"{self.name}: somebody has changed {before['config_file']} meanwhile; it is not overwritten. "
            f"The file as it was before is kept as {before['kept']}",
            hint=f"settle it by hand: diff {before['kept']} {before['config_file']}",
        )
