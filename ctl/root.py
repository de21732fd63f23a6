"""The root group of the command line: commands loaded when called, global options on every level."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from ctl import listing, usage
from ctl.context import Options
from ctl.errors import RegctlError, UsageError

# What regclient's program of the same name is asked for; ours has none of these words.
REGCLIENT = ("artifact", "blob", "image", "index", "manifest", "repo", "tag")
REGCLIENT_REGISTRY = ("config", "login", "logout", "set", "whoami")
EPILOG = "Global options such as --output, --dry-run and --yes may stand here too; see `regctl --help`."

Change = Callable[[str, Any], None]  # how a global option that was given reaches the application


class GlobalOption(click.Option):
    """A global option on one level of the command line; it goes to the application, not to the command."""

    def __init__(self, option: usage.GlobalOption, flags: tuple[str, ...]) -> None:
        extra: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"is_flag": True}
        if option.name == "verbose":
            extra = {"count": True}
        elif option.name == "output":
            extra["shell_complete"] = _formats
        elif option.metavar:
            extra["type"] = click.Path()  # for completion: nothing is looked at here
        super().__init__(
            [option.name, *flags],
            help=option.help,
            expose_value=False,
            callback=_given,
            **extra,
        )

    def get_help_record(self, ctx: click.Context) -> None:
        """Stand in no command's own list: the root's help describes the global options once for all."""
        return


def _formats(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in usage.FORMATS if name.startswith(incomplete)]


def _given(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    source = context.get_parameter_source(parameter.name or "")
    application = context.find_root().obj
    if application is not None and source is ParameterSource.COMMANDLINE:
        application.change(parameter.name, value)
    return value


def command_words(context: click.Context) -> tuple[str, ...]:
    """Return the words that lead to a context's command, aliases resolved: ("registry", "import")."""
    words: list[str] = []
    current: click.Context | None = context
    while current is not None and current.parent is not None:
        words.insert(0, current.info_name or "")
        current = current.parent
    return canonical(tuple(words))


def canonical(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a command under its own name where it was called by an alias."""
    aliases = {"garbage-collect": ("gc",), "import": ("registry", "import")}
    return (*aliases.get(words[0], words[:1]), *words[1:]) if words else words


def equipped(command: click.Command, path: tuple[str, ...] = ()) -> click.Command:
    """Return a copy of a command, and of all below it, that also takes the global options.

    An option that the command declares itself wins, so that a plugin's `-n` keeps its meaning there.
    """
    command = copy.copy(command)
    taken = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    command.params = list(command.params)
    for option in usage.OPTIONS:
        flags = tuple(flag for flag in option.flags if flag not in taken)
        if flags:
            command.params.append(GlobalOption(option, flags))
    command.context_settings = {**command.context_settings, "help_option_names": list(usage.HELP)}
    command.epilog = command.epilog or EPILOG
    _with_words(command)
    if isinstance(command, click.Group):
        below = {name: equipped(child, (*path, name)) for name, child in command.commands.items()}
        # A subclass may resolve its subcommands itself; the hints for a mistyped word are added around it.
        command.commands = below
        _with_hints(command, path)
    return command


def _with_words(command: click.Command) -> None:
    """Tell the application the command's words before its part of the line is parsed, and may be wrong."""
    parse = command.parse_args

    def parse_args(context: click.Context, args: list[str]) -> list[str]:
        application = context.find_root().obj
        if application is not None:
            application.words = command_words(context)
        try:
            return parse(context, args)
        except click.UsageError as error:
            error.ctx = error.ctx or context
            raise

    vars(command)["parse_args"] = parse_args


def _with_hints(group: click.Group, path: tuple[str, ...]) -> None:
    resolve = group.resolve_command

    def resolve_with_hints(context: click.Context, args: list[str]) -> Any:
        try:
            return resolve(context, args)
        except click.UsageError as error:
            if path == ("registry",) and args and args[0] in REGCLIENT_REGISTRY:
                raise not_ours(f"registry {args[0]}") from error
            if args and args[0] not in group.commands and not args[0].startswith("-"):
                raise unknown_command(args[0], group.list_commands(context), path) from error
            raise

    vars(group)["resolve_command"] = resolve_with_hints


class Root(click.Group):
    """Every installed command, imported only when it is called."""

    def __init__(self) -> None:
        super().__init__(
            name="regctl",
            help=usage.INTRODUCTION,
            context_settings={"help_option_names": list(usage.HELP)},
            params=[GlobalOption(option, option.flags) for option in usage.OPTIONS],
        )
        self.params.append(
            click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version)
        )
        self.table = listing.commands()

    def get_help(self, ctx: click.Context) -> str:
        """Return the text that `ctl.usage` also prints without click."""
        return usage.root_help().rstrip("\n")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the installed commands."""
        return sorted(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; RegctlError names the package of one that cannot be imported."""
        point = self.table.get(cmd_name)
        if point is None:
            return None
        if ctx.obj is not None:
            ctx.obj.words = canonical((cmd_name,))  # known now, should loading fail
        return equipped(load(point), (cmd_name,))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the line names."""
        if args[0] not in self.table:
            if args[0] in REGCLIENT:
                raise not_ours(args[0])
            raise unknown_command(args[0], self.list_commands(ctx), ())
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=listing.first_line(point))
            for name, point in sorted(self.table.items())
            if name.startswith(incomplete)
        ]
        return items or click.Command.shell_complete(self, ctx, incomplete)


def load(point: listing.EntryPoint) -> click.Command:
    """Import the command behind an entry point."""
    module_name, _, attribute = point.target.partition(":")
    try:
        found: Any = import_module(module_name)
        for part in (attribute or "command").split("."):
            found = getattr(found, part)
    except RegctlError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise RegctlError(
            f"the command {point.name!r} of {point.package} {point.version} cannot be loaded",
            details=(what,),
            hint="reinstall or remove that package; the other commands are not affected",
        ) from error
    if not isinstance(found, click.Command):
        raise RegctlError(
            f"the command {point.name!r} of {point.package} {point.version} is not a click command",
            details=(f"{point.target} is a {type(found).__name__}",),
            hint="its entry point must name a click.Command or click.Group",
        )
    return found


def not_ours(words: str) -> UsageError:
    """Return the error for a line that is meant for regclient's program."""
    return UsageError(
        f"{words!r} is not a command of this program: that is regclient's regctl",
        hint="this is registry-maintain's regctl; `regctl doctor` lists every regctl on PATH",
    )


def unknown_command(word: str, names: list[str], path: tuple[str, ...]) -> UsageError:
    """Return the error for a mistyped command, with the nearest names as the hint."""
    from difflib import get_close_matches

    line = " ".join(("regctl", *path))
    near = get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        hint = "did you mean " + " or ".join(f"`{line} {name}`" for name in near) + "?"
    else:
        hint = f"`{line} --help` lists the commands"
    return UsageError(f"no such command: {line} {word}", hint=hint)


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(usage.version_line(), nl=False)
        context.exit()


def options_before_parsing(argv: list[str]) -> Options:
    """Guess the output format from the raw line, for mistakes that keep the line from being parsed."""
    output = "table"
    for index, argument in enumerate(argv):
        if argument == "--":
            break
        if argument == "--output" and index + 1 < len(argv):
            argument = f"--output={argv[index + 1]}"
        name, _, value = argument.partition("=")
        if name == "--output" and value in usage.FORMATS:
            output = value
    return Options(output=output)
