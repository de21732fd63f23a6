"""The folder of runs: readable ids, which runs are open, how long closed ones are kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from datetime import UTC, datetime, timedelta

from ctl.errors import RegctlError, UsageError
from ctl.recipes import journal
from ctl.recipes.durable import explained, replace_file
from ctl.recipes.state import RunState, fold

KEEP_RUNS = 200
KEEP_DAYS = 90
_ABANDONED = "abandoned.json"
_END = re.compile(rb'\{"seq":[0-9]+,"time":"[^"]*","kind":"end",')
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z0-9-]+-[0-9a-f]{4}")


def new_id(recipe: str) -> str:
    """Return an id that sorts by time and says what it was, such as 20261122T064500Z-gc-4f2a."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = re.sub(r"[^a-z0-9]+", "-", recipe.lower()).strip("-") or "run"
    return f"{stamp}-{name}-{os.urandom(2).hex()}"


def folder(state_dir: str, run_id: str = "") -> str:
    """Return the folder of a run, or of all of them."""
    return os.path.join(state_dir, "runs", run_id) if run_id else os.path.join(state_dir, "runs")


def journal_path(state_dir: str, run_id: str) -> str:
    """Return where a run's journal is."""
    return os.path.join(folder(state_dir, run_id), journal.FILE_NAME)


def ids(state_dir: str) -> list[str]:
    """Return the ids of all runs, oldest first; a folder without a journal never began."""
    try:
        with explained():
            names = sorted(os.listdir(folder(state_dir)))
    except RegctlError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    return [name for name in names if _ID.fullmatch(name) and os.path.exists(journal_path(state_dir, name))]


def find(state_dir: str, given: str) -> str:
    """Return the id that begins with what was given; UsageError if none or several do."""
    found = [name for name in ids(state_dir) if name.startswith(given)]
    if given in found:
        return given
    if len(found) == 1:
        return found[0]
    what = "no run has" if not found else f"{len(found)} runs have"
    raise UsageError(
        f"{what} an id beginning with {given!r}",
        hint="`regctl run list` shows them all",
        details=tuple(found[:10]),
    )


def load(state_dir: str, run_id: str) -> RunState:
    """Read a run; one that cannot be read has the state "unreadable" and says why."""
    path = journal_path(state_dir, run_id)
    try:
        state = fold(journal.read(path).records)
        if not state.id:
            # Killed between creating the file and its first record: nothing was done yet.
            state.id, state.state, state.reason = run_id, "failed", "it never began"
    except (RegctlError, KeyError, TypeError, ValueError, OSError) as error:
        state = RunState(id=run_id, state="unreadable", reason=str(error))
    with (
        contextlib.suppress(FileNotFoundError),
        open(os.path.join(folder(state_dir, run_id), _ABANDONED)) as file,
    ):
        facts = json.load(file)
        state.state, state.reason, state.ended_at = "abandoned", facts["reason"], facts["time"]
    return state


def mark_abandoned(state_dir: str, run_id: str, reason: str) -> None:
    """Close a run whose journal cannot be appended to."""
    facts = {"reason": reason, "time": journal.now()}
    path = os.path.join(folder(state_dir, run_id), _ABANDONED)
    replace_file(path, json.dumps(facts).encode() + b"\n")


def is_closed(state_dir: str, run_id: str) -> bool:
    """Say whether a run's last record ends it, by reading the end of its journal only."""
    if os.path.exists(os.path.join(folder(state_dir, run_id), _ABANDONED)):
        return True
    try:
        with open(journal_path(state_dir, run_id), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return True
            file.seek(max(0, size - 4096))
            end = file.read()
    except FileNotFoundError:
        return True
    if not end.endswith(b"\n"):
        return False
    return _END.match(end[:-1].rpartition(b"\n")[2]) is not None


def open_runs(state_dir: str, resources: tuple[str, ...] | None = None) -> list[RunState]:
    """Return the runs that are not closed, oldest first; those on one of the resources, if given.

    Only reads. A run whose journal is damaged is open on every resource.
    """
    found = []
    for run_id in ids(state_dir):
        if is_closed(state_dir, run_id):
            continue
        state = load(state_dir, run_id)
        if state.closed:
            continue
        wanted = resources is None or state.state == "unreadable"
        if wanted or set(state.resources) & set(resources or ()):
            found.append(state)
    return found


def prune(state_dir: str, keep: int = KEEP_RUNS, days: int = KEEP_DAYS) -> list[str]:
    """Delete closed runs beyond the last `keep`, or older than `days`; never an open one.

    Return the ids that went.
    """
    oldest = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ")
    closed = [run_id for run_id in ids(state_dir) if is_closed(state_dir, run_id)]
    beyond = set(closed[: max(0, len(closed) - keep)])
    gone = [run_id for run_id in closed if run_id in beyond or run_id < oldest]
    for run_id in gone:
        shutil.rmtree(folder(state_dir, run_id), ignore_errors=True)
    _remove_unborn(state_dir)
    return gone


def _remove_unborn(state_dir: str) -> None:
    """Remove old folders without a journal: a crash between the two leaves one."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder(state_dir)):
            path = folder(state_dir, name)
            with contextlib.suppress(OSError):
                if _ID.fullmatch(name) and time.time() - os.stat(path).st_mtime > 86400:
                    os.rmdir(path)  # only an empty one goes
