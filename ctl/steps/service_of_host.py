"""Start, stop, restart or reload a service of a host that is none of a registry's nodes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from ctl.errors import CommandFailedError, Outcome, RefusedError, RegctlError
from ctl.hosts.base import Command
from ctl.hosts.services_runit import FOLDERS, PROGRAMS, own_words, process_id
from ctl.hosts.services_systemd import parse_show
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text

Verb = Literal["start", "stop", "restart", "reload"]
WAIT = 60  # seconds that a manager may take for one verb
_NAME = re.compile(r"[A-Za-z0-9/_.@:\\-]{1,200}\Z")
_RUNIT_STATUS = re.compile(r"(run|down|finish|fail|warning): ")
# Finds sv and the service's folder where the usual ones are. After a restart it waits for another process: sv
# counts in seconds, and takes a service that began in this very second for one that it has restarted (2.1.2).
_SV = f"""\
name=$1 verb=$2 wait=$3
for sv in {" ".join(PROGRAMS)} sv; do command -v "$sv" >/dev/null 2>&1 && break; done
case $name in
  /*) folder=$name ;;
  *) for place in {" ".join(FOLDERS)}; do folder=$place/$name; [ -e "$folder" ] && break; done ;;
esac
[ "$verb" = restart ] || exec "$sv" -w "$wait" "$verb" "$folder"
old=
{{ read -r old <"$folder/supervise/pid"; }} 2>/dev/null
"$sv" -w "$wait" restart "$folder" || exit
tries=0
other() {{
  new=
  {{ read -r new <"$folder/supervise/pid"; }} 2>/dev/null
  [ -n "$new" ] && [ "$new" != "$old" ]
}}
while ! other; do
  tries=$((tries + 1))
  [ "$tries" -gt "$((wait * 10))" ] && {{ echo "timeout: no other process"; exit 1; }}
  sleep 0.1
done
"""
_SV_VERBS = {"start": "start", "stop": "stop", "restart": "restart", "reload": "hup"}


@dataclass(frozen=True)
class Standing:
    """What a service does now. `identity` tells one process of it from the next."""

    known: bool
    running: bool
    identity: str
    words: str


class RunService(Undoable):
    """Start, stop, restart or reload a systemd unit or a runit service, and prove that it stays up.

    `settle_seconds` is how long it must live after that: what ends at once has often just begun when it is
    first looked at.
    """

    host_name: str
    kind: Literal["systemd", "runit"]
    name: str
    verb: Verb
    settle_seconds: float = Field(default=1.0, ge=0, le=600)

    retries: ClassVar[int] = 0

    @field_validator("name")
    @classmethod
    def _sane(cls, name: str) -> str:
        if not _NAME.match(name) or name.startswith("-"):
            raise ValueError("is no name of a service")
        return name

    def title(self) -> str:
        """Say what happens to which service."""
        return f"{self.verb} {self.name} on {self.host_name}"

    def host(self) -> str:
        """Name the host that it is on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Its manager must know it; only what runs can be reloaded."""
        if not here.run.id:  # just before its own write `observe` asks the same
            yield from self._trouble(self._standing(here))

    def observe(self, here: Target) -> Before:
        """Remember whether it runs, and as which process."""
        found = self._standing(here)
        for problem in self._trouble(found):
            raise RefusedError(problem.message, hint=problem.hint)
        return {"running": found.running, "identity": found.identity}

    def _trouble(self, found: Standing) -> Iterator[Problem]:
        if not found.known:
            yield Problem(
                f"{self.kind} on {self.host_name} does not know {self.name}: {found.words}",
                hint="correct `kind` and `name` of the service",
                outcome=Outcome.CONFIG,
            )
        elif self.verb == "reload" and not found.running:
            yield Problem(f"{self.name} on {self.host_name} does not run: it cannot be reloaded")

    def preview(self, here: Target) -> Preview:
        """Say what it does now, where that decides whether there is anything to do."""
        if self.verb in ("restart", "reload"):
            return Preview(self.title())
        found = self._standing(here)
        changes = not (self.verb == "start" and found.running) and not (
            self.verb == "stop" and not found.running
        )
        return Preview(self.title(), changes, (Text(f"{self.name} now: {found.words}"),))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Let its manager do it, unless it is done."""
        wanted = {"start": True, "stop": False}.get(self.verb)
        if wanted is not None and before["running"] is wanted and self._standing(here).running is wanted:
            return StepReport(changed=False)
        here.run.guard()
        self._order(here, self.verb)
        return StepReport()

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """A restart is done when another process runs; ordering a start or a stop again is safe."""
        if self.verb != "restart":
            return "pending"
        found = self._standing(here)
        if not found.running:
            return "partial"
        return "pending" if found.identity == before["identity"] else "done"

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must stand as was asked for, and go on so for a moment."""
        found = self._standing(here)
        if self.settle_seconds and found.running and self.verb != "stop":
            time.sleep(self.settle_seconds)
            later = self._standing(here)
            if later.identity != found.identity:
                yield Problem(f"{self.name} on {self.host_name} does not stay up: {later.words}")
                return
        if found.running != (self.verb != "stop"):
            yield Problem(f"{self.name} on {self.host_name} is not as it should be: {found.words}")

    def undo(self, here: Target, before: Before) -> None:
        """Start what was stopped, stop what was started; a restart is not taken back."""
        if self.verb in ("start", "stop") and self._standing(here).running != before["running"]:
            here.run.guard()
            self._order(here, "start" if before["running"] else "stop")

    # -- inside ----------------------------------------------------------------------------------

    def _order(self, here: Target, verb: Verb) -> None:
        code, words = self._ask(here, verb if self.kind == "systemd" else _SV_VERBS[verb])
        if code != 0 or words.startswith(("fail:", "warning:", "timeout:")):
            raise CommandFailedError(
                f"{self.kind} on {self.host_name} could not {verb} {self.name} (exit code {code})",
                details=tuple(words.splitlines()[-5:]),
                hint=f"see its log on {self.host_name}",
            )

    def _standing(self, here: Target) -> Standing:
        if self.kind == "runit":
            _, words = self._ask(here, "status")
            words = own_words(words)
            state = _RUNIT_STATUS.match(words)
            word = state[1] if state else "fail"
            return Standing(word in ("run", "down", "finish"), word == "run", process_id(words), words)
        code, words = self._ask(here, "show")
        facts = parse_show(words)
        if code != 0 or facts.get("LoadState") != "loaded":
            return Standing(False, False, "", facts.get("LoadState", words))
        running = facts.get("ActiveState") in ("active", "reloading")
        identity = f"{facts.get('InvocationID', '')}/{facts.get('MainPID', '')}" if running else ""
        return Standing(True, running, identity, facts.get("ActiveState", ""))

    def _ask(self, here: Target, verb: str) -> tuple[int, str]:
        if self.kind == "runit":
            argv: tuple[str, ...] = ("/bin/sh", "-c", _SV, "sh", self.name, verb, str(WAIT))
        elif verb == "show":
            properties = "--property=LoadState,ActiveState,MainPID,InvocationID"
            argv = ("systemctl", "show", properties, "--", self.name)
        else:
            argv = ("systemctl", verb, "--", self.name)
        result = here.world.host(self.host_name).run(Command(argv, timeout=timedelta(seconds=2 * WAIT)))
        if result.timed_out:
            raise RegctlError(f"{self.kind} on {self.host_name} does not answer about {self.name}")
        said = result.stdout.decode("utf-8", "replace").strip()
        return result.exit_code, said or result.stderr.decode("utf-8", "replace").strip()
