"""Run a command line. The one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import click

from ctl import root as commands
from ctl.app import App
from ctl.errors import EXIT_CODES, Outcome, RegctlError


@dataclass(frozen=True)
class Failure:
    """An error as it is told: what happened, further lines, and what to do next."""

    outcome: Outcome
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the outcome."""
        return EXIT_CODES[self.outcome]


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; every message has been printed then."""
    _open_standard_streams()
    root = commands.Root()
    if "_REGCTL_COMPLETE" in os.environ:
        return _complete(root)
    if not argv:
        print(root.get_help(click.Context(root)), file=sys.stderr)  # noqa: T201
        return EXIT_CODES[Outcome.USAGE]
    app = App(commands.options_before_parsing(argv))
    try:
        return app.finish(_invoke(root, app, argv))
    except BaseException as error:
        return _report(app, error)


def _invoke(root: commands.Root, app: App, argv: list[str]) -> int | None:
    """Call the command; return an exit code only where it is not for the application to say."""
    try:
        with app, root.make_context("regctl", list(argv), obj=app) as context:
            root.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return None


def _report(app: App, error: BaseException) -> int:
    """Tell an error to the operator and to scripts; return its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and app.options.output == "table":
        print(error.format_message(), file=sys.stderr)  # noqa: T201
        return EXIT_CODES[Outcome.USAGE]
    if isinstance(error, click.UsageError) and error.ctx is not None:
        app.words = commands.command_words(error.ctx)
    failure = understood(error)
    if failure is None:
        failure = Failure(
            Outcome.FAILED,
            f"unexpected error: {type(error).__name__}: {error}",
            hint="" if app.options.verbose else "the same command with -v shows where; please report it",
            details=_traceback(error) if app.options.verbose else (),
        )
    try:
        app.fail(failure.outcome, failure.message, failure.hint, failure.details)
    except RegctlError:  # neither can this be written; stderr has the first such error
        return EXIT_CODES[Outcome.FAILED]
    return failure.exit_code


def understood(error: BaseException) -> Failure | None:
    """Return how an error is told; None for one that regctl does not raise on purpose."""
    if isinstance(error, RegctlError):
        return Failure(error.outcome, error.message, error.hint, error.details)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Failure(Outcome.INTERRUPTED, "interrupted")
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Failure(Outcome.USAGE, "a subcommand is missing", _help_hint(error))
    if isinstance(error, click.UsageError):
        return Failure(Outcome.USAGE, _lower(error.format_message()), _help_hint(error))
    if isinstance(error, click.ClickException):
        return Failure(Outcome.FAILED, _lower(error.format_message()))
    return None


def _help_hint(error: click.UsageError) -> str:
    return f"see `{error.ctx.command_path} --help`" if error.ctx else "see `regctl --help`"


def _lower(sentence: str) -> str:
    """Return click's sentence in the form of ours: no capital, no full stop."""
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


def _traceback(error: BaseException) -> tuple[str, ...]:
    from traceback import format_exception

    return tuple("".join(format_exception(error)).rstrip("\n").split("\n"))


def _open_standard_streams() -> None:
    """Point closed standard streams nowhere, or the next file that is opened, a journal say, becomes one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _complete(root: commands.Root) -> int:
    from click.shell_completion import shell_complete

    instruction = os.environ["_REGCTL_COMPLETE"]
    return shell_complete(root, {}, "regctl", "_REGCTL_COMPLETE", instruction)
