"""What a node's configuration file is, and what it should be. Reads only; the steps and `config` share it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ctl.config.connection import connection
from ctl.config.ownership import Ownership, body_of, classify, inputs_checksum, seal
from ctl.config.secrets import is_reference, redact_text, revealed, secret_leaves, with_secrets
from ctl.config.settings import compose
from ctl.errors import ConfigError, RefusedError, RegctlError
from ctl.secret import Secret
from ctl.steps.omnibus import RECONFIGURE, SETTINGS_FILE, asked_of_site, is_generated

if TYPE_CHECKING:
    from ctl.engines.base import ConfigMistake
    from ctl.hosts.base import FileInfo
    from ctl.world import World

TO_BE_MADE = "(made by config apply)"
WIDEST = 0o640  # of a file that holds a secret, and every managed one does


@dataclass(frozen=True)
class ConfigFile:
    """A node's configuration file as it stands."""

    path: str
    data: bytes | None
    info: FileInfo | None
    settings: Mapping[str, Any] | None  # None: it cannot be read as the registry would, or is not there
    mistakes: tuple[ConfigMistake, ...]
    ownership: Ownership


@dataclass(frozen=True)
class ConfigPlan:
    """A node's configuration file as it stands and as the site wants it; `wanted` holds secrets in clear."""

    registry: str
    host: str
    before: ConfigFile
    settings: Mapping[str, Any]  # secrets in clear
    references: Mapping[str, Any]  # the same with references: may be shown
    body: str
    wanted: bytes

    @property
    def changes(self) -> bool:
        """Whether the file says something else than the site; a new regctl version alone is no change."""
        data = self.before.data
        return data is None or self.before.ownership.state != "managed" or body_of(data) != self.body.encode()

    def diff(self) -> str:
        """Return the unified diff, secrets hidden."""
        return shown_diff(self.before.data, self.wanted, self.before.path)

    def rendered(self) -> str:
        """Return the file's text as the site wants it, secrets hidden."""
        return redact_text(self.wanted, self.before.path)


@dataclass(frozen=True)
class GeneratedPlan(ConfigPlan):
    """A file that gitlab-ctl writes: `lines` for gitlab.rb, secrets hidden, make it what the site says."""

    lines: str = ""

    @property
    def changes(self) -> bool:
        """Whether anything is to be put into gitlab.rb."""
        return bool(self.lines)

    def diff(self) -> str:
        """Return the lines."""
        return self.lines

    def rendered(self) -> str:
        """Return the lines: the file itself is rendered by gitlab-ctl."""
        return self.lines or "# gitlab-ctl has written all that the site says"


def secret_path(secrets: str, registry: str) -> str:
    """Return where a registry's http.secret is kept, in the folder of the site's secrets."""
    return os.path.join(secrets, f"{registry}.http.secret")


def secrets_folder(site_file: str) -> str:
    """Return the folder of the secrets that regctl moved or made: secrets/ beside the site file."""
    return os.path.join(os.path.dirname(site_file), "secrets")


def secret_reference(world: World, registry: str, secrets: str) -> str:
    """Return where a registry's http.secret comes from: the site's own word for it, else our file."""
    http = world.registry(registry).config.get("http")
    named = http.get("secret") if isinstance(http, Mapping) else None
    return str(named) if is_reference(named) else f"file:{secret_path(secrets, registry)}"


def read_config(world: World, registry: str, host: str) -> ConfigFile:
    """Read a node's configuration file; never an error for what stands in it."""
    door, path = world.host(host), world.node(registry, host).config_file
    try:
        data: bytes | None = door.read(path)
    except FileNotFoundError:
        return ConfigFile(path, None, None, None, (), classify(None))
    parsed = world.engine(registry).parse_config(data or b"")
    settings = _with_root(world, registry, parsed.data) if parsed.readable else None
    owner = Ownership("generated") if is_generated(world, registry, host) else classify(data)
    return ConfigFile(path, data, door.stat(path), settings, tuple(parsed.mistakes), owner)


