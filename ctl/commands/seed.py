"""Make a registry tree of a chosen size and shape, for trials and measurements"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.catalog.seeding import SeedPlan
    from ctl.context import Context


@click.command(name="seed")
@click.argument("root")
@click.option("--repositories", type=click.IntRange(0), default=20, show_default=True, help="How many.")
@click.option(
    "--tags-per-repository",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Tags in each.",
)
@click.option("--seed", default=1, show_default=True, help="The same number makes the same tree.")
@click.option(
    "--shape",
    type=click.Choice(["mixed", "images", "indexes"]),
    default="mixed",
    show_default=True,
    help="How many of the tags are multi-platform indexes: 15 %, none, all.",
)
@click.option(
    "--garbage",
    type=click.FloatRange(0, 1000),
    default=5.0,
    show_default=True,
    help="Orphan blobs, in percent of the blobs in use.",
)
@click.option(
    "--layer-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Bytes in each layer.",
)
@click.option(
    "--corrupt",
    default="",
    metavar="CASE,...",
    help="Add a broken repository for each case; `all` for every case.",
)
@pass_context
def command(context: Context, root: str, corrupt: str, **shape: object) -> None:
    """Write a registry's storage tree into ROOT, a new or empty directory.

    The same options make the same bytes and the same times. No site file is needed, no server is asked,
    and a directory that holds anything is refused.
    """
    from ctl.catalog.corruption import all_cases, check_cases
    from ctl.catalog.seeding import SeedPlan

    cases = [case.strip() for case in corrupt.split(",") if case.strip()]
    cases = list(all_cases()) if cases == ["all"] else cases
    check_cases(cases)
    _make(context, root, SeedPlan(**shape), cases)  # type: ignore[arg-type]


def _make(context: Context, root: str, plan: SeedPlan, cases: list[str]) -> None:
    import time

    from ctl.catalog.seeding import seed_tree
    from ctl.errors import Outcome
    from ctl.report.events import Progress
    from ctl.report.model import Report, Table, Text

    data: dict[str, object] = {"root": root, **asdict(plan), "corrupt": cases}
    if context.options.dry_run:
        text = Text(f"would write {plan.repositories} repositories into {root}")
        context.show(Report("seed", Outcome.PENDING, data, (text,)))  # type: ignore[arg-type]
        return
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        rate = done / max(time.monotonic() - started, 1e-6)
        eta = (total - done) / rate
        context.emit(Progress("seed", done, total, "repositories", rate, eta, done == total))

    written = seed_tree(root, plan, cases, progress)
    data = {**data, **asdict(written), "seconds": round(time.monotonic() - started, 3)}
    rows = tuple((name, f"{value:,}") for name, value in asdict(written).items())
    table = Table(("what", "count"), rows, f"Written into {root}", frozenset({"count"}))
    context.show(Report("seed", Outcome.CHANGED, data, (table,)))  # type: ignore[arg-type]
