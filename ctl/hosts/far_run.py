"""A program run to its end on a host behind a shell: output as it comes, its deadline kept from here."""

from __future__ import annotations

import signal as signals
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ctl.errors import CommandFailedError, RegctlError, UsageError
from ctl.hosts import shell
from ctl.hosts.base import Command, LineSink, Result
from ctl.hosts.programs import OUTPUT_LIMIT, TERM_GRACE, Reader
from ctl.secret import Secret

if TYPE_CHECKING:
    from ctl.hosts.posix import PosixHost


@dataclass
class Running:
    """One program that is run to its end over there, its deadline kept by a second call."""

    host: PosixHost
    command: Command
    on_line: LineSink | None
    expired: bool = False
    session: str = ""
    at: float | None = None
    reader: Reader = field(init=False)
    answer: shell.Answer = field(init=False)

    def run(self) -> Result:
        """Run it; CommandFailedError where the program is missing or prints too much."""
        command, host = self.command, self.host
        demand_program(command)
        began = time.monotonic()
        self.at = began + command.timeout.total_seconds() if command.timeout is not None else None
        self.reader = Reader(self.on_line)
        prefix = host.prefix(command.user)
        values = clean(command, host, prefix)
        call = shell.prepared(
            ("run",),
            command.argv,
            become=prefix,
            search_path=host.search_path,
            values={**values},
            data=stdin_of(command),
        )
        self.answer = shell.Answer(call.word)
        try:
            code = host.shell.call(call.line, call.stdin, self._sink, self._tick)
        except BaseException:
            with suppress(RegctlError):  # Ctrl-C, too much output: nobody would look after it any more
                self._end(signals.SIGTERM)
            raise
        if self.answer.said == "missing":
            raise missing_program(command.argv[0], host.name)
        if not self.answer.said:
            host.demand_become(prefix, bytes(self.reader.kept["stderr"]))
            raise shell.no_answer(host.name, code, bytes(self.reader.kept["stderr"]), self.answer.before)
        self.reader.finish()
        kept = self.reader.kept
        return Result(
            code, bytes(kept["stdout"]), bytes(kept["stderr"]), time.monotonic() - began, self.expired
        )

    def _sink(self, stream: shell.Stream, chunk: bytes) -> None:
        if stream == "stdout":
            chunk = self.answer.feed(chunk)
            if self.answer.said == "running":
                self.session = self.answer.rest
        self.reader.feed(stream, chunk)
        if self.reader.size > OUTPUT_LIMIT:
            raise CommandFailedError(
                f"{self.command.argv[0]} printed more than {OUTPUT_LIMIT // 2**20} MiB and was stopped",
                hint="start it as a job: its output goes to files then",
            )

    def _tick(self) -> float | None:
        if self.at is None:
            return None
        left = self.at - time.monotonic()
        if left > 0:
            return left
        if not self.session:
            return 0.05  # it has not said yet which session it is
        self._end(signals.SIGKILL if self.expired else signals.SIGTERM)
        self.at = None if self.expired else time.monotonic() + TERM_GRACE
        self.expired = True
        return TERM_GRACE

    def _end(self, number: int) -> None:
        if self.session:
            self.host.call("end_session", (self.session, str(int(number))))


def demand_program(command: Command) -> None:
    """UsageError for a command that no program can be called with."""
    if not command.argv or not command.argv[0]:
        raise UsageError("a command without a program cannot be run")
    if any("\0" in text for text in (*command.argv, *command.env, *command.env.values())):
        raise UsageError(f"an argument or variable for {command.argv[0]} holds a NUL byte")


def clean(command: Command, host: PosixHost, prefix: str) -> dict[str, str]:
    """Return the whole environment of a program: scrubbed, and the command's own laid over it."""
    user = command.user or host.become or ""
    home = host.identity(user).home if prefix or not user else host.identity("").home
    return {"PATH": host.search_path, "LANG": "C.UTF-8", "HOME": home, **command.env}


def stdin_of(command: Command) -> bytes:
    """Return the bytes that the program finds on its stdin."""
    given = command.stdin
    return given.reveal().encode() if isinstance(given, Secret) else given


def missing_program(program: str, host: str) -> CommandFailedError:
    """Say that a program is not there."""
    return CommandFailedError(
        f"cannot run {program} on {host}: no such program, or not executable",
        hint="install it there, or correct its path in the site file",
    )
