"""`regctl registry preflight`: what GitLab's import would stop at, drop or break, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context


@click.command("preflight")
@click.argument("registry", required=False)
@click.option(
    "--effect",
    type=click.Choice(["abort", "drop", "alter", "info"]),
    multiple=True,
    help="Show findings of this effect only; may be given more than once.",
)
@pass_context
def command(context: Context, registry: str | None, effect: tuple[str, ...]) -> None:
    """Find what an import of REGISTRY into GitLab's metadata database would stop at, drop or break.

    The storage tree is read as the importer reads it, in bulk, while the registry serves; nothing is
    written and no database is asked. Every finding has its path, its effect, a reason and a remedy. Exit
    code 0 where nothing is lost, 3 where something is.
    """
    import time

    from ctl.report.events import Progress
    from ctl.steps.preflight import read_preflight
    from ctl.steps.preflight_report import preflight_report

    name = context.registry_name(registry)
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        rate = done / max(time.monotonic() - started, 1e-6)
        eta = (total - done) / rate if rate else None
        context.emit(Progress("preflight", done, total, "repositories", rate, eta, done == total))

    result = read_preflight(context.world, name, progress)
    context.show(preflight_report(name, result, effect))
