"""What a command is handed: the site, the doors, a way to run a recipe and a way to show a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctl.config.models import Site
    from ctl.plugins import Plugins
    from ctl.recipes.model import Recipe, RunReport
    from ctl.recipes.runner import Runner
    from ctl.report.events import Event
    from ctl.report.model import Report
    from ctl.world import World


@dataclass(frozen=True)
class Options:
    """The global options, wherever on the line they stood."""

    site: str | None = None
    state_dir: str | None = None
    output: str = "table"
    yes: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: int = 0
    color: bool = True


class Context(Protocol):
    """What a command is handed; made by `ctl.app`."""

    options: Options

    @property
    def site_file(self) -> str:
        """The site file that this process reads."""
        ...

    @property
    def site(self) -> Site:
        """The site, loaded on first use; ConfigError lists every mistake."""
        ...

    @property
    def world(self) -> World:
        """The doors."""
        ...

    @property
    def plugins(self) -> Plugins:
        """What installed packages add."""
        ...

    def registry_name(self, given: str | None) -> str:
        """Return the registry meant: the one given, else the only one; UsageError names the choices."""
        ...

    def emit(self, event: Event) -> None:
        """Tell the operator something while working (stderr, or a line of jsonl)."""
        ...

    def run(self, recipe: Recipe, **options: Any) -> RunReport:
        """Check, preview, confirm, lock, journal and run a recipe; or only the first two in a dry run."""
        ...

    @property
    def runner(self) -> Runner:
        """The runner behind `run`, for what only `regctl run` does: resume and abandon."""
        ...

    def show(self, report: Report) -> None:
        """Print the report on stdout and remember its exit code."""
        ...


if TYPE_CHECKING:
    pass_context: Callable[..., Any]
else:

    def pass_context(function):
        """Hand the Context to a click command as its first argument."""
        import click

        return click.make_pass_decorator(object)(function)
