"""The text of `regctl --help` and `--version`, and the one table of global options behind both.

Kept free of imports: click alone takes three times as long to import as Python takes to start. `ctl.cli`
prints the same text through click for the lines that this fast way does not recognise.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctl.listing import EntryPoint


class GlobalOption:
    """An option of every command: a flag where `metavar` is empty."""

    __slots__ = ("flags", "help", "metavar", "name")

    def __init__(self, name: str, flags: tuple[str, ...], metavar: str, help: str) -> None:
        self.name = name
        self.flags = flags
        self.metavar = metavar
        self.help = help


OPTIONS = (
    GlobalOption("site", ("--site",), "FILE", "Read this site file [/etc/regctl/site.yml]"),
    GlobalOption("state_dir", ("--state-dir",), "DIR", "Keep journals and plans here [/var/lib/regctl]"),
    GlobalOption("output", ("--output",), "FORMAT", "Print table, json, yaml or jsonl [table]"),
    GlobalOption("yes", ("-y", "--yes"), "", "Confirm what is shown, without asking"),
    GlobalOption("dry_run", ("-n", "--dry-run"), "", "Show what would change; change nothing"),
    GlobalOption("quiet", ("-q", "--quiet"), "", "Say less: warnings and errors only"),
    GlobalOption("verbose", ("-v", "--verbose"), "", "Say more; twice for even more"),
    GlobalOption("no_color", ("--no-color",), "", "Print without colours"),
)
FORMATS = ("table", "json", "yaml", "jsonl")
HELP = ("-h", "--help")
OTHERS = (
    (", ".join(HELP), "Show this, or the help of a command"),
    ("--version", "Name this program and its version"),
)
INTRODUCTION = (
    "Look after container registries: their settings, metadata database, content, garbage and upgrades."
)
CLOSING = (
    "Global options may stand before or after the command. The site file is /etc/regctl/site.yml, "
    "$REGCTL_SITE or --site; `regctl init` writes the first one."
)


def quick(argv: Sequence[str]) -> str | None:
    """Return the whole answer to a line that only asks for help or the version, else None."""
    flags = {flag for option in OPTIONS if not option.metavar for flag in option.flags}
    for argument in argv:
        if argument in HELP:
            return root_help()
        if argument == "--version":
            return version_line()
        if argument not in flags:
            return None
    return None


def version_line() -> str:
    """Return the line that tells this regctl from regclient's."""
    from ctl.listing import DISTRIBUTION, own_version

    return f"{DISTRIBUTION} {own_version()} (regctl)\n"


def root_help() -> str:
    """Return the text of `regctl --help`, as wide as the terminal and at most 100 columns."""
    from ctl import listing

    width = _width()
    table = listing.commands()
    rows = [(name, _summary(point, table)) for name, point in sorted(table.items())]
    options = [(_spelling(option), option.help) for option in OPTIONS] + list(OTHERS)
    column = max(len(left) for left, _ in rows + options)
    lines = ["Usage: regctl [OPTIONS] COMMAND [ARGS]...", ""]
    lines += _paragraph(INTRODUCTION, width)
    for title, entries in (("Commands", rows), ("Global options", options)):
        lines += ["", f"{title}:"]
        for left, right in entries:
            lines += _entry(left, right, column, width)
    lines += ["", *_paragraph(CLOSING, width)]
    return "\n".join(lines) + "\n"


def _spelling(option: GlobalOption) -> str:
    return ", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "")


def _summary(point: EntryPoint, table: dict[str, EntryPoint]) -> str:
    from ctl import listing

    for name, other in table.items():
        # Of two names for one thing the shorter is the command, the other its alias.
        if other.target == point.target and len(name) < len(point.name):
            return f"Alias of `{name}`"
    return listing.first_line(point)


def _width() -> int:
    """Return the width to write in; COLUMNS wins over the terminal, as everywhere."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() else 0
    if not width:
        try:
            width = os.get_terminal_size(1).columns
        except OSError:
            width = 80
    return max(50, min(width, 100))


def _paragraph(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += (" " if lines[-1] else "") + word
    return lines


def _entry(left: str, right: str, column: int, width: int) -> list[str]:
    wrapped = _paragraph(right, max(20, width - column - 4))
    indent = " " * (column + 4)
    first = f"  {left.ljust(column)}  {wrapped[0]}".rstrip()
    return [first, *(indent + line for line in wrapped[1:])]
