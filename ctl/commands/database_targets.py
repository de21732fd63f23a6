"""Which databases a command is about, and how steps on them run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctl.context import Context
    from ctl.recipes.model import Step


@dataclass(frozen=True)
class Chosen:
    """The databases that a command is about."""

    own: tuple[str, ...]  # regctl's
    metadata: tuple[tuple[str, str], ...]  # (database, one registry on it)
    pulps: tuple[str, ...] = ()  # each has a database of its own on each of its hosts


def choose(
    context: Context, database: str | None, registry: str | None, *, named_only: bool = False
) -> Chosen:
    """Return the databases meant; UsageError where there is none, or where the names do not fit.

    Without a name: all that are regctl's own, and unless `named_only` every metadata database, once each
    however many registries and nodes share it, and every Pulp.
    """
    from ctl.errors import UsageError
    from ctl.steps.database_state import own_databases
    from ctl.steps.metadata_doors import metadata_database
    from ctl.steps.metadata_migrations import metadata_registries

    known, pulps = metadata_registries(context.site), tuple(sorted(context.site.pulps))
    if registry in pulps:
        if database:
            raise UsageError(
                f"{registry} is a Pulp: its databases stand on its hosts, and none is {database}"
            )
        return Chosen((), (), (registry,))
    if registry:
        context.world.registry(registry)
        found = metadata_database(context.world, registry).name
        if database not in (None, found):
            raise UsageError(f"the metadata database of {registry} is {found}, not {database}")
        return Chosen((), ((found, registry),))
    if database:
        context.world.database(database)
        if database in known:
            return Chosen((), ((database, known[database][0]),))
        return Chosen((database,), ())
    own = tuple(name for name in own_databases(context.site) if name not in known)
    metadata = () if named_only else tuple((name, names[0]) for name, names in known.items())
    if not own and not metadata and pulps and not named_only:
        return Chosen((), (), pulps)
    if not own and not metadata:
        if pulps and not known:
            raise UsageError(
                "a Pulp's databases are changed only by its name",
                hint=f"name one with --registry: {', '.join(pulps)}",
            )
        if known:
            raise UsageError(
                "a metadata database is taken back only by its name",
                hint=f"name one with --database: {', '.join(known)}",
            )
        raise UsageError(
            "the site has no database for regctl to migrate",
            hint="add `databases: {metadata: {embedded: true}}`, and `database: metadata` to a registry",
        )
    return Chosen(own, metadata, () if named_only else pulps)


def in_use(context: Context, chosen: Chosen) -> Chosen:
    """Leave out metadata databases that no configuration names yet, unless there is nothing else.

    A site describes such a database before `enable-db` uses it; regctl's own are migrated all the same.
    """
    from ctl.report.events import Message
    from ctl.steps.metadata_migrations import configured, migrating_node

    world = context.world
    used = tuple(
        (database, one)
        for database, one in chosen.metadata
        if configured(world, one, migrating_node(world, one))
    )
    if not used and not chosen.own:
        return chosen
    for database, one in chosen.metadata:
        if (database, one) not in used:
            context.emit(Message(f"database {database} is left out: {one} is not configured to use it yet"))
    return Chosen(chosen.own, used)


def refuse_nonsense(
    chosen: Chosen,
    post_limit: int | None,
    node: str | None,
    skip_post: bool = False,
    limit: int | None = None,
) -> None:
    """Raise UsageError for options that exclude each other, or that none of the databases has."""
    from ctl.errors import UsageError

    if chosen.pulps and not chosen.own and not chosen.metadata:
        if limit is not None or post_limit is not None or skip_post:
            raise UsageError(
                "--limit, --post-limit and --skip-post-deployment are not for a Pulp: it is migrated to "
                "its end, or its services must not run"
            )
        return
    if post_limit is not None and skip_post:
        raise UsageError("--post-limit and --skip-post-deployment exclude each other")
    if not chosen.metadata and (post_limit is not None or (node and not chosen.pulps)):
        raise UsageError(
            "--post-limit and --node are about the metadata database of a GitLab registry, or about a Pulp"
        )


def run_steps(
    context: Context,
    recipe_name: str,
    steps: Sequence[Step],
    chosen: Chosen,
    *,
    question: str = "",
    skip: tuple[str, ...] = (),
    skip_reason: str = "",
) -> None:
    """Run steps on databases as a recipe that locks them, and show what became of it."""
    from ctl.recipes.model import Do, Recipe
    from ctl.steps.database_reports import run_report

    names = (*chosen.own, *(database for database, _ in chosen.metadata))
    recipe = Recipe(
        recipe_name,
        tuple(Do(step) for step in steps),
        resources=tuple(f"database/{name}" for name in dict.fromkeys(names)),
        title=recipe_name.replace("-", " "),
        question=question,
    )
    context.show(run_report(context.run(recipe, skip=skip, skip_reason=skip_reason)))
