"""Whether hosts can be worked on at all: connectivity, identity and privilege, proved before any change.

Everything is asked by one script over each host's own door, so that what is proved is what will be used.
It only reads: where the state folder is missing, its nearest parent tells whether it could be made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.errors import Outcome, RegctlError

if TYPE_CHECKING:
    from ctl.world import World

AT_ONCE = 20
PATIENCE = timedelta(seconds=60)  # that the script may take, once it is connected
FAR_STATE_DIR = "/var/lib/regctl"  # of a host reached over SSH, unless the site names another
# what the scripts of hosts/posix call
NEEDED = (
    *("cat", "chmod", "chown", "env", "find", "head", "id", "ln", "ls", "mkdir", "mv", "readlink"),
    *("rm", "rmdir", "setsid", "sleep", "stat", "sync", "tail", "wc"),
)
_LEAST_ROOM = 64 * 1024  # bytes; without them not even the record of a job can be written
# Lines of KEY=VALUE; the state folder, then the programs to look for, are its arguments. A file system that
# makes inodes as it needs them has none in all.
_SCRIPT = """\
folder=$1; shift
who=$(id); who=${who#uid=}; uid=${who%%[!0-9]*}; who=${who%% *}
case $who in *"("*) user=${who#*"("}; user=${user%")"} ;; *) user=$uid ;; esac
echo "uid=$uid"; echo "user=$user"
told=$(uname -s -n -r -m); kernel=${told%% *}; told=${told#* }
echo "name=${told%% *}"; echo "system=$kernel ${told#* }"
for tool; do command -v "$tool" >/dev/null 2>&1 || echo "missing=$tool"; done
there=$folder
while [ ! -e "$there" ] && [ "$there" != / ]; do there=${there%/*}; [ -n "$there" ] || there=/; done
echo "there=$there"
[ -d "$there" ] && echo "directory=1"
[ -w "$there" ] && [ -x "$there" ] && echo "writable=1"
room=$(stat -f -c "%a %S %c %d" -- "$there" 2>/dev/null)
if [ -n "$room" ]; then
  set -- $room
  echo "free=$(($1 * $2 / 1024))"
  [ "$3" -gt 0 ] && echo "files=$4"
fi
echo "clock=$(date +%s.%N)"
exit 0
"""


@dataclass(frozen=True)
class Reached:
    """What a host answered. `outcome` is OK, UNREACHABLE, or REFUSED where it is there but not usable."""

    host: str
    outcome: Outcome = Outcome.OK
    reason: str = ""
    hint: str = ""
    milliseconds: int = 0
    user: str = ""
    uid: int = -1
    host_name: str = ""
    system: str = ""
    missing: tuple[str, ...] = ()  # programs that regctl needs there, and that are not there
    state_dir: str = ""
    free_bytes: int | None = None  # below state_dir; None where stat does not tell
    clock_skew_seconds: float | None = None  # of its clock against ours; its error is the way here
    details: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether work may begin there."""
        return self.outcome is Outcome.OK


def reach(world: World, hosts: Sequence[str], at_once: int = AT_ONCE) -> tuple[Reached, ...]:
    """Ask all hosts, `at_once` side by side; one answer for each, in their order. Raises for none of them."""
    if not hosts:
        return ()
    pool = ThreadPoolExecutor(max_workers=max(1, min(at_once, len(hosts))), thread_name_prefix="reach")
    try:
        return tuple(pool.map(lambda name: reach_one(world, name), hosts))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for a host that is silent


def reach_one(world: World, name: str) -> Reached:
    """Ask one host; whatever stands in the way is in the answer."""
    began = time.monotonic()
    try:
        found = _asked(world, name)
    except RegctlError as error:
        away = error.outcome is Outcome.UNREACHABLE
        outcome = Outcome.UNREACHABLE if away else Outcome.REFUSED
        found = Reached(name, outcome, error.message, error.hint, details=error.details)
    except Exception as error:  # one host's trouble, whatever it is, must not hide what the others said
        found = Reached(name, Outcome.REFUSED, f"unexpected {type(error).__name__}: {error}")
    milliseconds = round((time.monotonic() - began) * 1000)
    return Reached(**{**vars(found), "milliseconds": milliseconds})


def state_dir(world: World, name: str) -> str:
    """Return the folder on a host in which regctl keeps its jobs there."""
    described = world.site.hosts[name]
    return world.state_dir if described.connection == "local" else described.state_dir or FAR_STATE_DIR


def _asked(world: World, name: str) -> Reached:
    from ctl.hosts.base import Command

    folder = state_dir(world, name)
    host = world.host(name)
    command = Command(("/bin/sh", "-c", _SCRIPT, "sh", folder, *NEEDED), timeout=PATIENCE)
    heard = time.time()

    def on_line(stream: str, line: str) -> None:
        nonlocal heard
        heard = time.time()

    result = host.run(command, on_line)  # its last line is its clock: what we hear it by is compared with it
    if result.timed_out:
        seconds = PATIENCE.total_seconds()
        return Reached(
            name,
            Outcome.UNREACHABLE,
            f"{name} does not answer in {seconds:.0f} s: a file system there may hang",
            hint="log in and look for processes that hang (state D)",
        )
    said = [line.partition("=") for line in result.stdout.decode("utf-8", "replace").splitlines()]
    facts = {key: value for key, _, value in said}
    missing = tuple(value for key, _, value in said if key == "missing")
    return _judged(name, folder, facts, missing, heard)


def _judged(name: str, folder: str, facts: dict[str, str], missing: tuple[str, ...], now: float) -> Reached:
    if "uid" not in facts or "there" not in facts:
        return Reached(
            name,
            Outcome.REFUSED,
            f"the shell on {name} does not answer as a POSIX shell does",
            hint="regctl needs /bin/sh and the usual programs there; see docs/reference/hosts.md",
        )
    free = int(facts["free"]) * 1024 if facts.get("free", "").isdigit() else None
    problem, hint = _trouble(name, folder, facts, missing, free)
    return Reached(
        name,
        Outcome.REFUSED if problem else Outcome.OK,
        problem,
        hint,
        user=facts.get("user", ""),
        uid=int(facts["uid"]),
        host_name=facts.get("name", ""),
        system=facts.get("system", ""),
        missing=missing,
        state_dir=folder,
        free_bytes=free,
        clock_skew_seconds=_skew(facts.get("clock", ""), now),
    )


def _trouble(
    name: str, folder: str, facts: dict[str, str], missing: tuple[str, ...], free: int | None
) -> tuple[str, str]:
    """Return what keeps regctl from working there, and what to do; "" and "" for nothing."""
    there, user = facts["there"], facts.get("user", "")
    if missing:
        return (f"{name} lacks programs that regctl needs: {', '.join(missing)}", "install them there")
    if "directory" not in facts:
        return (
            f"{there} on {name} is not a directory",
            "move it away, or name another `state_dir` of the host",
        )
    if "writable" not in facts:
        return (
            f"{user} may not write into {there} on {name}, where {folder} is to be",
            "set `become: root` for the host in the site, or name a `state_dir` that the user may write",
        )
    if free is not None and free < _LEAST_ROOM:
        return (f"the disk of {folder} on {name} is full", "make room there first")
    if facts.get("files") == "0":
        return (
            f"the disk of {folder} on {name} has no room for another file (inodes)",
            "make room there first",
        )
    return ("", "")


def _skew(clock: str, now: float) -> float | None:
    whole, _, part = clock.partition(".")
    if not whole.isdigit():
        return None
    # a `date` without nanoseconds prints its letter instead: such a clock is read in the middle of its second
    return round(float(f"{whole}.{part}") - now if part.isdigit() else int(whole) + 0.5 - now, 3)
