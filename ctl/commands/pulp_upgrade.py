"""`regctl upgrade` for a Pulp: what it would take, host by host; the packages are the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.context import Context
    from ctl.plans.pulp_upgrade import PulpPlan


def meant(context: Context, given: str | None) -> str:
    """Return the Pulp that is meant, "" where it is none: the one given, else the site's only registry."""
    pulps = sorted(context.site.pulps)
    if given is not None:
        return given if given in pulps else ""
    return pulps[0] if len(pulps) == 1 and not context.site.registries else ""


def show_plan(
    context: Context,
    name: str,
    binary: str | None,
    version: str | None,
    skip: tuple[str, ...],
    skip_reason: str,
    *,
    detailed: bool,
) -> None:
    """Show the plan, or what blocks it."""
    from ctl.steps.pulp_upgrade_report import plan_report

    made = _plan(context, name, binary, version, skip, skip_reason)
    context.show(plan_report(made, detailed=detailed))


def refuse_apply(
    context: Context,
    name: str,
    binary: str | None,
    version: str | None,
    skip: tuple[str, ...],
    skip_reason: str,
) -> None:
    """Show why it is not done by regctl, and what is done by hand; exit code 6."""
    from ctl.errors import RefusedError
    from ctl.plans.pulp_upgrade_runbook import WHY
    from ctl.steps.pulp_upgrade_report import refusal_report

    if version is None:
        hint = f"regctl upgrade plan {name} --to VERSION lists what is done by hand, in order, host by host"
        raise RefusedError(f"{name} is a Pulp, and is not upgraded by regctl", hint=hint, details=(WHY,))
    context.show(refusal_report(_plan(context, name, binary, version, skip, skip_reason)))


def _plan(
    context: Context,
    name: str,
    binary: str | None,
    version: str | None,
    skip: tuple[str, ...],
    skip_reason: str,
) -> PulpPlan:
    from ctl.errors import UsageError
    from ctl.plans.pulp_upgrade import plan
    from ctl.steps.pulp_upgrade_look import demand_skips, look

    if binary is not None:
        raise UsageError(f"{name} is a Pulp: its target is a release, --to VERSION, and no program")
    target, skips = _release(name, version), demand_skips(skip, skip_reason)
    return plan(look(context.world, name, target, skips))


def _release(name: str, text: str | None) -> Version:
    from packaging.version import InvalidVersion, Version

    from ctl.errors import UsageError

    hint = "a release of pulp-container, such as --to 2.27.14: which of them matters, within a line too"
    if text is None:
        raise UsageError(f"{name} is a Pulp: name the release that is meant", hint=hint)
    try:
        found = Version(text)
    except InvalidVersion as error:
        raise UsageError(f"--to {text}: not a version", hint=hint) from error
    if len(found.release) < 3:
        raise UsageError(f"--to {text}: a line of releases, and not one of them", hint=hint)
    return found
