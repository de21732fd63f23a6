"""Move a registry into its metadata database, proved, with a way back until it is accepted"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from ctl.commands.import_options import skip_recent_seconds
from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.catalog.backend import BackendEvidence, Verdict
    from ctl.context import Context
    from ctl.report.model import Report
    from ctl.steps.enable_recipe import How, Place

Import = Literal["one-step", "three-step"]


@click.command("enable-db")
@click.argument("registry", required=False)
@click.option(
    "--import",
    "how",
    type=click.Choice(["one-step", "three-step"]),
    help="How to import what the storage holds: all within the read-only window, or most of it before.",
)
@click.option(
    "--provision",
    "admin",
    metavar="DATABASE",
    help="Make role and database first, by the login of this other database of the site.",
)
@click.option(
    "--quarantine-bad-entries", "quarantine", is_flag=True, help="Move aside what would stop the import."
)
@click.option("--retry", is_flag=True, help="Take out the tags of an earlier import that nobody ever used.")
@click.option(
    "--pre-import-skip-recent",
    "skip_recent",
    metavar="DURATION",
    help="Step one passes over repositories imported since then; the program's own is 72h, 0 imports all.",
)
@click.option(
    "--wait",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="Where gitlab-ctl writes the file: wait that long for each reconfigure; 0 asks and ends.",
)
@click.option(
    "--finish", is_flag=True, help="Verify, record the remaining blobs, and turn online collection on."
)
@pass_context
def command(
    context: Context,
    registry: str | None,
    how: Import | None,
    admin: str | None,
    quarantine: bool,
    retry: bool,
    skip_recent: str | None,
    wait: int,
    finish: bool,
) -> None:
    """Have REGISTRY keep its record in its metadata database from now on.

    A new installation is proved to be empty; anything else is imported. The registry refuses pushes from
    before the import until every node is proved to serve from the database, by header, lock file, log and
    tables together. Whatever fails before that is taken back.

    Online garbage collection stays off until --finish, which verifies first: until then the storage tree is
    a way back.
    """
    from ctl.steps.backend_evidence import gather
    from ctl.steps.config_plan import secrets_folder
    from ctl.steps.enable_recipe import Enabling, Place, enable_recipe
    from ctl.steps.enable_report import enable_report
    from ctl.steps.metadata_doors import metadata_database

    name = context.registry_name(registry)
    database = metadata_database(context.world, name)
    place = Place(context.site_file, secrets_folder(context.site_file))
    if finish:
        _refuse_with_finish(how, admin, quarantine, retry, skip_recent)
        _finish(context, name, place)
        return
    evidence = gather(context.world, name)
    if _enabled_already(context, name, evidence):
        return
    asked = Enabling(
        name,
        database.name,
        _how(context, name, evidence, how),
        admin=admin or "",
        quarantine=quarantine,
        retry=retry,
        skip_recent_seconds=skip_recent_seconds(skip_recent),
        wait=wait,
    )
    run = context.run(enable_recipe(context.world, asked, place))
    context.show(enable_report(name, asked.how, run))


def _finish(context: Context, name: str, place: Place) -> None:
    from ctl.steps.enable_report import finish_report
    from ctl.steps.finish_recipe import finish_recipe

    context.show(finish_report(name, context.run(finish_recipe(context.world, name, place))))


def _how(context: Context, name: str, evidence: BackendEvidence, how: Import | None) -> How:
    """Say what is imported: what was asked for, nothing for an empty storage, else what the operator says."""
    from ctl.errors import UsageError

    if evidence.locks is not None and evidence.locks.database_in_use:
        return "imported"  # the recipe's first look demands that it was kept closed since
    if evidence.tree is False:
        if how is not None:
            raise UsageError(
                f"the storage of {name} holds no repository: there is nothing to import",
                hint=f"`regctl enable-db {name}` is all that a new installation needs",
            )
        return "nothing"
    if how is not None or evidence.tree is None:
        return how or "one-step"  # a storage that cannot be read is refused by the recipe's first look
    confirm = context.runner.confirm
    if confirm is None:
        raise UsageError(
            f"the storage of {name} holds images: say how they are imported",
            hint="--import one-step refuses pushes for the whole import; --import three-step imports most of "
            "it while pushes go on, and refuses them only for the tags",
        )
    question = f"Import {name} in three steps, so that pushes are refused only for the last one?"
    return "three-step" if confirm(question) else "one-step"


def _enabled_already(context: Context, name: str, evidence: BackendEvidence) -> bool:
    from ctl.catalog.backend import judge

    verdict = judge(evidence)
    if verdict.mode != "database" or False in evidence.served:
        return False
    context.show(_nothing_to_do(context, name, verdict))
    return True


def _nothing_to_do(context: Context, name: str, verdict: Verdict) -> Report:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text
    from ctl.steps.finish_recipe import online_gc_is_off

    off = online_gc_is_off(context.world, name)
    text = f"{name} is on its metadata database already: {'; '.join(verdict.reasons)}"
    hints = (f"online garbage collection is off: `regctl enable-db {name} --finish` turns it on",)
    data = {"registry": name, "backend": "database", "online_gc": "off" if off else "on", "run": ""}
    return Report("enable-db", Outcome.NOTHING_TO_DO, data, (Text(text),), hints if off else ())


def _refuse_with_finish(*given: object) -> None:
    from ctl.errors import UsageError

    if any(given):
        raise UsageError(
            "--finish goes alone: it ends what an earlier `regctl enable-db` began",
            hint="leave all other options out",
        )
