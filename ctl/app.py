"""The composition root: options and plugins in, the site's doors, a runner and a reporter out.

Nothing is opened at import, and nothing before something asks for it: `regctl version` loads no site, and
`regctl status` no database driver that it does not need.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ctl.context import Options
from ctl.errors import EXIT_CODES, Outcome, RegctlError, UsageError
from ctl.report.events import Event, Message
from ctl.report.reporter import Ending, Reporter, Streams

if TYPE_CHECKING:
    from ctl.config.models import Site
    from ctl.doors import Doors
    from ctl.plugins import Plugins
    from ctl.recipes.model import Recipe, RunReport
    from ctl.recipes.runner import Runner
    from ctl.report.model import Report

DEFAULT_STATE_DIR = "/var/lib/regctl"
SHORTEST_REDACTED = 4  # characters; shorter secrets would blot out ordinary words


class App:
    """What a command is handed as its Context, and what `ctl.cli` ends it with."""

    def __init__(self, options: Options, environment: dict[str, str] | None = None) -> None:
        self.options = options
        self.words: tuple[str, ...] = ()  # of the command that was called, for the schema of its JSON
        self._environment = dict(os.environ) if environment is None else environment
        self._stack = ExitStack()
        self._reporter: Reporter | None = None
        self._plugins: Plugins | None = None
        self._site: Site | None = None
        self._doors: Doors | None = None
        self._code: int | None = None  # of the report that was shown

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def change(self, name: str, value: Any) -> None:
        """Take a global option from the command line, wherever on it it stood."""
        if name == "verbose":
            self.options = replace(self.options, verbose=self.options.verbose + int(value))
        elif name == "no_color":
            self.options = replace(self.options, color=not value)
        else:
            if name == "output":
                self._check_format(value)
            self.options = replace(self.options, **{name: value})
        if self._reporter is not None:  # a warning was said before the line was read to its end
            self._reporter.close()
            self._reporter = None

    @property
    def site_file(self) -> str:
        """The site file that this process reads."""
        from ctl.config.load import site_path

        return site_path(self.options.site, self._environment)

    @property
    def site(self) -> Site:
        """The site, loaded on first use; ConfigError lists every mistake."""
        if self._site is None:
            from ctl.config.load import load_site

            self._site = load_site(self.site_file, self.plugins.site_model()).site
            self._mention_open_runs()
        return self._site

    @property
    def state_dir(self) -> str:
        """The controller's folder: --state-dir, else $REGCTL_STATE_DIR, else what the site says."""
        given = self.options.state_dir or self._environment.get("REGCTL_STATE_DIR")
        return os.path.abspath(given or self.site.state_dir)

    @property
    def world(self) -> Doors:
        """The doors."""
        if self._doors is None:
            from ctl.doors import Doors

            self._doors = Doors(self.site, self.state_dir, self.plugins, self._stack)
        return self._doors

    @property
    def plugins(self) -> Plugins:
        """What installed packages add."""
        if self._plugins is None:
            from ctl.plugins import Plugins

            self._plugins = Plugins(lambda text: self.emit(Message(text, "warning")))
        return self._plugins

    @property
    def reporter(self) -> Reporter:
        """The format of --output, made when the first thing is said."""
        if self._reporter is None:
            streams = Streams.of_process(
                quiet=self.options.quiet,
                verbose=self.options.verbose,
                color=self.options.color,
                redact=self._redact,
            )
            self._reporter = self.plugins.find("report format", self.options.output)(streams)
        return self._reporter

    def registry_name(self, given: str | None) -> str:
        """Return the registry meant: the one given, else the only one; UsageError names the choices."""
        if given is not None:
            self.world.registry(given)
            return given
        names = sorted(self.site.registries)
        if len(names) == 1:
            return names[0]
        if not names and len(self.site.pulps) == 1:
            self.world.registry(*self.site.pulps)  # says why a Pulp is not what is meant
        raise UsageError(
            "which registry? the site has several" if names else "the site has no registry",
            hint=f"name one of {', '.join(names)}" if names else "describe one under `registries:`",
        )

    def emit(self, event: Event) -> None:
        """Tell the operator something while working."""
        self.reporter.event(event)

    @property
    def runner(self) -> Runner:
        """The runner of recipes; without a terminal to ask on, it refuses what would need a yes."""
        from ctl import listing
        from ctl.recipes.runner import Runner

        terminal = _is_terminal(sys.stdin) and _is_terminal(sys.stderr)
        confirm = self.confirm if terminal else None
        return Runner(self.world, emit=self.emit, confirm=confirm, version=listing.own_version())

    def run(self, recipe: Recipe, **options: Any) -> RunReport:
        """Check, preview, confirm, lock, journal and run a recipe; or only the first two in a dry run."""
        settings = {"dry_run": self.options.dry_run, "yes": self.options.yes, **options}
        return self.runner.run(recipe, **settings)

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; everything but yes is a no."""
        self.reporter.close()
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def show(self, report: Report) -> None:
        """Print the report on stdout and remember its exit code."""
        if self._code is not None:
            raise RuntimeError("a command shows one report: scripts read one object")
        code = EXIT_CODES[report.outcome] if report.exit_code is None else report.exit_code
        self.reporter.report(report)
        self._code = code

    def finish(self, code: int | None = None) -> int:
        """End a command that did not fail; return its exit code."""
        if self._code is None and code is None:
            self.reporter.nothing(self.command)
        self.reporter.close()
        if code is not None:
            return code
        return self._code or 0

    def fail(self, outcome: Outcome, message: str, hint: str, details: tuple[str, ...]) -> None:
        """End a command that failed."""
        ending = Ending(self.command, outcome, message, hint, details)
        try:
            reporter = self.reporter
        except Exception:  # the format itself cannot be had: what happened must still be told
            self.options = replace(self.options, output="table")
            reporter = self.reporter
        reporter.failure(ending, reported=self._code is not None)

    @property
    def command(self) -> str:
        """The name of the command that was called, as in `Report.command`."""
        return "-".join(self.words) or "regctl"

    def _check_format(self, name: str) -> None:
        from ctl.usage import FORMATS

        if name not in FORMATS and name not in self.plugins.names("report format"):
            names = ", ".join(dict.fromkeys([*FORMATS, *self.plugins.names("report format")]))
            raise UsageError(f"there is no output format {name!r}", hint=f"--output takes {names}")

    def _redact(self, text: str) -> str:
        from ctl.secret import spellings

        for secret in tuple(self._doors.secrets) if self._doors else ():  # threads may fetch more meanwhile
            if len(secret) >= SHORTEST_REDACTED:
                for spelling in sorted(spellings(secret), key=len, reverse=True):
                    text = text.replace(spelling, "***")
        return text

    def _mention_open_runs(self) -> None:
        """Say on stderr which runs were cut off, before anything else is done."""
        folder = os.path.join(self.state_dir, "runs")
        if self.words[:1] in (("run",), ("status",)) or not os.path.isdir(folder):
            return
        from ctl.recipes.lock import Locks
        from ctl.recipes.runs import open_runs

        locks = Locks(self.state_dir)
        try:
            found = open_runs(self.state_dir)
        except RegctlError as error:  # another user's: what only reads goes on
            self.emit(Message(f"whether a run is open cannot be seen: {error.message}", "warning"))
            return
        for run in found:
            states = [locks.state(resource) for resource in run.resources]
            if any(s.verdict == "alive" and s.info is not None and s.info.run == run.id for s in states):
                self.emit(Message(f"the run {run.id} is at work since {run.started_at}"))
                continue
            what = f"the run {run.id} began at {run.started_at} and has not ended"
            hint = f"`regctl run show {run.id}`, then `regctl run resume {run.id}`"
            self.emit(Message(f"{what}: {hint}", "warning"))


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
