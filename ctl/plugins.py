"""What installed packages add. A plugin that is broken is named and left out; it never takes regctl down."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import pluggy

from ctl import hookspecs, listing
from ctl.errors import ConfigError, RegctlError

KINDS = {
    "engine": "register_engines",
    "step": "register_steps",
    "storage driver": "register_storage_drivers",
    "report format": "register_report_formats",
    "recipe": "register_recipes",
    "resource": "register_resources",
}
BUILTIN = "ctl.builtins"


@dataclass(frozen=True)
class Plugin:
    """One plugin: what it adds by kind, or why it is broken."""

    name: str
    package: str
    version: str
    adds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    broken: str = ""
    overruled: tuple[str, ...] = ()  # names that another plugin already took: "engine distribution"


class Plugins:
    """The plugins of this process, each loaded at most once and only when something asks for one."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._builtin: Plugin | None = None
        self._all: list[Plugin] | None = None

    def find(self, kind: str, name: str) -> Any:
        """Import a plugin's thing by kind and name; ConfigError names the ones there are."""
        builtin = self._load_builtin()
        if name in builtin.adds.get(kind, {}):
            return _resolve(kind, name, builtin)
        for plugin in self.all():
            if name in plugin.adds.get(kind, {}):
                return _resolve(kind, name, plugin)
        names = self.names(kind)
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
        broken = tuple(f"plugin {p.name} is broken: {p.broken}" for p in self.all() if p.broken)
        raise ConfigError(f"no plugin adds the {kind} {name!r}", hint=hint, details=broken)

    def names(self, kind: str) -> list[str]:
        """Return the names of everything of a kind, sorted."""
        return sorted({name for plugin in self.all() for name in plugin.adds.get(kind, {})})

    def folders(self, kind: str) -> tuple[str, ...]:
        """Return the plugins' own folders of resources of a kind, such as "templates"; those that exist."""
        found = []
        for name in self.names("resource"):
            package, _, folder = self.find("resource", name).partition(":")
            where = os.path.dirname(getattr(import_module(package), "__file__", None) or "")
            path = os.path.join(where, folder, kind)
            if where and os.path.isdir(path):
                found.append(path)
        return tuple(found)

    def site_model(self) -> Any:
        """Return the class that a site is checked with, or None where no plugin adds to the shipped one.

        A plugin's engine says what its registries look like in `site_model`, a subclass of
        `ctl.config.models.Registry`; a storage driver says its settings the same way, a subclass of `Model`.
        """
        if len(listing.entry_points(listing.PLUGINS)) <= 1:
            return None
        from ctl.config.models import DRIVERS, ENGINES, site_model

        engines, drivers = dict(ENGINES), dict(DRIVERS)
        for kind, models in (("engine", engines), ("storage driver", drivers)):
            for name in self.names(kind):
                model = None if name in models else getattr(self.find(kind, name), "site_model", None)
                if model is not None:
                    models[name] = model
        return site_model(engines, drivers)

    def all(self) -> list[Plugin]:
        """Return every plugin, broken ones included, the built-in one first."""
        if self._all is None:
            self._all = self._load_all()
            for plugin in self._all:
                if plugin.broken:
                    self._warn(f"plugin {plugin.name} of {plugin.package} is left out: {plugin.broken}")
                for taken in plugin.overruled:
                    self._warn(f"plugin {plugin.name} of {plugin.package} is not used for the {taken}: taken")
        return self._all

    def _load_builtin(self) -> Plugin:
        if self._builtin is None:
            point = listing.EntryPoint(
                listing.PLUGINS, "builtin", BUILTIN, listing.DISTRIBUTION, listing.own_version()
            )
            self._builtin = _load(point, {}, [])
        return self._builtin

    def _load_all(self) -> list[Plugin]:
        commands = listing.entry_points(listing.COMMANDS)
        builtin = self._load_builtin()
        taken = {(kind, name) for kind, adds in builtin.adds.items() for name in adds}
        plugins: list[Plugin] = []
        packages: dict[str, str] = {}
        for point in listing.entry_points(listing.PLUGINS):
            if point.target == BUILTIN:
                point = listing.EntryPoint(point.group, "builtin", BUILTIN, point.package, point.version)
                plugins.append(_load(point, {}, commands))
                continue
            plugin = _load(point, taken, commands)
            taken.update((kind, name) for kind, adds in plugin.adds.items() for name in adds)
            plugins.append(plugin)
        known = {plugin.package for plugin in plugins}
        for point in commands:
            if point.package not in known:
                packages[point.package] = point.version
        plugins += [
            Plugin(name, name, version, commands=_commands_of(name, commands))
            for name, version in packages.items()
        ]
        return plugins


def _commands_of(package: str, commands: list[listing.EntryPoint]) -> tuple[str, ...]:
    return tuple(point.name for point in commands if point.package == package)


def _load(point: listing.EntryPoint, taken: Any, commands: list[listing.EntryPoint]) -> Plugin:
    names = _commands_of(point.package, commands)
    try:
        adds, overruled = _answers(point, taken)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # even a plugin that calls sys.exit at import is only left out
        reason = f"{type(error).__name__}: {error}"
        return Plugin(point.name, point.package, point.version, commands=names, broken=reason)
    return Plugin(point.name, point.package, point.version, adds, names, overruled=tuple(overruled))


def _answers(point: listing.EntryPoint, taken: Any) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Import a plugin and ask it every hook. A manager of its own keeps its mistakes to itself."""
    manager = pluggy.PluginManager("regctl")
    manager.add_hookspecs(hookspecs)
    module: Any = import_module(point.target.partition(":")[0])
    for part in filter(None, point.target.partition(":")[2].split(".")):
        module = getattr(module, part)
    manager.register(module, point.name)
    manager.check_pending()
    adds: dict[str, dict[str, str]] = {}
    overruled: list[str] = []
    for kind, hook in KINDS.items():
        for answer in getattr(manager.hook, hook)():
            for name, reference in dict(answer).items():
                if not (isinstance(name, str) and isinstance(reference, str) and ":" in reference):
                    raise TypeError(f'{hook} must return names and "module:attribute", not {answer!r}')
                if (kind, name) in taken:
                    overruled.append(f"{kind} {name}")
                else:
                    adds.setdefault(kind, {})[name] = reference
    return adds, overruled


def _resolve(kind: str, name: str, plugin: Plugin) -> Any:
    reference = plugin.adds[kind][name]
    module, _, attribute = reference.partition(":")
    if kind == "resource":
        return reference
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise RegctlError(
            f"the {kind} {name!r} of {plugin.package} {plugin.version} cannot be loaded",
            details=(f"{type(error).__name__}: {error}",),
            hint="`regctl plugin list` shows what each package adds",
        ) from error
    return found
