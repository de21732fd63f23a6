"""One lock per resource, with an epoch that only ever grows: who holds it, since when, and why.

`<state_dir>/locks/<slug>.json` holds the epoch and the holder, replaced atomically under a short file
lock. The epoch outlives every holder: breaking a lock raises it first, so that a holder that was only
asleep fails at its next `guard`. A running holder also keeps `<slug>.<epoch>.held` flocked, which the
kernel frees when it dies; its mtime is the holder's last sign of life.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ctl.errors import ConfigError, LockedError, RefusedError, UsageError
from ctl.recipes import failpoints
from ctl.recipes.durable import append_line, explained, private_directory, replace_file, short_lock
from ctl.recipes.identity import Holder, Verdict, judge, myself
from ctl.recipes.journal import FencedError, now
from ctl.recipes.threads import each

_LAST_CHILD = 1.0  # seconds

_AT_ONCE = 16  # locks that are written side by side


@dataclass(frozen=True)
class LockInfo:
    """Who holds a lock. `run` is "" for a lock that an operator took by hand."""

    id: str
    holder: Holder
    kind: str  # "process" | "operator"
    command: str
    reason: str
    since: str
    run: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as the file stores it."""
        data = {name: getattr(self, name) for name in ("id", "kind", "command", "reason", "since", "run")}
        return {**data, "holder": self.holder.as_json()}

    def describe(self) -> str:
        """Say who, what, where, since when and why."""
        who = f"{self.holder.user}@{self.holder.host}"
        where = "" if self.kind == "operator" else f", pid {self.holder.pid}"
        why = f": {self.reason}" if self.reason else ""
        return f"{who} ({self.command}{where}) since {self.since}{why}"


@dataclass(frozen=True)
class LockState:
    """A lock as found. `info` None: free. `heartbeat` is the holder's last sign of life, seconds or None."""

    resource: str
    epoch: int
    info: LockInfo | None
    verdict: Verdict | None
    heartbeat: float | None = None


def slug(resource: str) -> str:
    """Turn a resource into a file name; two resources never share one."""
    return quote(resource, safe="")


