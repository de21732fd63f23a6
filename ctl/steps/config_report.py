"""What `regctl config` shows of files, findings and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ctl.errors import PENDING_EXIT_CODE, Outcome
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.recipes.model import RunReport
    from ctl.steps.config_check import NodeCheck
    from ctl.steps.config_plan import ConfigPlan


def check_report(site_file: str, nodes: Sequence[NodeCheck]) -> Report:
    """Show what `config check` found."""
    findings = [finding for node in nodes for finding in node.findings]
    worst = {finding.severity for finding in findings}
    outcome = Outcome.CONFIG if "error" in worst else Outcome.WARNING if "warning" in worst else Outcome.OK
    data: dict[str, Any] = {
        "site": site_file,
        "nodes": [
            {"registry": n.registry, "host": n.host, "file": n.file, "state": n.state, "pending": n.pending}
            for n in nodes
        ],
        "findings": [vars(finding) for finding in findings],
    }
    rows = tuple(
        (f"{n.registry}/{n.host}", n.file, n.state, "yes" if n.pending else "no", str(len(n.findings)))
        for n in nodes
    )
    columns = ("node", "file", "state", "apply would change it", "findings")
    blocks: list[Block] = [Text(f"The site {site_file} is right."), Table(columns, rows)]
    for finding in findings:
        where = f"{finding.registry}/{finding.host}" + (f" {finding.path}" if finding.path else "")
        hint = f"\n    {finding.hint}" if finding.hint else ""
        blocks.append(Text(f"{finding.severity}: {where}: {finding.message}{hint}"))
    return Report("config-check", outcome, data, tuple(blocks))


def render_report(plan: ConfigPlan) -> Report:
    """Show a rendered file, secrets hidden."""
    text = plan.rendered()
    data = {
        "registry": plan.registry,
        "host": plan.host,
        "file": plan.before.path,
        "state": plan.before.ownership.state,
        "text": text,
    }
    return Report("config-render", Outcome.OK, data, (Text(text.rstrip("\n")),))


def diff_report(registry: str, plans: Sequence[ConfigPlan], detailed_exitcode: bool) -> Report:
    """Show the difference at each node."""
    diffs = {plan.host: plan.diff() if plan.changes else "" for plan in plans}
    changes = any(plan.changes for plan in plans)
    nodes: list[Json] = [
        {
            "host": plan.host,
            "file": plan.before.path,
            "state": plan.before.ownership.state,
            "changes": plan.changes,
            "diff": diffs[plan.host],
        }
        for plan in plans
    ]
    blocks: list[Block] = []
    for plan in plans:
        state = f"{plan.before.path} on {plan.host} is {plan.before.ownership.state}"
        blocks.append(
            Text(diffs[plan.host]) if plan.changes else Text(f"{state} and says what the site says.")
        )
    return Report(
        "config-diff",
        Outcome.PENDING if changes else Outcome.NOTHING_TO_DO,
        {"registry": registry, "changes": changes, "nodes": nodes},
        tuple(blocks),
        exit_code=PENDING_EXIT_CODE if changes and detailed_exitcode else None,
    )


def run_report(command: str, registry: str, run: RunReport) -> Report:
    """Show how a run that writes configuration ended; what stood in its way has been told already."""
    steps = [{"step": s.step, "host": s.host, "result": s.result, **s.data} for s in run.steps]
    data: dict[str, Any] = {"registry": registry, "run": run.id, "state": run.state, "steps": steps}
    blocks: list[Block] = []
    if run.state == "dry-run":
        data["previews"] = [{"title": p.title, "changes": p.changes, **p.data} for p in run.previews]
        for preview in run.previews:
            if preview.changes:
                blocks += [Text(f"Would {preview.title}."), *preview.blocks]
    elif run.steps:
        blocks = [Text(f"{step.result}: {step.title}") for step in run.steps]
    if run.problems:
        data["problems"] = [{"message": p.message, "hint": p.hint} for p in run.problems]
    if run.outcome is Outcome.NOTHING_TO_DO:
        blocks = [Text(f"Nothing to do: {registry} is as the site says.")]
    hints: tuple[str, ...] = ()
    if command == "config-adopt" and run.outcome is Outcome.CHANGED:
        hints = (f"`regctl config diff {registry}` shows what `regctl config apply {registry}` would write",)
    return Report(command, run.outcome, data, tuple(blocks), hints=hints)
