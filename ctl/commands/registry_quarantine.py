"""`regctl registry quarantine`: move aside what an import would stop at, list it, bring it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ctl.context import pass_context

if TYPE_CHECKING:
    from ctl.context import Context

MOVE = "move"


class _Group(click.Group):
    """A group whose first argument may be a registry: then it moves."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            return MOVE, self.get_command(ctx, MOVE), args
        return super().resolve_command(ctx, args)


@click.group("quarantine", cls=_Group, invoke_without_command=True)
@click.pass_context
def command(click_context: click.Context) -> None:
    """Move aside what an import would stop at: `regctl registry quarantine [REGISTRY]`.

    Entries are renamed to a folder beside the registry's tree, on the same file system. What the import
    would only drop stays where it is. Refused where a metadata database is in use.
    """
    if click_context.invoked_subcommand is None:
        click_context.invoke(move)


@command.command(MOVE)
@click.argument("registry", required=False)
@pass_context
def move(context: Context, registry: str | None = None) -> None:
    """Move the bad entries of REGISTRY aside; with --dry-run they are only named.

    The tree is read anew before each move, and once more at the end: nothing may be left that stops the
    import. An entry that somebody mended meanwhile stays.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.preflight_report import quarantine_report
    from ctl.steps.quarantine import Quarantine

    name = context.registry_name(registry)
    recipe = Recipe(
        "registry-quarantine",
        (Do(Quarantine(registry=name)),),
        resources=(f"registry/{name}",),
        title=f"move aside what an import of {name} would stop at",
        question=f"Move these entries of {name} aside? They come back with `registry quarantine undo`.",
    )
    context.show(quarantine_report(name, context.run(recipe), "Quarantine"))


@command.command("list")
@click.argument("registry", required=False)
@pass_context
def list_(context: Context, registry: str | None) -> None:
    """List what earlier runs moved aside in REGISTRY and has not come back."""
    from ctl.errors import Outcome
    from ctl.report.model import Report, Table
    from ctl.steps.quarantine import listed

    name = context.registry_name(registry)
    found = listed(context.world, name)
    rows = tuple(
        (str(one["run"]), str(one["created"]), str(entry["kind"]), str(entry["path"]))
        for one in found
        for entry in one["entries"]
    )
    table = Table(("run", "created", "kind", "path"), rows, f"Moved aside in {name}")
    data: dict[str, Any] = {"registry": name, "quarantines": found}
    context.show(Report("registry-quarantine-list", Outcome.OK, data, (table,) if rows else ()))


@command.command("undo")
@click.argument("run_id", metavar="RUN")
@click.argument("registry", required=False)
@pass_context
def undo(context: Context, run_id: str, registry: str | None) -> None:
    """Bring back what RUN moved aside in REGISTRY, with bytes, modes, owners and times as they were.

    Nothing is overwritten: where a place was taken meanwhile nothing comes back at all, and the place is
    named. It may be done at any time, also after the import.
    """
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.preflight_report import quarantine_report
    from ctl.steps.quarantine import RestoreQuarantine

    name = context.registry_name(registry)
    recipe = Recipe(
        "registry-quarantine-undo",
        (Do(RestoreQuarantine(registry=name, run=run_id)),),
        resources=(f"registry/{name}",),
        title=f"bring back what {run_id} moved aside in {name}",
        question=f"Bring back what {run_id} moved aside in {name}?",
    )
    context.show(quarantine_report(name, context.run(recipe), "RestoreQuarantine"))
