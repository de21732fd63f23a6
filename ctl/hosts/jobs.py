"""Detached jobs: claimed once by an id, found again by it, proved dead before anybody may go on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from ctl.errors import CommandFailedError, RefusedError, RegctlError, UsageError
from ctl.hosts import files, processes, supervisor
from ctl.hosts.base import Job, JobStatus, ProcessInfo
from ctl.hosts.job_record import Record, load, read_exit, read_record
from ctl.hosts.programs import SEARCH_PATH, Prepared

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_CLAIM = "claim.json"
_FORGOTTEN = ".forgotten-"
_POLL = 0.01  # seconds
SETTLE = 5.0  # seconds that a supervisor may take to write the exit code
UNKILLABLE = 30.0  # seconds after KILL before we say that a process cannot be killed


@dataclass(frozen=True)
class Jobs:
    """The jobs below one folder of a host."""

    host: str
    folder: str

    def _path(self, job_id: str) -> str:
        return os.path.join(self.folder, checked_id(job_id))

    def start(self, prepared: Prepared, job_id: str, log: str | None) -> Job:
        """Claim the id, start the program under a supervisor, return when it runs.

        Raises RefusedError where the id was given to another command, or nobody knows whether the job
        ever started; CommandFailedError where the program could not be executed.
        """
        path = self._path(job_id)
        digest = _digest(prepared, log)
        if not self._claim(path, digest):
            return self._again(job_id, digest)
        spec = {
            "folder": path,
            "log": log,
            "executable": prepared.executable,
            "argv": list(prepared.argv),
            "env": dict(prepared.env),
            "uid": prepared.identity.uid,
            "gid": prepared.identity.gid,
            "groups": list(prepared.identity.groups),
            "stdin": base64.b64encode(prepared.stdin).decode("ascii"),
        }
        answer = self._launch(spec, prepared.argv[0])
        info = processes.process(answer["pid"])
        if info is None or info.start_time != answer["start_time"]:  # over already
            info = ProcessInfo(answer["pid"], answer["start_time"], answer["boot_id"], "", prepared.argv)
        return Job(job_id, info)

    def _claim(self, path: str, digest: str) -> bool:
        files.make_directory(self.folder, 0o700, None, None)
        for name in os.listdir(self.folder):
            if name.startswith(_FORGOTTEN):  # a regctl was killed while it removed them
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        try:
            os.mkdir(path, 0o700)
            supervisor.publish(path, _CLAIM, {"digest": digest}, exclusive=True)
            files.sync_directory(self.folder)
        except FileExistsError:
            return False
        except OSError as error:
            raise files.failure(error, "claim", path) from error
        return True

    def _again(self, job_id: str, digest: str) -> Job:
        claim = load(os.path.join(self._path(job_id), _CLAIM))
        record = self._record(job_id)
        if claim is None or record is None:
            raise RefusedError(
                f"job {job_id} was claimed on {self.host}, but nothing says whether it ever started",
                hint="kill it first: that proves it dead",
            )
        if claim.get("digest") != digest:
            raise RefusedError(f"the id {job_id} belongs to another command on {self.host}")
        info = processes.process(record.pid)
        if info is None or info.start_time != record.start_time:
            info = ProcessInfo(record.pid, record.start_time, record.boot_id, "", ())
        return Job(job_id, info)

    def _launch(self, spec: dict[str, Any], program: str) -> dict[str, Any]:
        interpreter = [sys.executable, "-I", "-S", os.path.abspath(supervisor.__file__)]
        try:
            done = subprocess.run(
                interpreter,
                input=json.dumps(spec).encode("ascii"),
                capture_output=True,
                env={"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "HOME": "/"},
                start_new_session=True,
                check=False,
            )
        except OSError as error:
            raise files.failure(error, "start the supervisor", interpreter[0]) from error
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            last = tuple(done.stderr.decode("utf-8", "replace").splitlines()[-5:])
            raise CommandFailedError(
                f"the supervisor of {program} did not start on {self.host}", details=last
            ) from error
        if "error" in answer:
            raise CommandFailedError(f"cannot run {program} on {self.host}: {answer['error']}")
        return answer

    def _record(self, job_id: str) -> Record | None:
        return read_record(os.path.join(self._path(job_id), supervisor.RECORD))

    def _exit(self, job_id: str) -> int | None:
        return read_exit(os.path.join(self._path(job_id), supervisor.EXIT))

    def status(self, job_id: str) -> JobStatus:
        """Say what became of a job; only reads."""
        if not os.path.isdir(self._path(job_id)):
            return JobStatus("absent")
        record = self._record(job_id)
        if record is None:
            return JobStatus("unknown")
        deadline = time.monotonic() + SETTLE
        while (code := self._exit(job_id)) is None:
            if record.program_lives:
                info = processes.process(record.pid)
                if info is not None and info.start_time == record.start_time:
                    return JobStatus("running", process=info)
                continue
            if not record.supervisor_lives:
                code = self._exit(job_id)  # it may have been written between the two looks
                return JobStatus("lost") if code is None else JobStatus("exited", code)
            if time.monotonic() > deadline:
                return JobStatus("running")  # ended, but its supervisor cannot write the exit code
            time.sleep(_POLL)
        return JobStatus("exited", code)

    def output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int, limit: int | None = None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most."""
        path = os.path.join(self._path(job_id), stream)
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                return file.read() if limit is None else file.read(limit)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise files.failure(error, "read", path) from error

    def kill(self, job_id: str, grace: timedelta) -> None:
        """TERM everything in the job's session, KILL it after the grace; return when it is proved dead.

        Raises RegctlError where a process does not even obey KILL (it hangs in the kernel).
        """
        path = self._path(job_id)
        if not os.path.isdir(path):
            return
        record = self._record(job_id)
        if record is None:
            self._bury(path)
            record = self._record(job_id)
        if record is None or record.pid == 0 or record.boot_id != processes.boot_id():
            return
        now = time.monotonic()
        terminated: set[tuple[int, int]] = set()
        while members := self._members(record, path):
            late = time.monotonic() - now - grace.total_seconds()
            if late > UNKILLABLE:
                raise unkillable(job_id, self.host, ", ".join(str(item.pid) for item in members))
            for item in members:
                key = (item.pid, item.start_time)
                if late >= 0:
                    processes.send(*key, record.boot_id, signal.SIGKILL)
                elif key not in terminated:
                    processes.send(*key, record.boot_id, signal.SIGTERM)
                    processes.send(*key, record.boot_id, signal.SIGCONT)
                    terminated.add(key)
            time.sleep(_POLL)
        self._see_off(record)

    def _bury(self, path: str) -> None:
        """Make sure that a job which never recorded a process never starts one."""
        tombstone = Record(0, 0, "", 0, 0)
        with suppress(FileExistsError):  # it started after all, just now
            supervisor.publish(path, supervisor.RECORD, vars(tombstone), exclusive=True)

    def _members(self, record: Record, path: str) -> list[processes.Stat]:
        """List the job's live processes: the program, and whatever it left in its session."""
        session = record.supervisor_pid
        found = [
            item
            for item in processes.session_members(session)
            if item.pid != session and item.start_time >= record.supervisor_start_time
        ]
        if record.program_lives or record.supervisor_lives:
            return found  # a session's number is not given away while somebody is in it
        return [item for item in found if _prints_to(item.pid, path)]

    def _see_off(self, record: Record) -> None:
        """Give the supervisor time to write the exit code; then its work is over in any case."""
        deadline = time.monotonic() + SETTLE
        while record.supervisor_lives:
            if time.monotonic() > deadline:
                processes.send(
                    record.supervisor_pid,
                    record.supervisor_start_time,
                    record.boot_id,
                    signal.SIGKILL,
                )
            time.sleep(_POLL)

    def forget(self, job_id: str) -> None:
        """Delete a job's files. RefusedError while it runs, or while nobody knows whether it does."""
        state = self.status(job_id).state
        if state == "absent":
            return
        if state in ("running", "unknown"):
            raise RefusedError(f"job {job_id} on {self.host} is {state}: its files stay")
        path = self._path(job_id)
        away = os.path.join(self.folder, f"{_FORGOTTEN}{secrets.token_hex(8)}")
        try:
            os.rename(path, away)  # at once: nobody sees half a job
            shutil.rmtree(away)
        except FileNotFoundError:
            return
        except OSError as error:
            raise files.failure(error, "remove", path) from error


def unkillable(job_id: str, host: str, pids: str) -> RegctlError:
    """Return the error that says which processes of a job not even KILL ends."""
    return RegctlError(
        f"job {job_id} on {host} cannot be proved dead: process {pids} does not obey KILL",
        hint="it hangs in the kernel, often on a broken disk or mount; repair that first",
    )


def checked_id(job_id: str) -> str:
    """Return the id; UsageError where it could not be the name of a folder."""
    if not _ID.match(job_id):
        raise UsageError(f"{job_id!r} cannot be a job's id", hint="letters, digits, . _ -")
    return job_id


def _prints_to(pid: int, path: str) -> bool:
    for number in (1, 2):
        with suppress(OSError):
            if os.path.dirname(os.readlink(f"/proc/{pid}/fd/{number}")) == path:
                return True
    return False


def _digest(prepared: Prepared, log: str | None) -> str:
    parts = (*prepared.argv, "", *sorted(f"{k}={v}" for k, v in prepared.env.items()), "", log or "")
    text = "\0".join((*parts, str(prepared.identity.uid)))
    return hashlib.sha256(os.fsencode(text)).hexdigest()
