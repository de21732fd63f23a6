"""The machine that regctl itself runs on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from ctl.hosts import files, processes, programs
from ctl.hosts.base import Command, FileInfo, Job, JobStatus, JobTail, LineSink, Look, ProcessInfo, Result
from ctl.hosts.job_waiting import wait_job
from ctl.hosts.jobs import Jobs
from ctl.hosts.looking import look


class LocalHost:
    """This machine, behind the same door as a remote one. Jobs keep their files below `jobs_dir`."""

    def __init__(self, name: str, jobs_dir: str, search_path: str = programs.SEARCH_PATH) -> None:
        self.name = name
        self._search_path = search_path
        self._jobs = Jobs(name, jobs_dir)

    def run(self, command: Command, on_line: LineSink | None = None) -> Result:
        """Run to the end. A non-zero exit is a Result; a program that is missing is an error."""
        prepared = programs.prepare(command, self.name, self._search_path)
        timeout = command.timeout.total_seconds() if command.timeout is not None else None
        return programs.run(prepared, self.name, timeout, on_line)

    def start(self, command: Command, job_id: str, log: str | None = None) -> Job:
        """Start detached, in its own session, output in files. The same id is never started twice."""
        prepared = programs.prepare(command, self.name, self._search_path)
        return self._jobs.start(prepared, job_id, log)

    def job(self, job_id: str) -> JobStatus:
        """Say what became of a job; only reads."""
        return self._jobs.status(job_id)

    def job_output(
        self, job_id: str, stream: Literal["stdout", "stderr"], offset: int = 0, limit: int | None = None
    ) -> bytes:
        """Return what the job has printed from that byte on, `limit` bytes at most; only reads."""
        return self._jobs.output(job_id, stream, offset, limit)

    def run_job(self, command: Command, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Start it, then wait for it."""
        self.start(command, job_id)
        return wait_job(self, job_id, patience, tail)

    def wait_job(self, job_id: str, patience: timedelta, tail: int) -> JobTail:
        """Return when the job runs no more, or when the patience is over; only reads."""
        return wait_job(self, job_id, patience, tail)

    def kill_job(self, job_id: str, grace: timedelta) -> None:
        """TERM the job's whole session, KILL it after the grace; return when it is proved dead."""
        self._jobs.kill(job_id, grace)

    def forget_job(self, job_id: str) -> None:
        """Delete the files of a job that is not running."""
        self._jobs.forget(job_id)

    def read(self, path: str) -> bytes:
        """Return a file's bytes; FileNotFoundError if it is not there."""
        return files.read(path)

    def stat(self, path: str) -> FileInfo | None:
        """Describe a path, or None if it is not there."""
        return files.stat(path)

    def look(self, path: str, limit: int) -> Look | None:
        """Describe a path and read it, if it is no longer than `limit`."""
        return look(self, path, limit)

    def list_directory(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; FileNotFoundError if it is not there."""
        return files.list_directory(path)

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int,
        owner: str | None = None,
        group: str | None = None,
    ) -> None:
        """Replace a file atomically; owner and group stay as they were unless given."""
        files.write(path, data, mode, owner, group)

    def remove(self, path: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        files.remove(path)

    def make_directory(
        self, path: str, *, mode: int, owner: str | None = None, group: str | None = None
    ) -> None:
        """Create a directory and its parents where they are missing."""
        files.make_directory(path, mode, owner, group)

    def processes(self) -> Iterable[ProcessInfo]:
        """List the live processes."""
        return processes.processes()

    def process(self, pid: int) -> ProcessInfo | None:
        """Describe one live process, or None."""
        return processes.process(pid)

    def signal(self, process: ProcessInfo, number: int, *, group: bool = False) -> bool:
        """Send a signal to exactly that process, or group that it leads; False if it is gone."""
        send = processes.send_group if group else processes.send
        return send(process.pid, process.start_time, process.boot_id, number)

    def listening(self, port: int) -> bool:
        """Say whether anything on the host listens on this TCP port."""
        return processes.listening(port)
