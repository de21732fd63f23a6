"""Write one file on a host, with its mode and owner; what was there before can be brought back."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator, model_validator

from ctl.errors import Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Json, Text

if TYPE_CHECKING:
    from ctl.hosts.base import Host, Look

LIMIT = 4 * 2**20  # bytes; what is longer is no configuration, and belongs into a package or an archive
_SHOWN = 200  # lines of a difference
_MODE = re.compile(r"0?[0-7]{3}\Z")
_SECRET_LINE = re.compile(r"(pass(word|wd|phrase)?|secret|token|credential|private.?key)", re.I)


class WriteFile(Undoable):
    """Replace a file on a host atomically; nothing to do where it is as it should be already.

    One of `content` and `secret` (a reference such as `file:/path`) says what it holds. `mode` is octal, as
    in "0644"; owner and group stay as they are unless given. Of a file that is replaced a copy is kept
    beside it, closed to others, for the way back.
    """

    host_name: str
    path: str
    content: str | None = None
    secret: str | None = None
    mode: str = "0644"
    owner: str | None = None
    group: str | None = None

    retries: ClassVar[int] = 0

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path or path.endswith("/"):
            raise ValueError("must be the absolute path of a file, without ..")
        return path

    @field_validator("mode")
    @classmethod
    def _octal(cls, mode: str) -> str:
        if not _MODE.match(mode):
            raise ValueError('must be octal and quoted, as in "0644"')
        return mode

    @model_validator(mode="after")
    def _one_source(self) -> WriteFile:
        if (self.content is None) == (self.secret is None):
            raise ValueError("needs either content or secret")
        if self.secret is not None and int(self.mode, 8) & 0o007:
            raise ValueError("a file that holds a secret must be closed to others: a mode such as 0640")
        return self

    def title(self) -> str:
        """Say which file where."""
        return f"write {self.path} on {self.host_name}"

    def host(self) -> str:
        """Name the host that it is on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """It must be a plain file or nothing, in a folder that is there."""
        try:
            data = self._wanted(here)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
            return
        if len(data) > LIMIT:
            yield Problem(
                f"what {self.path} is to hold is longer than {LIMIT // 2**20} MiB", outcome=Outcome.USAGE
            )
        if here.run.id:
            return  # just before its own write: `observe` looks at the same in a moment, and refuses it
        host = here.world.host(self.host_name)
        found = here.run.seen[self._key] = host.look(self.path, LIMIT)
        if found is None:
            folder = posixpath.dirname(self.path)
            info = host.stat(folder)
            if info is None or info.kind not in ("directory", "symlink"):
                yield Problem(f"{folder} on {self.host_name} is not a folder", "create it first")
        elif found.info.kind != "file":
            yield Problem(f"{self.path} on {self.host_name} is a {found.info.kind}, and is not replaced")
        elif found.info.size > LIMIT:
            yield Problem(
                f"{self.path} on {self.host_name} is longer than {LIMIT // 2**20} MiB: not replaced"
            )

    def observe(self, here: Target) -> Before:
        """Remember what is there, and where it will be kept."""
        found = self._look(here)
        if found is None:
            return {"there": False, "sha256": "", "copy": ""}
        folder, name = posixpath.split(self.path)
        return {
            "there": True,
            "sha256": _digest(found.data),
            "mode": found.info.mode,
            "owner": found.info.owner,
            "group": found.info.group,
            "copy": f"{folder.rstrip('/')}/.{name}.regctl-before",
        }

    def preview(self, here: Target) -> Preview:
        """Show the difference; a secret only says whether it differs."""
        found, data = self._seen(here), self._wanted(here)
        lines = [*self._attributes(found), *self._difference(found, data)]
        facts: dict[str, Json] = {"host": self.host_name, "path": self.path, "changes": bool(lines)}
        return Preview(self.title(), bool(lines), (Text("\n".join(lines)),) if lines else (), facts)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Keep a copy of what is there, then replace it."""
        host, found, data = here.world.host(self.host_name), self._look(here), self._wanted(here)
        facts: dict[str, Json] = {"path": self.path, "bytes": len(data)}
        if not self._attributes(found) and found is not None and found.data == data:
            return StepReport(facts, changed=False)
        now = "" if found is None else _digest(found.data)
        if now not in (before["sha256"], _digest(data)):
            raise RefusedError(
                f"{self.path} on {self.host_name} changed since it was looked at; nothing was written",
                hint="run the same command again",
            )
        if before["copy"] and now == before["sha256"] != _digest(data) and found and found.data is not None:
            here.run.guard()
            host.write(str(before["copy"]), found.data, mode=0o600)
            facts["copy"] = str(before["copy"])
        here.run.guard()
        host.write(self.path, data, mode=int(self.mode, 8), owner=self.owner, group=self.group)
        return StepReport(facts)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Compare the file with what was and what should be."""
        found, data = self._look(here), self._wanted(here)
        if found is not None and found.data == data:
            return "partial" if self._attributes(found) else "done"
        return "pending" if ("" if found is None else _digest(found.data)) == before["sha256"] else "unknown"

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must read back as it was to be."""
        found, data = self._look(here), self._wanted(here)
        if found is None or found.data != data:
            yield Problem(f"{self.path} on {self.host_name} does not hold what was written")
        elif wrong := self._attributes(found):
            yield Problem(f"{self.path} on {self.host_name}: {'; '.join(wrong)}")

    def undo(self, here: Target, before: Before) -> None:
        """Bring back the bytes, the mode and the owner; RefusedError where it is neither old nor ours."""
        host, found = here.world.host(self.host_name), self._look(here)
        now = "" if found is None else _digest(found.data)
        if now not in (before["sha256"], _digest(self._wanted(here))):
            raise RefusedError(
                f"somebody has changed {self.path} on {self.host_name} meanwhile: it is left as it is",
                hint=f"what was there before is kept as {before['copy']}" if before["copy"] else "",
            )
        here.run.guard()
        if not before["there"]:
            host.remove(self.path)
            return
        data = found.data if found is not None and now == before["sha256"] else self._kept(host, before)
        host.write(
            self.path, data or b"", mode=int(before["mode"]), owner=before["owner"], group=before["group"]
        )
        host.remove(str(before["copy"]))

    # -- inside ----------------------------------------------------------------------------------

    def _kept(self, host: Host, before: Before) -> bytes:
        kept = host.look(str(before["copy"]), LIMIT)
        if kept is None or kept.data is None or _digest(kept.data) != before["sha256"]:
            raise RefusedError(
                f"the copy {before['copy']} on {self.host_name} is not the file that was: {self.path} stays"
            )
        return kept.data

    @property
    def _key(self) -> tuple[str, ...]:
        return ("look", self.host_name, self.path)

    def _seen(self, here: Target) -> Look | None:
        """Take the look that the check has just taken, once."""
        if self._key in here.run.seen:
            return self._readable(here.run.seen.pop(self._key))
        return self._look(here)

    def _look(self, here: Target) -> Look | None:
        return self._readable(here.world.host(self.host_name).look(self.path, LIMIT))

    def _readable(self, found: Look | None) -> Look | None:
        if found is not None and found.data is None:
            raise RefusedError(f"{self.path} on {self.host_name} cannot be read")
        return found

    def _wanted(self, here: Target) -> bytes:
        if self.content is not None:
            return self.content.encode()
        return here.world.resolve_secret(str(self.secret)).reveal().encode()

    def _attributes(self, found: Look | None) -> list[str]:
        """Say what of mode, owner and group is not as it should be."""
        if found is None:
            return []
        info, mode = found.info, int(self.mode, 8)
        told = [f"mode {info.mode:04o}, wanted {mode:04o}"] if info.mode != mode else []
        told += [f"owner {info.owner}, wanted {self.owner}"] if self.owner not in (None, info.owner) else []
        return told + (
            [f"group {info.group}, wanted {self.group}"] if self.group not in (None, info.group) else []
        )

    def _difference(self, found: Look | None, data: bytes) -> list[str]:
        if found is not None and found.data == data:
            return []
        if self.secret is not None:
            return [
                "it holds another secret than it should" if found else "it is written, and holds a secret"
            ]
        hidden: dict[str, str] = {}
        old = _lines(found.data if found is not None and found.data is not None else b"", hidden)
        names = (f"{self.path} (now)" if found else "/dev/null", f"{self.path} (wanted)")
        lines = list(difflib.unified_diff(old, _lines(data, hidden), *names, lineterm=""))
        more = [f"... {len(lines) - _SHOWN} lines more"] if len(lines) > _SHOWN else []
        return lines[:_SHOWN] + more


def _lines(data: bytes, hidden: dict[str, str]) -> list[str]:
    """Return the lines to show; those that look as if they held a secret only say whether they differ."""
    shown = []
    for line in data.decode("utf-8", "replace").splitlines():
        if _SECRET_LINE.search(line):
            name = re.split(r"[:=\s]", line.strip(), maxsplit=1)[0]
            line = hidden.setdefault(line, f"{name[:40]} *** ({len(hidden) + 1})")
        shown.append(line)
    return shown


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()
