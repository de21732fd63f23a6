"""Scope around the collector: everything the plan keeps lies aside, and what it took too much comes back."""

from __future__ import annotations

from collections.abc import Iterator

from ctl.errors import RegctlError
from ctl.recipes.model import Before, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.report.events import Message
from ctl.steps.collect_garbage import end_collectors
from ctl.steps.keep_aside import aside_of, keep_live, plan_now
from ctl.steps.plan_file import load_plan, plan_path, save_plan

SHOWN = 20  # how many paths a message names


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

    def apply(self, here: Target, before: Before) -> StepReport:
        here.run.guard()
        plan = plan_now(here.world, self.registry, self.delete_untagged)
        save_plan(plan_path(here.world.state_dir, here.run.id), plan)
        kept = keep_live(here, self.registry, plan)
        if kept.gone:
            raise RegctlError(
                f"{kept.gone[0]}: vanished although nothing can write to the registry",
                hint="something else deletes in this storage; find it before you collect",
            )
        return StepReport(
            {"kept_files": kept.made + kept.already, "kept_in_window": kept.made}, changed=False
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def leave(self, here: Target, before: Before) -> StepReport:
        end_collectors(here, self.registry)
        aside = aside_of(here, self.registry)
        missing = aside.missing()
        if missing:
            here.run.guard()
            for path in missing[:SHOWN]:
                here.run.emit(Message(f"put back: {path}", "warning"))
            aside.put_back(missing)
        still = aside.missing()
        if still:
            raise RegctlError(
                f"{len(still)} live files could not be put back, the first is {still[0]}",
                hint=f"they are safe in {aside.folder}; the registry stays closed until they are back",
            )
        warnings = (
            (f"the collector took {len(missing)} live files beyond the plan; all were put back",)
            if missing
            else ()
        )
        return StepReport(
            {"put_back": len(missing), "put_back_paths": missing}, changed=bool(missing), warnings=warnings
        )

    def verify(self, here: Target) -> Iterator[Problem]:
        plan = load_plan(plan_path(here.world.state_dir, here.run.id))
        have = sum(1 for _ in aside_of(here, self.registry).kept())
        if have < plan.garbage.kept_blobs:
            yield Problem(f"only {have} of {plan.garbage.kept_blobs} live blobs are kept aside")