class Locks:
    """The locks of one controller."""

    def __init__(self, state_dir: str, boundary: failpoints.Boundary = failpoints.off) -> None:
        self.folder = os.path.join(state_dir, "locks")
        self._boundary = boundary

    def state(self, resource: str) -> LockState:
        """Look at a lock; writes nothing."""
        with explained():
            epoch, info = self._read(resource)
        if info is None:
            return LockState(resource, epoch, None, None)
        verdict: Verdict = "operator" if info.kind == "operator" else judge(info.holder)
        beat: float | None = None
        if info.kind == "process":
            with contextlib.suppress(OSError):
                beat = os.stat(self._held_path(resource, epoch)).st_mtime
            # Seen from another pid namespace a living holder has no pid here, but it keeps its file locked.
            if verdict == "dead" and self._stays_flocked(resource, epoch):
                verdict = "alive"
        return LockState(resource, epoch, info, verdict, beat)

    def states(self) -> list[LockState]:
        """Look at every lock that is or ever was held; writes nothing."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.folder)):
                if name.endswith(".json"):
                    found.append(self.state(unquote(name.removesuffix(".json"))))
        return found

    def acquire(self, resources: Sequence[str], info: LockInfo) -> Held:
        """Take the locks of all resources, with one epoch higher than any of theirs, or none.

        A holder that is proved dead is replaced. LockedError describes the holder otherwise.
        """
        names = sorted(set(resources))
        private_directory(self.folder)
        held = Held(self, tuple(names), 0, info)
        try:
            with contextlib.ExitStack() as stack, self._boundary("lock acquire"):
                for resource in names:
                    stack.enter_context(short_lock(self._path(resource, ".mutex")))
                states = [self.state(resource) for resource in names]
                for state in states:
                    self.refuse_held(state)
                held.epoch = max((state.epoch for state in states), default=0) + 1
                # Side by side: each is flushed to the disk, and a fleet has a lock for every host.
                each(lambda state: self._take(state, held), states, _AT_ONCE)
        except BaseException:
            held.release()
            raise
        return held

    def _take(self, state: LockState, held: Held) -> None:
        if held.info.kind == "process":
            held.descriptors.append(self._hold_file(state.resource, held.epoch))
        self._write(state.resource, held.epoch, held.info)
        self._forget_file(state.resource, state.epoch)
        if state.info is not None:
            user = held.info.holder.user
            self._audit("taken-over", state, user, f"the holder is {state.verdict}")

    def acquire_by_hand(self, resource: str, reason: str) -> LockState:
        """Take a lock for the operator: it stays until released, by whomever and from any process."""
        self.acquire((resource,), new_info("regctl lock acquire", reason, kind="operator"))
        state = self.state(resource)
        self._audit("acquired", state, myself().user, reason)
        return state

    def release_by_hand(self, resource: str, lock_id: str = "") -> LockInfo:
        """Give an operator's lock back; UsageError if it is free, RefusedError if a run holds it."""
        with self._changing(resource) as state:
            if state.info is None:
                raise UsageError(f"nobody holds the lock of {resource}")
            if state.info.kind != "operator":
                raise RefusedError(
                    f"the lock of {resource} is held by a run: {state.info.describe()}",
                    hint=f"let it end, or: regctl lock break {state.info.id} --reason WHY",
                )
            if lock_id and not state.info.id.startswith(lock_id):
                raise UsageError(f"the lock of {resource} has the id {state.info.id}, not {lock_id}")
            self._write(resource, state.epoch, None)
            self._audit("released", state, myself().user, "")
            return state.info

    def break_(self, lock_id: str, reason: str) -> LockState:
        """Take a lock away from its holder: the epoch rises first, so a sleeping holder can change nothing.

        UsageError if no lock has that id (any more): of two breakers at once, one wins.
        """
        for found in self.states():
            if found.info is None or found.info.id != lock_id:
                continue
            with self._changing(found.resource) as state, self._boundary("lock break"):
                if state.info is None or state.info.id != lock_id:
                    break
                self._write(state.resource, state.epoch + 1, None)
                self._forget_file(state.resource, state.epoch)
                self._audit("broken", state, myself().user, reason)
                return state
        raise UsageError(
            f"no lock has the id {lock_id}", hint="`regctl lock status` shows the ids that there are"
        )

    def refuse_held(self, state: LockState) -> None:
        """Raise LockedError unless the lock is free, or its holder proved dead."""
        if state.info is None or state.verdict in ("dead", "rebooted"):
            return
        if state.info.kind == "operator":
            name = state.resource.partition("/")[2] or state.resource
            hint = f"when that is over: regctl lock release {name} {state.info.id}"
        else:
            hint = f"wait for it, or: regctl lock break {state.info.id} --reason WHY"
        raise LockedError(f"{state.resource} is locked by {state.info.describe()}", hint=hint)

    @contextlib.contextmanager
    def _changing(self, resource: str) -> Iterator[LockState]:
        private_directory(self.folder)
        with short_lock(self._path(resource, ".mutex")):
            yield self.state(resource)

    def _path(self, resource: str, ending: str) -> str:
        return os.path.join(self.folder, slug(resource) + ending)

    def _held_path(self, resource: str, epoch: int) -> str:
        return self._path(resource, f".{epoch}.held")

    def _read(self, resource: str) -> tuple[int, LockInfo | None]:
        path = self._path(resource, ".json")
        try:
            with open(path, "rb") as file:
                data = json.loads(file.read())
            epoch, found = int(data["epoch"]), data["info"]
            if found is None:
                return epoch, None
            return epoch, LockInfo(**{**found, "holder": Holder.from_json(found["holder"])})
        except FileNotFoundError:
            return 0, None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"the lock file {path} is damaged: {error}",
                hint="make sure that no regctl runs, then write the last epoch back into it, or a far"
                ' higher one: {"epoch": 100000, "info": null}',
            ) from error

    def _write(self, resource: str, epoch: int, info: LockInfo | None) -> None:
        data = {"resource": resource, "epoch": epoch, "info": info.as_json() if info else None}
        replace_file(self._path(resource, ".json"), json.dumps(data, sort_keys=True).encode() + b"\n")

    def _hold_file(self, resource: str, epoch: int) -> int:
        path = self._held_path(resource, epoch)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def _forget_file(self, resource: str, epoch: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._held_path(resource, epoch))

    def _stays_flocked(self, resource: str, epoch: int) -> bool:
        """Say whether the file is held for longer than a killed holder's last child could hold it.

        Between fork and exec a child has the holder's descriptors. On a busy machine a holder that was
        killed in that moment seems to live for some hundredths of a second more.
        """
        deadline = time.monotonic() + _LAST_CHILD
        while self._is_flocked(resource, epoch):
            if time.monotonic() > deadline:
                return True
            time.sleep(0.02)
        return False

    def _is_flocked(self, resource: str, epoch: int) -> bool:
        try:
            descriptor = os.open(self._held_path(resource, epoch), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def audit_claim(self, resource: str, claim: Mapping[str, Any], reason: str) -> None:
        """Write down that another controller's claim is taken away."""
        private_directory(self.folder)
        self._append("claim-broken", resource, claim, myself().user, reason)

    def _audit(self, what: str, state: LockState, user: str, reason: str) -> None:
        info = state.info.as_json() if state.info else None
        self._append(what, state.resource, {"epoch": state.epoch, "info": info}, user, reason)

    def _append(self, what: str, resource: str, facts: Mapping[str, Any], user: str, reason: str) -> None:
        record = {"time": now(), "what": what, "resource": resource, "user": user, "reason": reason}
        append_line(os.path.join(self.folder, "audit.jsonl"), {**record, **facts, "resource": resource})


def new_info(command: str, reason: str, *, kind: str = "process", run: str = "") -> LockInfo:
    """Describe this process as a holder, with an id of its own."""
    return LockInfo(uuid.uuid4().hex[:12], myself(), kind, command, reason, now(), run)


@dataclass
class Held:
    """Locks that this process holds, all with one epoch."""

    locks: Locks
    resources: tuple[str, ...]
    epoch: int
    info: LockInfo

    def __post_init__(self) -> None:
        self.descriptors: list[int] = []

    def guard(self, host: str = "") -> None:
        """Raise FencedError unless every lock is still ours; a sign of life otherwise.

        With `host` the locks of other hosts are not asked: their rows ask for themselves.
        """
        for resource in self.resources:
            if host and resource.startswith("host/") and resource != f"host/{host}":
                continue
            epoch, info = self.locks._read(resource)
            if epoch != self.epoch or info is None or info.id != self.info.id:
                now_held = f", now held by {info.describe()}" if info else ""
                raise FencedError(
                    f"the lock of {resource} was taken from this run (epoch {self.epoch}, now {epoch})"
                    f"{now_held}",
                    hint="nothing more is changed here; see `regctl lock status` and `regctl run list`",
                )
        for descriptor in self.descriptors:
            os.utime(descriptor)

    def release(self) -> None:
        """Give back what is still ours; the epoch stays."""
        with self.locks._boundary("lock release"):
            each(self._give_back, self.resources, _AT_ONCE)
        self.close()

    def _give_back(self, resource: str) -> None:
        with self.locks._changing(resource) as state:
            if state.info is not None and state.info.id == self.info.id:
                self.locks._write(resource, state.epoch, None)
                self.locks._forget_file(resource, self.epoch)

    def close(self) -> None:
        """Let go of the file locks only, as dying would."""
        while self.descriptors:
            os.close(self.descriptors.pop())
