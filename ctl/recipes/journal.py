"""The durable record of one run: JSON lines, each checked and chained, flushed before the next write.

A line is an object with `seq`, `time`, `kind`, `payload`, `prev` (SHA-256 of the line before), and, last,
`len` and `crc` over everything before them. Readers never write. Whoever opens it to append cuts a torn
tail off; anything wrong before the last line is an error that names the file and the line.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ctl.errors import LockedError, RegctlError
from ctl.recipes import failpoints
from ctl.recipes.durable import explained, flush_directory, private_directory, write_all

FILE_NAME = "journal.jsonl"
_TAIL = re.compile(rb',"len":([0-9]{1,9}),"crc":"([0-9a-f]{8})"\}$')


class JournalError(RegctlError):
    """A journal is damaged before its last line."""


class FencedError(LockedError):
    """Another process has taken this run, its lock or its claim over: this one changes nothing more."""


@dataclass(frozen=True)
class Record:
    """One line of a journal."""

    seq: int
    time: str
    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """A journal as read: its records, where the good part ends (bytes), and the last line's hash."""

    records: tuple[Record, ...]
    end: int
    last_hash: str
    torn: bool


def now() -> str:
    """Return the time as RFC 3339, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(seq: int, time: str, kind: str, payload: Mapping[str, Any], previous: str) -> bytes:
    """Build a line; TypeError if the payload is not JSON-able."""
    body = json.dumps(
        {"seq": seq, "time": time, "kind": kind, "payload": payload, "prev": previous},
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    ).encode()
    return body[:-1] + b',"len":%d,"crc":"%08x"}\n' % (len(body), zlib.crc32(body))


def decode(line: bytes, seq: int, previous: str) -> Record:
    """Read a line without its newline; ValueError says what is wrong with it."""
    tail = _TAIL.search(line)
    if not tail:
        raise ValueError("it is not a journal line")
    body = line[: tail.start()] + b"}"
    if len(body) != int(tail[1]):
        raise ValueError(f"its length is {len(body)}, not {int(tail[1])}")
    if zlib.crc32(body) != int(tail[2], 16):
        raise ValueError("its checksum is wrong")
    data = json.loads(body)
    if data["seq"] != seq:
        raise ValueError(f"its number is {data['seq']}, not {seq}")
    if data["prev"] != previous:
        raise ValueError("it does not follow from the line before")
    return Record(data["seq"], data["time"], data["kind"], data["payload"])


def line_hash(line: bytes) -> str:
    """Return what the line after this one (without its newline) names as `prev`."""
    return hashlib.sha256(line).hexdigest()


def _torn(line: bytes, complete: bool) -> bool:
    # A crash leaves a line without its end, or blocks of zeros where data had not reached the disk.
    # A whole last line that is merely wrong is damage, and may hold an intent that was acted on.
    return not complete or b"\0" in line


def parse(data: bytes, name: str) -> Reading:
    """Read a whole journal; JournalError names the file and the line where it is damaged."""
    records: list[Record] = []
    end, previous = 0, ""
    while end < len(data):
        newline = data.find(b"\n", end)
        complete = newline >= 0
        line = data[end : newline if complete else len(data)]
        last = not complete or newline == len(data) - 1
        try:
            if not complete:
                raise ValueError("it is cut off")
            record = decode(line, len(records) + 1, previous)
        except (ValueError, KeyError, TypeError) as error:
            if last and _torn(line, complete):
                return Reading(tuple(records), end, previous, torn=True)
            raise JournalError(
                f"{name}:{len(records) + 1}: this journal line is damaged: {error}",
                hint="nothing is changed on its word; look at the registry, then close the run with"
                " `regctl run abandon ID --leave-open-scopes --reason WHY`",
            ) from error
        records.append(record)
        previous = line_hash(line)
        end = newline + 1
    return Reading(tuple(records), end, previous, torn=False)


def read(path: str) -> Reading:
    """Read a journal file; a torn tail is left out, and left alone."""
    with open(path, "rb") as file:
        return parse(file.read(), path)


class Journal:
    """A journal open for appending, by exactly one process: another one's lines end this one's right."""

    def __init__(self, path: str, boundary: failpoints.Boundary = failpoints.off) -> None:
        self.path = path
        self._boundary = boundary
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._end = -1
        self._seq, self._previous = 0, ""
        self._durable = -1  # everything before it is on the disk
        self._broken = ""  # why nothing more can be flushed
        self._flushing = threading.Lock()

    @classmethod
    def create(cls, folder: str, boundary: failpoints.Boundary = failpoints.off) -> Journal:
        """Start a journal in a run's new folder (0700, file 0600), names flushed to disk."""
        private_directory(os.path.dirname(folder))
        private_directory(folder)
        path = os.path.join(folder, FILE_NAME)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with explained():
            os.close(os.open(path, flags, 0o600))
            flush_directory(folder)
        journal = cls(path, boundary)
        journal._end = 0
        return journal

    def take_over(self, kind: str, payload: Mapping[str, Any]) -> tuple[Record, ...]:
        """Read all there is, cut a torn tail off, append one record that says who goes on from here.

        From then on an append by whoever wrote before fails.
        """
        with _held(self._descriptor):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            with open(os.dup(self._descriptor), "rb") as file:
                data = file.read()
            reading = parse(data, self.path)
            if reading.torn:
                os.ftruncate(self._descriptor, reading.end)
                os.fsync(self._descriptor)
            self._end, self._seq = reading.end, len(reading.records)
            self._previous = reading.last_hash
            with self.boundary(kind, payload):
                record = self._write(kind, payload)
                self.flush(self._end)
            return (*reading.records, record)

    def append(self, kind: str, payload: Mapping[str, Any]) -> Record:
        """Write a record and flush it; FencedError if another process has written since."""
        with self.boundary(kind, payload):
            record, end = self.put(kind, payload)
            self.flush(end)
        return record

    def boundary(self, kind: str, payload: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Return the failpoint around one record."""
        return self._boundary(f"journal {kind} {payload.get('path', '')}".rstrip())

    def put(self, kind: str, payload: Mapping[str, Any]) -> tuple[Record, int]:
        """Write a record, one thread at a time; it holds once `flush` was called with what is returned.

        FencedError if another process has written since.
        """
        with _held(self._descriptor):
            if self._broken:
                raise self._unwritable(self._broken)
            if os.fstat(self._descriptor).st_size != self._end:
                raise FencedError(
                    f"another regctl has taken this run over ({self.path})",
                    hint="nothing more is changed here; see `regctl run list` and `regctl lock status`",
                )
            return self._write(kind, payload), self._end

    def flush(self, end: int) -> None:
        """Return when everything before `end` is on the disk; threads that wait here share one fsync."""
        with self._flushing:
            if self._broken:
                raise self._unwritable(self._broken)
            if self._durable >= end:
                return
            upto = self._end
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                # A later fsync may pass over in silence what this one lost: no line counts any more.
                self._broken = error.strerror or str(error)
                raise self._unwritable(self._broken) from error
            self._durable = upto

    def _write(self, kind: str, payload: Mapping[str, Any]) -> Record:
        record = Record(self._seq + 1, now(), kind, payload)
        line = encode(record.seq, record.time, kind, payload, self._previous)
        os.lseek(self._descriptor, self._end, os.SEEK_SET)
        try:
            write_all(self._descriptor, line)
        except OSError as error:
            os.ftruncate(self._descriptor, self._end)
            raise self._unwritable(error.strerror or str(error)) from error
        self._end += len(line)
        self._seq = record.seq
        self._previous = line_hash(line[:-1])
        return record

    def _unwritable(self, why: str) -> RegctlError:
        return RegctlError(
            f"the journal {self.path} cannot be written: {why}",
            hint="make room or fix the disk below state_dir, then: regctl run list",
        )

    def close(self) -> None:
        """Close the file; the run itself stays as its last record says."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _held:  # noqa: N801 - reads as a word in a with statement
    """Hold the file lock of a descriptor for a moment; the kernel frees it when the process dies."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
