"""Scope around the collector: everything the plan keeps lies aside, and what it took too much comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ctl.errors import RegctlError
from ctl.recipes.model import Before, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.events import Message
from ctl.steps.collect_garbage import CollectGarbage, gone
from ctl.steps.collector_job import end_jobs, job_ids
from ctl.steps.compare_collector import CompareCollector
from ctl.steps.keep_aside import aside_of, keep_live, plan_now
from ctl.steps.kept_paths import needed
from ctl.steps.plan_file import load_plan, plan_path, save_plan
from ctl.steps.storage_gate import metadata_in_use
from ctl.storage.aside import is_blob

if TYPE_CHECKING:
    from ctl.storage.aside import Aside
    from ctl.storage.far_acting import FarAside

SHOWN = 20  # how many paths a message names
REPORTED = 1000  # how many paths the report names
COMPARE, COLLECT = CompareCollector.__name__, CollectGarbage.__name__


class PutBack(Scope):
    """Bring the plan up to date inside the window; at the end put back what went beyond it.

    Entered when no write is possible any more, left before the first one is: the collector is proved
    dead, then every file kept aside that lost its place gets it back.
    """

    registry: str
    delete_untagged: bool = False

    def title(self) -> str:
        return f"keep what is live in {self.registry} and put back what the collector takes too much"

    def host(self) -> str:
        return ""

    def check(self, here: Target) -> Iterator[Problem]:
        yield from metadata_in_use(here.world, self.registry)

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        plan = plan_now(here.world, self.registry, self.delete_untagged)
        save_plan(plan_path(here.world.state_dir, here.run.id), plan)
        kept = keep_live(here, self.registry, plan, only=True)
        if kept.gone:
            raise RegctlError(
                f"{kept.gone[0]}: vanished although nothing can write to the registry",
                hint="something else deletes in this storage; find it before you collect",
            )
        here.run.note(kept=kept.made + kept.already)
        return StepReport(
            {"kept_files": kept.made + kept.already, "kept_in_window": kept.made}, changed=False
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def leave(self, here: Target, before: Before) -> StepReport:
        end_jobs(here, self.registry, COMPARE, COLLECT)
        if not job_ids(here, COLLECT):
            return StepReport({"put_back": 0, "put_back_paths": []}, changed=False)
        aside = aside_of(here, self.registry)
        self._demand_whole(here, aside)
        back = self._bring_back(here, aside)
        warnings = (
            (f"the collector took {len(back)} live files beyond the plan; all were put back",) if back else ()
        )
        data = {"put_back": len(back), "put_back_paths": back[:REPORTED], **self._went(here)}
        return StepReport(data, changed=bool(back), warnings=warnings)

    def _demand_whole(self, here: Target, aside: Aside | FarAside) -> None:
        """Raise if what was kept aside is not all there: then nobody can say what is missing."""
        kept = int(str(here.run.notes(type(self).__name__).get("kept", 0)))
        have = sum(1 for _ in aside.kept()) if aside.exists() else 0
        if have < kept:
            raise RegctlError(
                f"{aside.folder}: {kept - have} of {kept} links are gone, so that nothing live is missing"
                " cannot be proved",
                hint="somebody removed them; compare with a backup or `regctl registry verify`, then"
                f" `regctl run abandon {here.run.id} --leave-open-scopes --reason WHY` and open by hand",
            )

    def _bring_back(self, here: Target, aside: Aside | FarAside) -> list[str]:
        """Put back what is live and not in its place, blobs first; return all of it."""
        missing = aside.missing()
        if not missing:
            return []
        here.run.guard()
        blobs = [path for path in missing if is_blob(path)]
        aside.put_back(blobs)
        rest = sorted(set(missing) - set(blobs))
        back = sorted({*blobs, *needed(here.world.storage(self.registry), rest)})
        aside.put_back(path for path in back if not is_blob(path))
        for path in back[:SHOWN]:
            here.run.emit(Message(f"put back: {path}", "warning"))
        still = set(aside.missing()) & set(back)
        if still:
            raise RegctlError(
                f"{len(still)} live files could not be put back, the first is {min(still)}",
                hint=f"they are safe in {aside.folder}; the registry stays closed until they are back",
            )
        return back

    def _went(self, here: Target) -> Mapping[str, Any]:
        """What is gone of a collection that did not come to its end: nobody has measured that yet."""
        if here.run.notes(COLLECT).get("went"):
            return {}
        try:
            return gone(here, self.registry, load_plan(plan_path(here.world.state_dir, here.run.id)))
        except RegctlError as error:  # a figure for the report keeps no registry closed
            here.run.emit(Message(f"what went cannot be told: {error.message}", "warning"))
            return {}

    def verify(self, here: Target) -> Iterator[Problem]:
        plan = load_plan(plan_path(here.world.state_dir, here.run.id))
        have = sum(1 for _ in aside_of(here, self.registry).kept())
        if have < plan.garbage.kept_blobs:
            yield Problem(f"only {have} of {plan.garbage.kept_blobs} live blobs are kept aside")
