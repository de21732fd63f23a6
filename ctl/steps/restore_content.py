"""Bring back the rows of a copy, and the links to their files, as they were before preparing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from ctl.engines.pulp_releases import serves_unprepared, version_of
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Block, Json, Text
from ctl.steps.content_copies import ask_copies, progress_of

WORDS = {
    "as-before": "are as they were",
    "restorable": "would be brought back",
    "gone": "are no longer in Pulp, and are left alone",
    "artifact-gone": "cannot be brought back: their file is no longer known",
    "file-missing": "cannot be brought back: their file is gone from the storage",
    "linked-otherwise": "cannot be brought back: another file is linked in its place",
}
LOST = ("artifact-gone", "file-missing", "linked-otherwise")


class RestoreContent(Step):
    """Write back a copy's rows in small transactions, through Pulp's own models.

    The copy is read to its last byte and compared before the first row is written; one that is damaged, is
    another Pulp's, or can only be brought back in part is refused (`partial` brings back what can be). Done
    again, it goes on where it was.
    """

    pulp: str
    host_name: str
    name: str
    partial: bool = False
    chunk: int = Field(default=200, ge=1, le=1000)

    retries: ClassVar[int] = 0
    _seen: dict[str, Any] = PrivateAttr(default_factory=dict)

    def title(self) -> str:
        """Name the copy."""
        return f"bring back the rows of {self.pulp} on {self.host_name} from {self.name}"

    def host(self) -> str:
        """The node's host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """The copy must be whole and this Pulp's, and the release must serve what it brings back."""
        if here.run.id:
            return  # just before it writes, the program over there compares by itself
        found = self._compared(here)
        version = version_of(found["installed"].get("container"))
        if version is None or not serves_unprepared(version):
            yield Problem(
                f"{self.host_name}: pulp-container {version} serves nothing that is not prepared: what is "
                "brought back could not be pulled any more",
                hint="there is nothing to go back to on this release",
            )
        lost = {word: found["counts"][word] for word in LOST if found["counts"].get(word)}
        for word, count in lost.items():
            first = found["samples"][word][0]
            yield Problem(
                f"{self.host_name}: {count} manifests {WORDS[word]}; the first is {first}",
                hint="--partial brings back the others",
                blocking=not self.partial,
            )

    def preview(self, here: Target) -> Preview:
        """Say how many rows would become what."""
        found = self._seen or self._compared(here)
        counts = found["counts"]
        lines = [f"{count:,} manifests {WORDS[word]}." for word, count in sorted(counts.items())]
        header = found["header"]
        lines.append(f"The copy was made at {header['made_at']} by {_versions(header['versions'])}.")
        data: dict[str, Json] = {"host": self.host_name, "copy": self.name, "counts": dict(counts)}
        blocks: tuple[Block, ...] = (Text("\n".join(lines)),)
        return Preview(self.title(), bool(counts.get("restorable")), blocks, data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Bring them back."""
        here.run.guard()
        request = {"action": "restore", "name": self.name, "partial": self.partial, "chunk": self.chunk}
        told = progress_of(here, f"bring back rows on {self.host_name}")
        found = ask_copies(here.world, self.pulp, self.host_name, "restore", request, told)
        if found["left"]:
            raise RegctlError(
                f"{self.host_name}: {found['left']} rows are still to be brought back"
                + (": it was told to stop" if found["stopped"] else ""),
                hint="run the same command again: it goes on where it was",
            )
        lost = sum(found["lost"].values())
        warnings = (f"{self.host_name}: {lost} manifests could not be brought back",) if lost else ()
        data: dict[str, Json] = {"copy": self.name, "restored": found["done"], "counts": found["counts"]}
        return StepReport(data, changed=bool(found["done"]), warnings=warnings)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """What is as before is passed over, so doing it again is safe."""
        return "pending"

    def _compared(self, here: Target) -> Mapping[str, Any]:
        request = {"action": "compare", "name": self.name}
        found = ask_copies(here.world, self.pulp, self.host_name, "restore", request)
        self._seen.clear()
        self._seen.update(found)
        return found


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