def _with_root(world: World, registry: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Spell the storage's root as the site does: the default filled in, no slash at its end."""
    used = dict(world.engine(registry).storage_settings(settings))
    for driver, parameters in used.items():
        root = parameters.get("rootdirectory") if isinstance(parameters, Mapping) else None
        if isinstance(root, str) and isinstance(settings.get("storage"), Mapping):
            spelt = {**parameters, "rootdirectory": root.rstrip("/") or "/"}
            settings = {**settings, "storage": {**settings["storage"], driver: spelt}}
    return settings


def plan_config(world: World, registry: str, host: str, secrets: str) -> ConfigPlan:
    """Render a node's file and set it beside the one that stands; ConfigError if that cannot be done."""
    from ctl.engines.upgrades import translated
    from ctl.listing import own_version
    from ctl.resources import read_resource
    from ctl.templates import defaults_for, render_config

    described, node = world.registry(registry), world.node(registry, host)
    before = read_config(world, registry, host)
    if before.ownership.state == "generated":
        return _generated(world, registry, host, before)
    template = world.engine(registry).template(world.version(registry, host))
    own = f"file:{secret_path(secrets, registry)}"
    extra = world.resources("templates")
    defaults = defaults_for(template, extra)
    login = connection(world.site.databases, registry, described)
    composed = compose(described, node, defaults, secret_reference(world, registry, secrets), login)
    # The site may still speak as an older version does: nodes of both are served by one `config`.
    references = translated(world.engine(registry), composed, world.version(registry, host))

    def fetch(reference: str) -> Secret:
        if reference == own and not os.path.lexists(secret_path(secrets, registry)):
            return Secret(TO_BE_MADE)  # a preview; `check_rendered` keeps it out of files
        return world.resolve_secret(reference)

    settings: dict[str, Any] = revealed(with_secrets(references, fetch))
    body = render_config(template, settings, extra)
    inputs = inputs_checksum(read_resource("templates", template, extra), settings)
    wanted = seal(body, version=own_version(), registry=registry, inputs=inputs)
    return ConfigPlan(registry, host, before, settings, references, body, wanted)


def _generated(world: World, registry: str, host: str, before: ConfigFile) -> GeneratedPlan:
    if before.data is None:
        raise ConfigError(
            f"{before.path} on {host} is not there, and gitlab-ctl is to write it",
            hint=f"enable the registry in {SETTINGS_FILE} and run `{RECONFIGURE}`",
        )
    made = asked_of_site(world, registry, host, before.data)
    lines = made.fragment.shown if made.fragment is not None else ""
    return GeneratedPlan(registry, host, before, made.settings, {}, "", before.data, lines)


def refuse_unfinished(plan: ConfigPlan) -> None:
    """Raise RefusedError if the rendering still holds the place of a secret that is not made yet."""
    if any(value == TO_BE_MADE for _, value in secret_leaves(plan.settings)):
        raise RefusedError(f"the http.secret of {plan.registry} is not made yet; nothing was written")


def shown_diff(before: bytes | None, after: bytes, path: str) -> str:
    """Return a unified diff of two configuration files; secrets only say whether they differ."""
    marks = _marks(before, after)
    old = redact_text(before, path, marks[0]) if before is not None else ""
    new = redact_text(after, path, marks[1])
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{path} (now)", f"{path} (from the site)", lineterm=""
    )
    return "\n".join(lines)


def _marks(before: bytes | None, after: bytes) -> tuple[dict[str, str], dict[str, str]]:
    old, new = _secret_texts(before or b""), _secret_texts(after)
    return {text: "*** (as now)" for text in old - new}, {text: "*** (another)" for text in new - old}


def _secret_texts(data: bytes) -> set[str]:
    from ctl.config.document import read_document
    from ctl.config.words import Dialect

    root = read_document(data, "", Dialect.REGISTRY).root
    plain = root.plain() if root is not None else None
    return {str(value) for _, value in secret_leaves(plain)} if isinstance(plain, dict) else set()


@dataclass(frozen=True)
class Permissions:
    """Who may read a configuration file."""

    mode: int
    owner: str | None
    group: str | None


def permissions(world: World, registry: str, host: str, info: FileInfo | None) -> Permissions:
    """Return the mode and owner for a managed file: as they are, but never open to everybody.

    The file holds secrets, so others lose their right to read it, and the group of the user that runs the
    registry gets it. ConfigError if nothing says who that is.
    """
    reader = _reader(world, registry, host)
    kept = Permissions(
        (info.mode & WIDEST) | 0o600 if info else 0o600,
        info.owner if info else None,
        info.group if info else None,
    )
    if not reader and info is not None and info.mode & 0o007:
        raise ConfigError(
            f"{world.node(registry, host).config_file} is open to everybody, will hold secrets, and nothing "
            f"says which user {registry} runs as",
            hint=f"add `user: NAME` to its node on {host} in the site",
        )
    if reader in (None, "", "root", kept.owner):
        return kept
    return replace(kept, mode=kept.mode | 0o040, group=_primary_group(world, host, str(reader)))


def _reader(world: World, registry: str, host: str) -> str | None:
    named = world.node(registry, host).user
    if named is not None:
        return named
    process = world.service(registry, host).state().process
    if process is not None:
        return process.user
    service = world.node(registry, host).service
    if service.kind == "process":  # started as whoever runs regctl
        return _output(world, host, ("id", "-un"))
    shown = _output(world, host, ("systemctl", "show", "--property=User,LoadState", "--", service.name))
    properties = dict(line.partition("=")[::2] for line in shown.splitlines())
    return (properties.get("User") or "root") if properties.get("LoadState") == "loaded" else None


def _output(world: World, host: str, argv: tuple[str, ...]) -> str:
    """Return what a program prints; "" where it is missing or fails."""
    from ctl.hosts.base import Command

    try:
        result = world.host(host).run(Command(argv))
    except RegctlError:
        return ""
    return result.stdout.decode(errors="replace").strip() if result.exit_code == 0 else ""


def _primary_group(world: World, host: str, user: str) -> str:
    group = _output(world, host, ("id", "-gn", "--", user))
    if not group:
        raise ConfigError(f"there is no user {user} on {host}", hint="correct `user` of the node in the site")
    return group
