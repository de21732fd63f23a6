"""Link manifests of a Pulp to their files again, and take exactly these links back.

Pulp's own command drops a manifest's link to its file at once and writes the text that it read a thousand
manifests later: cut off, it leaves manifests with neither. Until a cleanup of orphans the file is there, and
known by its digest. Linked again, such a manifest is as it was before that command.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from ctl.engines.pulp import answers, explained, question
from ctl.errors import CommandFailedError, LockedError, Outcome, RefusedError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Json, Table, Text
from ctl.steps.pulp_doors import PATIENCE, ask_all, pulp_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctl.world import World

NAMED = 20  # manifests in the preview's table; JSON has all of them
_PREPARING = "somebody prepares content there now"
_CLEANUP = "a cleanup of orphans waits or runs there: it may delete the files meanwhile"
Action = Literal["link", "unlink"]


class RelinkContent(Undoable):
    """Link manifests of a Pulp on a host to their files again, those that have neither text nor link.

    Undone by deleting exactly the links that it made and that are still there.
    """

    pulp: str
    host_name: str
    chunk: int = Field(default=200, ge=1, le=1000)  # manifests in a transaction

    retries: ClassVar[int] = 0
    # A look costs seconds: one for check and preview, and what the program counted at its end for verify.
    _seen: list[dict[str, Any]] | None = PrivateAttr(None)
    _left: int | None = PrivateAttr(None)

    def title(self) -> str:
        """Say where."""
        return f"link manifests of {self.pulp} on {self.host_name} to their files again"

    def host(self) -> str:
        """Name the host that it acts on."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """Nobody may prepare content there, and no cleanup of orphans may wait or run."""
        if here.run.id:
            return  # just before its own write the program over there asks the same, under its lock
        end = self._look(here)[-1]
        if end["linkable"] and end["preparing"]:
            yield Problem(f"{self._where}: {_PREPARING}", "wait for it", outcome=Outcome.LOCKED)
        if end["linkable"] and end["cleanups"]:
            yield Problem(f"{self._where}: {_CLEANUP}", "cancel it in Pulp, or wait for it")

    def observe(self, here: Target) -> Before:
        """Choose what the links' keys are made of, so that they can be found again."""
        return {"seed": str(uuid.uuid4())}

    def preview(self, here: Target) -> Preview:
        """Name the manifests, and what stays lost."""
        found = self._look(here)
        end, links = found[-1], [one for one in found if one["regctl"] == "linkable"]
        data: dict[str, Json] = {
            "host": self.host_name,
            "linkable": end["linkable"],
            "lost": end["lost"] + end["gone"],
            "manifests": [one["digest"] for one in links],
        }
        texts = [Text(text) for text in self._lost(end)]
        if not links:
            return Preview(f"{self._where}: nothing can be linked", False, tuple(texts), data)
        rows = tuple((str(one["digest"]), str(one["file"])) for one in links[:NAMED])
        more = len(links) - NAMED
        table = Table(("manifest", "its file"), rows)
        blocks = (table, Text(f"and {more:,} more")) if more > 0 else (table,)
        title = f"link {len(links):,} manifests of {self.pulp} on {self.host_name} to their files again"
        return Preview(title, True, (*blocks, *texts), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Link them chunk by chunk; what an earlier attempt linked is linked, and passed over."""
        here.run.guard()
        end = _act(here.world, self.pulp, self.host_name, "link", str(before["seed"]), self.chunk)
        data: dict[str, Json] = {
            "linked": end["done"],
            "linkable": end["linkable"],
            "failed": end["failed"],
            "seed": str(before["seed"]),
        }
        if end["failures"]:
            why = "; ".join(f"{one['digest']}: {one['why']}" for one in end["failed"][:3])
            raise CommandFailedError(
                f"{self._where}: {end['failures']} manifests could not be linked: {why}",
                hint=f"regctl content verify {self.pulp} --host {self.host_name}",
                figures=data,
            )
        self._seen, self._left = None, end["linkable"]
        if not end["done"] and not end["linkable"]:
            return StepReport(data, changed=False, not_applicable="nothing can be linked there")
        return StepReport(data, changed=bool(end["done"]))

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Linking again is safe: what is linked is passed over."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """Nothing that can be linked may be left."""
        left = self._look(here)[-1]["linkable"] if self._left is None else self._left
        if left:
            text = f"{self._where}: {left} manifests can still be linked"
            yield Problem(text, "run this again", outcome=Outcome.FAILED)

    def undo(self, here: Target, before: Before) -> None:
        """Delete exactly these links; those of manifests that were prepared since are gone already."""
        here.run.guard()
        _act(here.world, self.pulp, self.host_name, "unlink", str(before["seed"]), self.chunk)

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"{self.pulp} on {self.host_name}"

    def _look(self, here: Target) -> list[dict[str, Any]]:
        if self._seen is None:
            self._seen = ask_all(here.world, self.pulp, self.host_name, "relink", {"action": "look"})
        return self._seen

    def _lost(self, end: Mapping[str, Any]) -> Iterator[str]:
        if end["gone"]:
            yield f"{self._where}: {end['gone']} are known by their digests, but their files are gone"
        if end["lost"]:
            yield (
                f"{self._where}: {end['lost']} have no file any more to be linked to, as after a cleanup of "
                "orphans: regctl content verify says what to do about each"
            )


class UnlinkContent(Undoable):
    """Take back the links that an earlier repair made on a host: exactly those that are still there."""

    pulp: str
    host_name: str
    seed: str  # of the repair, from its journal

    retries: ClassVar[int] = 0

    def title(self) -> str:
        """Say where."""
        return f"take back the links that a repair of {self.pulp} on {self.host_name} made"

    def host(self) -> str:
        """Name the host that it acts on."""
        return self.host_name

    def apply(self, here: Target, before: Before) -> StepReport:
        """Delete them chunk by chunk."""
        here.run.guard()
        end = _act(here.world, self.pulp, self.host_name, "unlink", self.seed, 200)
        data: dict[str, Json] = {"unlinked": end["done"], "linkable": end["linkable"]}
        if not end["done"]:
            return StepReport(data, changed=False, not_applicable="none of its links is there any more")
        return StepReport(data)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Deleting them again is safe."""
        return "pending"

    def undo(self, here: Target, before: Before) -> None:
        """Make the same links again."""
        here.run.guard()
        _act(here.world, self.pulp, self.host_name, "link", self.seed, 200)


def _act(world: World, registry: str, host: str, action: Action, seed: str, chunk: int) -> dict[str, Any]:
    """Have the program over there do it; raise where it refused, or did not come to its end."""
    where = f"{registry} on {host}"
    request = {"action": action, "seed": seed, "chunk": chunk}
    result = world.host(host).run(question(pulp_node(world, registry, host), "relink", request, PATIENCE))
    ends = [one for one in answers(result.stdout) if one["regctl"] == "end"]
    if not ends:
        raise explained(where, result.exit_code, result.stdout, result.stderr)
    if ends[-1]["state"] == "locked":
        raise LockedError(f"{where}: {_PREPARING}", hint="wait for it")
    if ends[-1]["state"] == "cleanup":
        done = f"; {ends[-1]['done']} were done before it" if ends[-1]["done"] else ""
        raise RefusedError(f"{where}: {_CLEANUP}{done}", hint="cancel it in Pulp, or wait for it")
    return ends[-1]
