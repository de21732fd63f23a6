"""Keep a restorable copy of the rows that preparing will change, on their own host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr

from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Text
from ctl.report.units import size_text
from ctl.steps.content_copies import ROOM, ask_copies, copy_name
from ctl.steps.content_survey import HostSurvey
from ctl.steps.pulp_services import database_is_stopped


def room_problems(pulp: str, host: str, found: Mapping[str, Any], name: str = "") -> Iterator[Problem]:
    """Say where there is no room for a copy; `name` makes that a check which may be passed over."""
    wanted = found["needed"] + ROOM
    if not found["rows"] or (found["writable"] and found["free"] >= wanted):
        return
    why = "cannot be written by Pulp's user"
    if found["writable"]:
        why = f"has {size_text(found['free'])} free, and a copy of rows may take {size_text(wanted)}"
    hint = f"name another folder as content.keep_folder of {pulp} in the site"
    yield Problem(f"{host}: {found['folder']} {why}", hint, name=name)


class KeepContent(Step):
    """Write the manifests that are left to do, with the links to their files, to a copy that can be restored.

    The copy is Pulp's own rows as compressed JSON lines, 0600, read back before it counts. It stays until
    `content forget`. A run has one copy: what was written before a crash is never written anew.
    """

    pulp: str
    host_name: str

    _looked: HostSurvey | None = PrivateAttr(None)

    def surveyed(self, one: HostSurvey) -> Self:
        """Have the check use what is known already; no argument, so in no journal."""
        self._looked = one
        return self

    def title(self) -> str:
        """Name the host."""
        return f"keep a copy of the rows of {self.pulp} on {self.host_name}"

    def host(self) -> str:
        """The node's host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """There must be room for it; what a cleanup of orphans would take for good is told of."""
        if here.run.id:
            return  # just before it writes, the program over there looks by itself
        if self._looked is not None and not self._looked.unreachable:
            found = {**self._looked.kept, "relinkable": self._looked.relinkable}
        elif database_is_stopped(here, self.pulp, self.host_name):
            return
        else:
            found = ask_copies(here.world, self.pulp, self.host_name, "keep", {"action": "look"})
        yield from room_problems(self.pulp, self.host_name, found)
        if found["relinkable"]:
            yield Problem(
                f"{self.host_name}: {found['relinkable']} manifests have lost their files, and can be linked "
                "again only for as long as no cleanup of orphans runs",
                hint=f"regctl content repair {self.pulp} --host {self.host_name}",
                blocking=False,
            )

    def preview(self, here: Target) -> Preview:
        """Say where it will be; a copy alone is nothing to do."""
        folder = here.world.pulp(self.pulp).content.keep_folder or "regctl-content below Pulp's own folder"
        text = f"It lies in {folder}, 0600, until `regctl content forget`."
        return Preview(self.title(), changes=False, blocks=(Text(text),))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write it, or find the one that an earlier attempt of this run has written."""
        here.run.guard()
        request = {"action": "write", "name": copy_name(here.run.id), "room": ROOM}
        found = ask_copies(here.world, self.pulp, self.host_name, "keep", request)
        if not found["rows"]:
            return StepReport(changed=False, not_applicable="nothing is left to do here")
        data = {"copy": request["name"], "path": found["path"]}
        return StepReport({**data, "rows": found["rows"], "bytes": found["bytes"]})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """A copy that is whole is found again, whoever wrote it."""
        return "pending"


class ForgetCopy(Step):
    """Delete a copy of rows; a way back that it was is then gone."""

    pulp: str
    host_name: str
    name: str

    irreversible: ClassVar[bool] = True

    def title(self) -> str:
        """Name the copy."""
        return f"delete the copy {self.name} of {self.pulp} on {self.host_name}"

    def host(self) -> str:
        """The node's host."""
        return self.host_name

    def check(self, here: Target) -> Iterator[Problem]:
        """It must be there."""
        if not here.run.id and self.name not in self._names(here):
            yield Problem(
                f"{self.host_name} has no copy {self.name!r}", hint="regctl content copies lists them"
            )

    def apply(self, here: Target, before: Before) -> StepReport:
        """Delete it; what is gone already is fine."""
        here.run.guard()
        request = {"action": "forget", "name": self.name}
        found = ask_copies(here.world, self.pulp, self.host_name, "keep", request)
        return StepReport(
            {"copy": self.name, "bytes": found["bytes"] or 0}, changed=found["bytes"] is not None
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """It may be gone already, and deleting what is gone is safe."""
        return "partial"

    def verify(self, here: Target) -> Iterator[Problem]:
        """It must be gone."""
        if self.name in self._names(here):
            yield Problem(f"the copy {self.name} is still on {self.host_name}")

    def _names(self, here: Target) -> list[str]:
        found = ask_copies(here.world, self.pulp, self.host_name, "keep", {"action": "list"})
        return [str(one["name"]) for one in found["copies"]]
