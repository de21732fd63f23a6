"""Take an existing configuration file over: settings into the site, passwords into files of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctl.config.connection import PASSWORD, connection
from ctl.config.connection import described as database_words
from ctl.config.document import Path
from ctl.config.dump import to_yaml
from ctl.config.files import make_folder, write_atomically
from ctl.config.persist import persist, preview
from ctl.config.secrets import file_name, is_reference, moved_out, secret_leaves
from ctl.config.settings import compose, config_for, differences, is_contained
from ctl.errors import ConfigError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.report.model import Json, Text
from ctl.secret import Secret
from ctl.steps.config_plan import ConfigFile, read_config, secret_reference

if TYPE_CHECKING:
    from ctl.config.models import Site
    from ctl.world import World


@dataclass(frozen=True)
class Adoption:
    """What taking a file over would write: values for the drop-in, and secrets by file."""

    config: Mapping[str, Any]
    moved: Mapping[str, Secret]
    file: ConfigFile
    database: Mapping[str, Any] | None = None  # the registry's own, where the site names none yet
    database_name: str = ""

    def changes(self, registry: str) -> dict[str, Any]:
        """Return what the drop-in is to remember."""
        described: dict[str, Any] = {"config": self.config} if self.config else {}
        if self.database is None:
            return {"registries": {registry: described}} if described else {}
        described["database"] = self.database_name
        return {"databases": {self.database_name: self.database}, "registries": {registry: described}}


class AdoptConfig(Step):
    """Take the settings of a registry's file into the site, so that rendering it says the same."""

    registry: str
    site: str  # the site file
    secrets: str  # the folder of its secrets

    def title(self) -> str:
        """Name the registry."""
        return f"take the configuration of {self.registry} into the site"

    def check(self, here: Target) -> Iterator[Problem]:
        """The file must be readable, about the storage that the site names, and the same on every node."""
        try:
            found = plan_adoption(here.world, self.registry, self.secrets)
            changes = found.changes(self.registry)
            _, loaded = preview(self.site, changes, type(here.world.site))
            _prove(here.world, loaded.site, self.registry, found, self.secrets)
        except RegctlError as error:
            text = "; ".join((error.message, *error.details))
            yield Problem(text, hint=error.hint, outcome=error.outcome)

    def preview(self, here: Target) -> Preview:
        """Show what the drop-in would say, and which files would be made."""
        found = plan_adoption(here.world, self.registry, self.secrets)
        if not found.changes(self.registry):
            return Preview(f"{self.title()}: it says all of it already", changes=False)
        text = to_yaml(found.changes(self.registry))
        names = "".join(f"# and a secret in {path}, mode 0600\n" for path in found.moved)
        data: dict[str, Json] = {"settings": found.changes(self.registry), "secrets": sorted(found.moved)}
        return Preview(self.title(), True, (Text((text + names).rstrip()),), data)

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the secrets first, then the drop-in that points to them."""
        found = plan_adoption(here.world, self.registry, self.secrets)
        if not found.changes(self.registry):
            return StepReport(changed=False, not_applicable="the site says all of it already")
        here.run.guard()
        for path, secret in found.moved.items():
            make_folder(self.secrets, 0o700)
            write_atomically(path, secret.reveal().encode() + b"\n", 0o600)
        persist(self.site, found.changes(self.registry), type(here.world.site))
        return StepReport({"secrets": sorted(found.moved), "file": found.file.path})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Doing it again is safe: it compares the file with the site anew."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """The site as it is now on disk must render what the file says."""
        from ctl.config.load import load_site

        site = load_site(self.site, type(here.world.site)).site
        file = read_config(here.world, self.registry, site.registries[self.registry].nodes[0].host)
        try:
            _prove(here.world, site, self.registry, Adoption({}, {}, file), self.secrets)
        except RegctlError as error:
            yield Problem(error.message, hint=error.hint, outcome=error.outcome)


def plan_adoption(world: World, registry: str, secrets: str) -> Adoption:
    """Work out what taking a registry's file over means; ConfigError says why it cannot be done."""
    from ctl.templates import defaults_for

    described = world.registry(registry)
    files = [read_config(world, registry, node.host) for node in described.nodes]
    for file, node in zip(files, described.nodes, strict=True):
        _refuse_unreadable(file, node.host)
        _refuse_other(files[0], file, node.host)
    found = files[0].settings or {}
    _refuse_other_storage(world, registry, files[0])
    own = _own_database(world, registry, found, secrets)
    named = {"database": connection(world.site.databases, registry, described), **described.config}
    settings, moved = _move(world, registry, found, secrets, named, own)
    node = described.nodes[0]
    template = world.engine(registry).template(world.version(registry, node.host))
    defaults = defaults_for(template, world.resources("templates"))
    if own is None:
        login = connection(world.site.databases, registry, described)
        return Adoption(config_for(described, node, defaults, settings, login), moved, files[0])
    login = {key: value for key, value in own[1].items() if value is not None}
    config = config_for(described, node, defaults, settings, login)
    return Adoption(config, moved, files[0], own[1], own[0])


