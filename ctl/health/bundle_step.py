"""Collect what a supporter needs into one file, without any secret."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from ctl.config.files import write_atomically
from ctl.errors import Outcome, RegctlError
from ctl.health.bundle import made, members
from ctl.health.known_secrets import known_secrets, users
from ctl.health.model import Looker
from ctl.health.redact import Redactor
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Json, Text


class CollectSupportBundle(Step):
    """Write a tar.gz for a supporter: versions, configurations, status, checks, journals, logs; no secret.

    Only its owner may read it. All of it goes through one redactor; if a known secret is left in it all
    the same, nothing is written.
    """

    folder: str  # where it is put
    site: str  # the site file
    registry: str = ""  # all of the site unless named
    lines: int = Field(default=500, ge=0, le=100_000)  # of each node's log
    runs: int = Field(default=10, ge=0, le=200)  # journals of so many last runs

    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Name the folder."""
        return f"collect a support bundle in {self.folder}"

    def check(self, here: Target) -> Iterator[Problem]:
        """The folder must be there, and not for everybody to change."""
        if not self.folder.startswith("/") or not os.path.isdir(self.folder):
            yield Problem(
                f"there is no folder {self.folder}", "name one that is there", outcome=Outcome.USAGE
            )
        elif not os.access(self.folder, os.W_OK | os.X_OK):
            yield Problem(f"{self.folder} cannot be written by us", "run regctl as its owner")
        elif (mode := os.stat(self.folder).st_mode) & 0o002 and not mode & 0o1000:
            yield Problem(f"everybody may change what is in {self.folder}", f"chmod o-w {self.folder}")

    def observe(self, here: Target) -> Before:
        """Name the file, so that a resumed run writes the same one."""
        return {"path": os.path.join(self.folder, f"regctl-support-{here.run.id}.tar.gz")}

    def preview(self, here: Target) -> Preview:
        """List what would be in it."""
        names = "\n".join(name for name, _ in members(self._looker(here), self.lines, self.runs))
        return Preview(self.title(), blocks=(Text(names),))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Gather, redact, prove, write."""
        path = str(before["path"])
        redactor = Redactor(known_secrets(here.world, self.site), users(here.world))
        data, count, missing = bundle(self._looker(here), self.lines, self.runs, redactor)
        here.run.guard()
        write_atomically(path, data, 0o600)
        warnings = tuple(f"{name} could not be had: {why}" for name, why in missing.items())
        found: dict[str, Json] = {"file": path, "bytes": len(data), "members": count}
        return StepReport(found, warnings=warnings)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Writing it again is safe."""
        return "pending"

    def _looker(self, here: Target) -> Looker:
        site = here.world.site
        names = [self.registry] if self.registry else [*sorted(site.registries), *sorted(site.pulps)]
        return Looker(here.world, names, self.site)


def bundle(
    looker: Looker, lines: int, runs: int, redactor: Redactor | None
) -> tuple[bytes, int, dict[str, str]]:
    """Return the tar.gz, how many members it has, and what could not be had and why.

    `redactor` None is for tests only: it shows what would be in it. RegctlError, and nothing else, where a
    known secret is left.
    """
    missing: dict[str, str] = {}
    target, count = io.BytesIO(), 0
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, make in members(looker, lines, runs):
            data, why = made(make)
            if why:
                why = redactor.text(why) if redactor else why
                missing[name] = why
                name, data = f"{name}.missing", why.encode() + b"\n"
            data = redactor.data(data) if redactor else data
            if redactor is not None and redactor.found_in(data):
                raise RegctlError(
                    f"a secret was left in {name}; nothing was written",
                    hint="please report it, without the secret",
                )
            info = tarfile.TarInfo(f"regctl-support/{name}")
            info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
            tar.addfile(info, io.BytesIO(data))
            count += 1
    return target.getvalue(), count, missing
