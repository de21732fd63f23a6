"""The small program that stands over a detached job. Standard library only; runs by its own file.

It reads a description on stdin, leaves the controller's session, and starts the job's program only
after having recorded, for good, which process that is. So a job that runs is always known, whatever
is killed at whatever moment:

- The program is forked first and waits at a gate. If this supervisor dies before the record lies on
  the disk, the gate closes and the program never starts.
- The record is made by a hard link, which fails where a tombstone lies already: a job that somebody
  gave up before it started never starts.
- The exit code is written beside it, then renamed. Killed with its supervisor, a job has none.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

RECORD = "process.json"
EXIT = "exit.json"
_RETRY = 1.0  # seconds between attempts to write the exit code where the disk is full
_PATIENCE = 600  # such attempts


def start_time(pid: int) -> int:
    """Return a live process's start in clock ticks since boot, /proc/PID/stat field 22."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    return int(text[text.rindex(b")") + 2 :].split()[19])


def boot_id() -> str:
    """Name this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def publish(folder: str, name: str, value: dict[str, Any], *, exclusive: bool) -> None:
    """Write a file for good, whole or not at all; FileExistsError if it is exclusive and there."""
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, json.dumps(value).encode("ascii"))
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        if exclusive:
            os.link(temporary, os.path.join(folder, name))
        else:
            os.rename(temporary, os.path.join(folder, name))
    finally:
        with contextlib.suppress(FileNotFoundError):  # renamed
            os.unlink(temporary)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stay(number: int, frame: FrameType | None) -> None:
    """Outlive a signal meant for the job; a handler, since an ignored signal would be inherited."""


def _stdin(data: bytes) -> int:
    if not data:
        return os.open("/dev/null", os.O_RDONLY)
    handle = os.memfd_create("stdin")
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _outputs(spec: dict[str, Any]) -> tuple[int, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    if spec["log"]:
        log = os.open(spec["log"], flags, 0o640)
        return log, log
    folder = spec["folder"]
    return tuple(  # type: ignore[return-value]
        os.open(os.path.join(folder, name), flags, 0o600) for name in ("stdout", "stderr")
    )


def _become(spec: dict[str, Any], gate: int, handles: tuple[int, int, int]) -> None:
    """In the child: wait at the gate, then turn into the program."""
    if os.read(gate, 1) != b"g":
        os._exit(0)  # given up, or the supervisor died: never started
    for target, handle in enumerate(handles):
        os.dup2(handle, target, inheritable=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    if spec["uid"] is not None:
        os.setgroups(spec["groups"])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
    os.execve(spec["executable"], spec["argv"], spec["env"])  # noqa: S606 - no shell is the point


def _fork(spec: dict[str, Any], handles: tuple[int, int, int]) -> tuple[int, int, int]:
    """Fork the program up to its gate; return its pid, the gate's and the failure report's end."""
    gate, opener = os.pipe()
    failure, reporter = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        try:
            os.close(opener)
            os.close(failure)
            os.setpgid(0, 0)
            _become(spec, gate, handles)
        except OSError as error:
            os.write(reporter, (error.strerror or str(error)).encode())
        except BaseException as error:
            os.write(reporter, repr(error).encode())
        os._exit(127)
    os.close(gate)
    os.close(reporter)
    return pid, opener, failure


def _tell(answer: dict[str, Any]) -> None:
    """Answer the controller, if it still lives, and let go of it."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(answer).encode("ascii"))
    null = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    os.close(null)


def supervise(spec: dict[str, Any]) -> None:
    """Start the job and see it to its end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _stay)
    folder = spec["folder"]
    stdout, stderr = _outputs(spec)
    stdin = _stdin(base64.b64decode(spec.pop("stdin")))
    pid, opener, failure = _fork(spec, (stdin, stdout, stderr))
    for handle in {stdin, stdout, stderr}:
        os.close(handle)
    record = {
        "pid": pid,
        "start_time": start_time(pid),
        "boot_id": boot_id(),
        "supervisor_pid": os.getpid(),
        "supervisor_start_time": start_time(os.getpid()),
    }
    try:
        publish(folder, RECORD, record, exclusive=True)
    except FileExistsError:
        _tell({"error": "given up before it started"})
        return  # the gate closes with us
    os.write(opener, b"g")
    os.close(opener)
    said = b""
    while chunk := os.read(failure, 4096):
        said += chunk
    if said:
        os.waitpid(pid, 0)
        _finish(folder, {"exit_code": 127, "error": said.decode("utf-8", "replace")})
        _tell({"error": said.decode("utf-8", "replace")})
        return
    _tell(record)
    _, status = os.waitpid(pid, 0)
    _finish(folder, {"exit_code": os.waitstatus_to_exitcode(status)})


def _finish(folder: str, value: dict[str, Any]) -> None:
    for _ in range(_PATIENCE):
        try:
            publish(folder, EXIT, value, exclusive=False)
            return
        except FileNotFoundError:
            return  # forgotten meanwhile
        except OSError:
            time.sleep(_RETRY)


def main() -> None:
    """Read the description, leave the controller's session, supervise."""
    spec = json.loads(sys.stdin.buffer.read())  # cut short by a killed controller: an error, no start
    if os.fork():
        os._exit(0)  # the controller waits for this one only
    os.setsid()
    os.chdir("/")
    try:
        supervise(spec)
    except BaseException as error:
        _tell({"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