def _own_database(
    world: World, registry: str, found: Mapping[str, Any], secrets: str
) -> tuple[str, dict[str, Any]] | None:
    """Name and describe the registry's own database, where its file has one and the site has not."""
    registered = world.registry(registry)
    section = found.get("database")
    if not registered.own_database or registered.database is not None or not isinstance(section, Mapping):
        return None
    name = registry if "gitlab" in world.site.databases else "gitlab"
    if name in world.site.databases:
        name = f"{registry}-metadata"
    made = database_words(section, f"file:{_password_path(secrets, name)}")
    return None if made is None else (name, made)


def _password_path(secrets: str, database: str) -> str:
    return os.path.join(secrets, file_name("databases", (database, "password")))


def _move(
    world: World,
    registry: str,
    found: Mapping[str, Any],
    secrets: str,
    named: Mapping[str, Any],
    own: tuple[str, dict[str, Any]] | None,
) -> tuple[dict[str, Any], dict[str, Secret]]:
    """Replace the secrets of a file by references: the site's own where they lead to the same."""

    def place(path: Path) -> str:
        if own is not None and path == PASSWORD:
            return _password_path(secrets, own[0])
        return os.path.join(secrets, file_name(registry, path))

    def keep(path: Path, value: Any) -> str | None:
        reference = _at(named, path)
        if is_reference(reference) and world.resolve_secret(reference) == Secret(str(value)):
            return str(reference)
        return None

    kept = {path: keep(path, value) for path, value in secret_leaves(found)}
    settings, moved = moved_out(found, place)
    for path, reference in kept.items():
        if reference is not None:
            moved.pop(place(path), None)
            _put(settings, path, reference)
    return settings, moved


def _prove(world: World, site: Site, registry: str, found: Adoption, secrets: str) -> None:
    """Raise unless the site, as it would be, renders all that the file says and nothing else."""
    from ctl.config.secrets import revealed, with_secrets
    from ctl.templates import defaults_for

    described = site.registries[registry]
    node = described.nodes[0]
    template = world.engine(registry).template(world.version(registry, node.host))
    reference = secret_reference(world, registry, secrets)
    defaults = defaults_for(template, world.resources("templates"))
    login = connection(site.databases, registry, described)
    composed = compose(described, node, defaults, reference, login)

    def fetch(name: str) -> Secret:
        path = name.removeprefix("file:")
        if path in found.moved:
            return found.moved[path]
        return (
            world.resolve_secret(name)
            if os.path.lexists(path) or not name.startswith("file:")
            else Secret("")
        )

    settings = revealed(with_secrets(composed, fetch))
    before = found.file.settings or {}
    if not is_contained(before, settings):
        paths = [".".join(map(str, path)) for path, _, _ in differences(before, settings)]
        raise ConfigError(
            f"{found.file.path} cannot be taken over whole: the site would differ in {', '.join(paths)}",
            hint="write these settings into `config` of the registry by hand, then adopt again",
        )


def _refuse_unreadable(file: ConfigFile, host: str) -> None:
    if file.data is None:
        raise ConfigError(
            f"{file.path} on {host} is not there, so there is nothing to take over",
            hint="`regctl config apply` writes it from the site",
        )
    if file.settings is None or file.mistakes:
        raise ConfigError(
            f"{file.path} on {host} cannot be taken over as it stands",
            hint="correct the file first; nothing was changed",
            details=tuple(f"{mistake.path}: {mistake.message}" for mistake in file.mistakes),
        )


def _refuse_other(first: ConfigFile, file: ConfigFile, host: str) -> None:
    paths = [
        ".".join(map(str, path)) for path, _, _ in differences(first.settings or {}, file.settings or {})
    ]
    if paths:
        raise ConfigError(
            f"{file.path} on {host} differs from the first node's in {', '.join(paths)}",
            hint="one `config` serves all nodes of a registry: make the files agree first",
        )


def _refuse_other_storage(world: World, registry: str, file: ConfigFile) -> None:
    storage = world.registry(registry).storage
    used = world.engine(registry).storage_settings(file.settings or {})
    ours = getattr(storage, storage.driver).model_dump().get("rootdirectory")
    theirs = used.get(storage.driver, {}).get("rootdirectory")
    if storage.driver not in used or theirs != ours:
        where = ", ".join(
            f"{driver} {settings.get('rootdirectory', '')}" for driver, settings in used.items()
        )
        raise ConfigError(
            f"{file.path} stores in {where.strip() or 'nothing'}, and the site says {storage.driver} {ours}",
            hint=f"correct registries.{registry}.storage in the site first",
        )


def _at(settings: Any, path: Path) -> Any:
    for part in path:
        if isinstance(settings, Mapping):
            settings = settings.get(str(part))
        elif isinstance(settings, list | tuple) and isinstance(part, int) and part < len(settings):
            settings = settings[part]
        else:
            return None
    return settings


def _put(settings: Any, path: Path, value: str) -> None:
    for part in path[:-1]:
        settings = settings[part]
    settings[path[-1]] = value
