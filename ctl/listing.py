"""Which commands and plugins are installed, read as text: nothing is imported and little is spent.

The standard library's `importlib.metadata` answers the same questions, but importing it alone takes longer
than the whole of `regctl --help` may. Both read the same files: `entry_points.txt` in every `*.dist-info`
on the path. In a checkout the list in `pyproject.toml` is what an installation would make of it, so it
is read instead, and a command added there is seen without installing again.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself costs a third of the budget; type checkers know this name
if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = "regctl.commands"
PLUGINS = "regctl"
DISTRIBUTION = "registry-maintain"
DEPENDENCIES = (
    "click",
    "httpx",
    "jinja2",
    "packaging",
    "paramiko",
    "pluggy",
    "psycopg",
    "pydantic",
    "pyyaml",
    "rich",
    "stamina",
)
HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.join(os.path.dirname(HERE), "pyproject.toml")


class EntryPoint:
    """A name that an installed package offers: `target` is "module:attribute"."""

    __slots__ = ("group", "name", "package", "target", "version")

    def __init__(self, group: str, name: str, target: str, package: str, version: str) -> None:
        self.group = group
        self.name = name
        self.target = target
        self.package = package
        self.version = version


def entry_points(group: str) -> list[EntryPoint]:
    """Return a group's entry points: regctl's own first, then the other packages' by their names.

    A package that is found twice on the path counts once, as Python would import it.
    """
    own = _checkout()
    found = list(own)
    seen = {DISTRIBUTION} if own else set()
    others: list[EntryPoint] = []
    for folder in sys.path:
        for package, version, directory in _distributions(folder or "."):
            if package not in seen:
                seen.add(package)
                points = _parse(os.path.join(directory, "entry_points.txt"), "", package, version)
                (found if package == DISTRIBUTION else others).extend(points)
    others.sort(key=lambda point: (point.package, point.name))
    return [point for point in found + others if point.group == group]


def commands() -> dict[str, EntryPoint]:
    """Return the commands by name; where two packages offer one name, regctl's own wins, then the first."""
    table: dict[str, EntryPoint] = {}
    for point in entry_points(COMMANDS):
        table.setdefault(point.name, point)
    return table


def own_version() -> str:
    """Return the version of regctl itself, "unknown" if neither an installation nor a checkout says it."""
    for point in _checkout():
        return point.version
    for folder in sys.path:
        for package, version, _ in _distributions(folder or "."):
            if package == DISTRIBUTION:
                return version
    return "unknown"


def dependency_versions() -> dict[str, str | None]:
    """Return the version of each library that regctl needs; None for one that is not installed."""
    installed: dict[str, str] = {}
    for folder in sys.path:
        for package, version, _ in _distributions(folder or "."):
            installed.setdefault(package, version)
    return {name: installed.get(name) for name in DEPENDENCIES}


def first_line(point: EntryPoint) -> str:
    """Return the first line of the docstring of an entry point's module, "" if it cannot be found."""
    path = _source(point.target.partition(":")[0])
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _docstring_line(file.read(4096))
    except OSError:
        return ""


def _docstring_line(text: str) -> str:
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        line = line.lstrip("rRuU")
        for quotes in ('"""', "'''", '"', "'"):
            if line.startswith(quotes):
                return line[len(quotes) :].partition(quotes)[0].strip().removesuffix(".")
        return ""
    return ""


def _source(module: str) -> str:
    """Find a module's file without importing its parents."""
    relative = module.replace(".", os.sep)
    for folder in [os.path.dirname(HERE), *sys.path]:
        for name in (relative + ".py", os.path.join(relative, "__init__.py")):
            path = os.path.join(folder or ".", name)
            if os.path.isfile(path):
                return path
    top, _, rest = relative.partition(os.sep)
    if top == "ctl":
        return ""
    # Some editable installations are found by an import hook only; asking it is slow, and rare.
    import importlib.util

    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in (rest + ".py", os.path.join(rest, "__init__.py")):
            if os.path.isfile(os.path.join(folder, name)):
                return os.path.join(folder, name)
    return ""


def _distributions(folder: str) -> Iterator[tuple[str, str, str]]:
    """Yield (normalised name, version, directory) of what is installed in a folder of the path."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for entry in names:
        if entry.endswith((".dist-info", ".egg-info")):
            name, _, version = entry.rpartition(".")[0].partition("-")
            package = name.lower().replace("_", "-").replace(".", "-")
            yield package, version, os.path.join(folder, entry)


def _checkout() -> list[EntryPoint]:
    """Return what pyproject.toml beside this package declares; nothing in an ordinary installation."""
    try:
        with open(CHECKOUT, encoding="utf-8") as file:
            head = file.read(4096)
    except OSError:
        return []
    values: dict[str, str] = {}
    for line in head.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key.strip(), value.strip().strip('"'))
    if values.get("name") != DISTRIBUTION:
        return []
    prefix = "project.entry-points."
    return _parse(CHECKOUT, prefix, DISTRIBUTION, values.get("version", "unknown"))


def _parse(path: str, prefix: str, package: str, version: str) -> list[EntryPoint]:
    """Read the entry points of entry_points.txt, or of the same tables as pyproject.toml spells them."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found: list[EntryPoint] = []
    group = ""
    for line in lines:
        line = line.strip()
        if line.startswith("["):
            header = line.strip("[]").replace('"', "")
            group = header.removeprefix(prefix) if header.startswith(prefix) else ""
        elif group in (COMMANDS, PLUGINS) and "=" in line and not line.startswith("#"):
            name, _, target = line.partition("=")
            target = target.partition("[")[0].strip().strip('"').replace(" ", "")
            found.append(EntryPoint(group, name.strip().strip('"'), target, package, version))
    return found
