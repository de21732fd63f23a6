"""Follow a run from another terminal: its journal, record by record, until it ends or is proved cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ctl.recipes import runs
from ctl.recipes.identity import judge
from ctl.recipes.journal import JournalError, Record, decode, line_hash
from ctl.recipes.state import RunState
from ctl.report.events import Event, Message, Retrying, RowEnded, RowStarted, StepEnded, StepStarted

POLL = 0.2  # seconds


@dataclass
class Tail:
    """What of a journal is read so far. Only whole, checked lines count: its writer may be in the middle."""

    path: str
    offset: int = 0
    records: int = 0
    last_hash: str = ""
    state: RunState = field(default_factory=RunState)

    def more(self) -> Iterator[Record]:
        """Yield the records written since; JournalError where the journal is damaged."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        for line in data.split(b"\n")[:-1]:
            try:
                record = decode(line, self.records + 1, self.last_hash)
            except (ValueError, KeyError, TypeError) as error:
                if b"\0" in line:
                    return  # not all of it has reached the disk yet
                raise JournalError(f"{self.path}:{self.records + 1}: {error}") from error
            self.offset += len(line) + 1
            self.records += 1
            self.last_hash = line_hash(line)
            self.state.fold(record)
            yield record


def follow(
    state_dir: str, run_id: str, emit: Callable[[Event], None], sleep: Callable[[float], None] = time.sleep
) -> RunState:
    """Tell what a run does as it does it; return its state once it has ended, or nobody does anything more.

    Only reads. Of a run that has ended already everything is told at once.
    """
    tail = Tail(runs.journal_path(state_dir, run_id))
    hosts: dict[str, str] = {}
    gone = False
    while True:
        for record in tail.more():
            gone = False
            for event in events_of(record, tail.state.id, hosts):
                emit(event)
        if tail.state.closed:
            return tail.state
        if gone:  # and what it wrote last has been read since
            return tail.state
        holder = tail.state.holder
        gone = holder is not None and judge(holder) in ("dead", "rebooted")
        if not gone:
            sleep(POLL)


def events_of(record: Record, run: str, hosts: dict[str, str]) -> Iterator[Event]:
    """Yield what the run itself told when it wrote a record; `hosts` keeps the hosts of its rows."""
    from ctl.recipes.state import row_of

    facts = record.payload
    path = str(facts.get("path", ""))
    host = hosts.get(row_of(path), "")
    if record.kind == "row-begin":
        hosts[path] = facts["host"]
        yield RowStarted(run, path, facts["host"])
    elif record.kind == "row-end":
        yield RowEnded(run, path, facts["host"], facts["result"], facts["seconds"], facts["reason"])
    elif record.kind == "intent":
        yield StepStarted(run, path, facts["host"], facts["title"], facts["phase"], host)
    elif record.kind == "outcome":
        seconds = _seconds(facts["started_at"], record.time)
        yield StepEnded(
            run,
            path,
            facts["host"],
            facts["title"],
            facts["phase"],
            facts["result"],
            seconds,
            facts["reason"],
            host,
        )
    elif record.kind == "retry":
        yield Retrying(path, facts["attempt"], facts["wait"], facts["reason"])
    elif record.kind == "unwind":
        yield Message(f"it backs out: {facts['reason']}", "warning")
    elif record.kind == "resume":
        holder = facts["holder"]
        yield Message(f"taken up by {holder['user']}@{holder['host']}, pid {holder['pid']}", "warning")


def _seconds(since: str, until: str) -> float:
    try:
        return max(0.0, (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())
    except ValueError:
        return 0.0
