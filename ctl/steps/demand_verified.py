"""Demand that the metadata database holds what the storage tree holds, but for what is explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ctl.errors import Outcome, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Step, StepReport, Target

if TYPE_CHECKING:
    from ctl.report.model import Json

_SHOWN = 5  # differences that the error names
_FIGURES = ("repositories", "tags", "manifests", "blobs", "missing", "extra", "different", "broken")


class DemandVerified(Step):
    """Run `registry verify` and stop where it finds a difference without a known reason."""

    registry: str

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"verify the metadata database of {self.registry} against its storage"

    def apply(self, here: Target, before: Before) -> StepReport:
        from ctl.steps.verify_metadata import metadata_verify_report

        report = metadata_verify_report(here.world, self.registry, checksums=False, emit=here.run.emit)
        if report.outcome is not Outcome.OK:
            raise RegctlError(
                f"{self.registry} is not verified: its database and its storage differ",
                details=_named(report.data.get("differences")),
                hint=f"`regctl registry verify {self.registry}` names each difference; online garbage "
                "collection stays off, and the storage tree a way back",
            )
        return StepReport({key: report.data[key] for key in _FIGURES if key in report.data}, changed=False)

    def preview(self, here: Target) -> Preview:
        return Preview(self.title(), changes=False)

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"


def _named(differences: Json) -> tuple[str, ...]:
    if not isinstance(differences, list | tuple):
        return ()
    shown = [one for one in differences if isinstance(one, dict) and not one.get("explained_by")]
    lines = [f"{one.get('kind')}: {one.get('repository')} {one.get('name')}" for one in shown[:_SHOWN]]
    more = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return tuple(lines + more)
