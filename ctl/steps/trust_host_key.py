"""Write a host's key into the known_hosts file that regctl uses for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.config.files import locked, make_folder, write_atomically
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable

if TYPE_CHECKING:
    from ctl.hosts.known_hosts import Way

_MODE = 0o644  # no secret: anybody may know which hosts are known


class TrustHostKey(Undoable):
    """Make one key of a host known; with `replace`, the only one."""

    name: str  # the host's, in the site
    kind: str
    key: str  # base64, as in a known_hosts file
    replace: bool = False

    def title(self) -> str:
        """Name the host and the key."""
        from ctl.hosts.known_hosts import HostKey

        return f"trust {self.kind} {HostKey(self.kind, self.key).fingerprint} as {self.name}"

    def check(self, here: Target) -> Iterator[Problem]:
        """The host must still show that key, and no other may be known unless it is to be replaced."""
        from ctl.hosts.known_hosts import HostKey, known_keys

        shell, wanted = here.world.ssh(self.name), HostKey(self.kind, self.key)
        try:
            shown = shell.presented()
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        if shown != wanted:
            yield Problem(
                f"{self.name} shows another key now: {shown.kind} {shown.fingerprint}",
                "two machines may answer at this address: find out which one is meant",
            )
        others = [key for key in known_keys(shell.way) if key != wanted and key.kind == wanted.kind]
        if others and not self.replace:
            yield Problem(
                f"another key of {self.name} is known: {others[0].kind} {others[0].fingerprint}",
                f"only where the machine was really set up anew: regctl host trust {self.name} --replace",
            )

    def observe(self, here: Target) -> Before:
        """Remember the whole file, None where there is none."""
        return {"text": _text(here.world.ssh(self.name).way)}

    def preview(self, here: Target) -> Preview:
        """Say where the line goes, and whether it stands there already."""
        way = here.world.ssh(self.name).way
        return Preview(f"{self.title()}, in {way.known_hosts_file}", self._wanted(way) != (_text(way) or ""))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the line."""
        way = here.world.ssh(self.name).way
        here.run.guard()
        make_folder(os.path.dirname(way.known_hosts_file), 0o755)
        with locked(os.path.dirname(way.known_hosts_file)):
            wanted = self._wanted(way)
            if wanted == (_text(way) or ""):
                return StepReport({"file": way.known_hosts_file}, changed=False)
            write_atomically(way.known_hosts_file, wanted.encode(), _MODE)
        return StepReport({"file": way.known_hosts_file})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Writing the same line again is safe."""
        way = here.world.ssh(self.name).way
        return "done" if self._wanted(way) == (_text(way) or "") else "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """The key must be known now."""
        from ctl.hosts.known_hosts import HostKey, known_keys

        if HostKey(self.kind, self.key) not in known_keys(here.world.ssh(self.name).way):
            yield Problem(f"the key of {self.name} is not in its known_hosts file")

    def undo(self, here: Target, before: Before) -> None:
        """Bring the file back as it was."""
        path = here.world.ssh(self.name).way.known_hosts_file
        text = before.get("text")
        if isinstance(text, str):
            write_atomically(path, text.encode(), _MODE)
        elif os.path.lexists(path):
            os.unlink(path)

    def _wanted(self, way: Way) -> str:
        """Return the whole file as it is to be."""
        from ctl.hosts.known_hosts import HostKey, without

        text = _text(way) or ""
        if self.replace:
            text = without(text, way.entry, keep=HostKey(self.kind, self.key))
        line = f"{way.entry} {self.kind} {self.key}"
        lines = text.splitlines()
        if any(
            one.split()[1:3] == [self.kind, self.key] and way.knows(one.split()[0])
            for one in lines
            if one.strip()
        ):
            return text
        return "\n".join([*lines, line]) + "\n"


def _text(way: Way) -> str | None:
    try:
        with open(way.known_hosts_file, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None
