"""From a registry that was found to a first site file: as data, then as commented text."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from ctl.config.connection import PASSWORD, described
from ctl.config.document import NAME_WIDTH, Path, read_document
from ctl.config.secrets import file_name, secret_leaves
from ctl.config.words import same
from ctl.discovery import FoundRegistry, supervised_folder, systemd_runs, unit_of
from ctl.engines.metadata import metadata_of
from ctl.errors import ConfigError, RefusedError, RegctlError, UsageError
from ctl.secret import Secret

if TYPE_CHECKING:
    from ctl.engines.base import Engine
    from ctl.hosts.base import Host

OWN_DATABASE = "gitlab"  # what a registry's own database is called in the site
PACKAGE = "/var/opt/gitlab/"  # where GitLab's package writes configurations
PACKAGE_ENVIRONMENT = "/opt/gitlab/etc/registry/env"
EVERYWHERE = ("", "0.0.0.0", "::", "*")  # noqa: S104 - addresses that are looked for, not bound


@dataclass(frozen=True)
class Wanted:
    """What `regctl init` was told; None where it is to find out."""

    site_file: str
    state_dir: str
    name: str
    engine: str
    service: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class FirstSite:
    """A site file to be written: as data and as text, with the secrets that go to files of their own."""

    site: Mapping[str, Any]
    text: str
    version: str
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def first_site(host: Host, found: FoundRegistry, engine: Engine, wanted: Wanted) -> FirstSite:
    """Describe the registry that was found; ConfigError or RefusedError say why that cannot be done."""
    version = _version(host, engine, found.binary)
    settings = _settings(host, engine, found.config_file)
    root = _root(engine, settings, found.config_file)
    folder = os.path.join(os.path.dirname(wanted.site_file), "secrets")
    config, secrets, left = _secrets(settings, wanted.name, folder)
    databases, database = _databases(engine, settings, folder, config, secrets, wanted.name)
    left += _mistakes(host, engine, settings, Version(version))
    node: dict[str, Any] = {
        "host": _host_name(),
        "binary": found.binary,
        "config_file": found.config_file,
        "url": wanted.url or node_url(settings, found.config_file),
        "service": _service(host, found, wanted),
    }
    user = _user(host, found, root)
    if user is not None:
        node["user"] = user
    if found.config_file.startswith(PACKAGE) and host.stat(PACKAGE_ENVIRONMENT) is not None:
        node["environment_file"] = PACKAGE_ENVIRONMENT
    site: dict[str, Any] = {
        "version": 1,
        "state_dir": wanted.state_dir,
        "control_database": "metadata",
        "hosts": {node["host"]: {"connection": "local"}},
        "databases": databases,
        "registries": {
            wanted.name: {
                "engine": wanted.engine,
                **({"database": database} if database else {}),
                "storage": {"filesystem": {"rootdirectory": root}},
                "config": config,
                "nodes": [node],
            }
        },
    }
    notes = [f"{found.binary} {version} with {found.config_file} ({found.how})."]
    notes.append(
        "config holds settings in the registry's own words; `regctl config adopt` takes its file over."
    )
    text = _text(site, wanted, notes, _credentials(settings, folder, wanted.name))
    return FirstSite(site, text, version, secrets, left)


def node_url(settings: Mapping[str, Any], config_file: str) -> str:
    """Return the address at which a registry with these settings answers on this host."""
    http = settings.get("http")
    http = http if isinstance(http, Mapping) else {}
    if http.get("net", "tcp") not in ("tcp", "", None):
        raise RefusedError(
            f"{config_file} listens on a {http['net']} socket (http.net), and regctl speaks to a TCP port",
            hint="name an address that reaches it: regctl init --url http://127.0.0.1:5000",
        )
    address, _, port = str(http.get("addr") or "").rpartition(":")
    if not port.isdigit():
        raise ConfigError(
            f"{config_file} does not say on which port the registry listens (http.addr)",
            hint="set http.addr: 127.0.0.1:5000 there and restart it, or say regctl init --url URL",
        )
    tls = http.get("tls")
    secure = isinstance(tls, Mapping) and any(tls.get(key) for key in ("certificate", "letsencrypt"))
    name = address.strip("[]")
    if secure and name in EVERYWHERE:
        # a certificate is for a name, and http.host is where the registry is told its own
        name = _own_name(http) or "localhost"
    if name in EVERYWHERE:
        name = "127.0.0.1"
    shown = f"[{name}]" if ":" in name else name
    prefix = str(http.get("prefix") or "").rstrip("/")
    return f"{'https' if secure else 'http'}://{shown}:{port}{prefix}"


def _own_name(http: Mapping[str, Any]) -> str:
    from urllib.parse import urlsplit

    return urlsplit(str(http.get("host") or "")).hostname or ""


def _version(host: Host, engine: Engine, binary: str) -> str:
    result = host.run(engine.version_command(binary))
    if result.exit_code != 0:
        raise ConfigError(
            f"{binary} --version ended with exit code {result.exit_code}, so it is not a registry's program",
            hint="name the right one: regctl init --registry-binary FILE",
        )
    return str(engine.parse_version(result.stdout.decode(errors="replace")))


def _settings(host: Host, engine: Engine, config_file: str) -> Mapping[str, Any]:
    try:
        data = host.read(config_file)
    except FileNotFoundError:
        raise UsageError(
            f"there is no configuration file {config_file}", hint="name it with --registry-config FILE"
        ) from None
    parsed = engine.parse_config(data)
    if not parsed.readable:
        lines = tuple(f"{config_file}: {mistake.path} {mistake.message}" for mistake in parsed.mistakes)
        raise ConfigError(
            f"{config_file} cannot be read as a registry's configuration",
            details=lines,
            hint="correct the file",
        )
    return parsed.data


def _mistakes(host: Host, engine: Engine, settings: Mapping[str, Any], version: Version) -> tuple[str, ...]:
    def kind(path: str) -> str | None:
        found = host.stat(path)
        return found.kind if found is not None else None

    found = [*engine.check_config(settings, version), *engine.check_paths(settings, kind)]
    paths = [mistake.path for mistake in found if mistake.severity == "error"]
    return (f"Not right in its file: {', '.join(paths)}; `regctl config check` explains.",) if paths else ()


def _root(engine: Engine, settings: Mapping[str, Any], config_file: str) -> str:
    drivers = engine.storage_settings(settings)
    if "filesystem" not in drivers or len(drivers) != 1:
        names = ", ".join(drivers) or "none"
        raise RefusedError(
            f"{config_file} stores images by the driver {names}; what regctl reads now: filesystem",
            hint="nothing was written; other drivers come with later versions",
        )
    root = str(drivers["filesystem"]["rootdirectory"])
    if not root.startswith("/"):
        raise ConfigError(
            f"storage.filesystem.rootdirectory in {config_file} is {root!r}, which is not absolute",
            hint="it depends on where the registry is started: write an absolute path there",
        )
    return os.path.normpath(root)


def _secrets(
    settings: Mapping[str, Any], name: str, folder: str
) -> tuple[dict[str, Any], dict[str, Secret], tuple[str, ...]]:
    """Return (config with references, secrets by file, what was left where it is)."""
    config: dict[str, Any] = {}
    secrets: dict[str, Secret] = {}
    left = []
    for path, value in secret_leaves(settings):
        if not isinstance(value, str) or any(isinstance(part, int) for part in path):
            left.append(
                f"{'.'.join(map(str, path))} stays in its file alone; `regctl config adopt` moves it."
            )
        else:  # whatever it looks like: in a registry's file nothing is a reference
            file = os.path.join(folder, file_name(name, path))
            secrets[file] = Secret(value)
            _put(config, path, f"file:{file}")
    return config, secrets, tuple(left)


def _databases(
    engine: Engine,
    settings: Mapping[str, Any],
    folder: str,
    config: dict[str, Any],
    secrets: dict[str, Secret],
    name: str,
) -> tuple[dict[str, Any], str]:
    """Return (the site's databases, the registry's one); its password goes to the database's own file.

    An engine without a metadata database has its catalog in regctl's private one.
    """
    databases: dict[str, Any] = {"metadata": {"embedded": True}}
    metadata = metadata_of(engine)
    if metadata is None:
        return databases, "metadata"
    path = os.path.join(folder, file_name("databases", (OWN_DATABASE, "password")))
    own = described(metadata.database_settings(settings), f"file:{path}")
    if own is None:
        return databases, ""
    moved = secrets.pop(os.path.join(folder, file_name(name, PASSWORD)), None)
    if moved is not None:
        secrets[path] = moved
        del config["database"]["password"]
        if not config["database"]:
            del config["database"]
    return {**databases, OWN_DATABASE: own}, OWN_DATABASE


def _put(config: dict[str, Any], path: Path, value: str) -> None:
    for part in path[:-1]:
        config = config.setdefault(str(part), {})
    config[str(path[-1])] = value


def _service(host: Host, found: FoundRegistry, wanted: Wanted) -> dict[str, Any]:
    folder = supervised_folder(host, found.process)
    packaged = found.process is None and found.config_file.startswith(PACKAGE)
    if wanted.service == "runit" or (wanted.service is None and (folder or packaged)):
        return {"kind": "runit", "name": folder or "registry"}
    unit = unit_of(host, found.process)
    kind = wanted.service or ("systemd" if systemd_runs(host) and (unit or not found.process) else "process")
    if kind == "process":
        return {"kind": "process", "name": wanted.name}
    return {"kind": "systemd", "name": unit or os.path.basename(found.binary)}


def _user(host: Host, found: FoundRegistry, root: str) -> str | None:
    """Who runs the registry: its process's user, else the owner of its storage where that is not us."""
    from ctl.hosts.files import user_name

    if found.process is not None:
        return found.process.user
    folder = host.stat(root)
    if folder is None or os.geteuid() != 0 or folder.owner in ("root", user_name(os.geteuid())):
        return None
    return folder.owner


def _host_name() -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().split(".")[0])[:NAME_WIDTH]
    return name if name[:1].isalnum() else "localhost"


def _credentials(settings: Mapping[str, Any], folder: str, name: str) -> list[str]:
    auth = settings.get("auth")
    if not auth:
        return []
    kind = auth if isinstance(auth, str) else ", ".join(auth)
    return [
        f"It asks for a password (auth: {kind}). For status, read-only and gc give regctl a user of its own,",
        "its password in a file with mode 0600, and take the # off the next line:",
        f"credentials: {{username: regctl, password: file:{folder}/{name}.password}}",
    ]


def _text(site: Mapping[str, Any], wanted: Wanted, notes: list[str], credentials: list[str]) -> str:
    from ctl.config.load import drop_in_folder
    from ctl.resources import read_resource
    from ctl.templates import render

    template = "site/site.yml.j2"
    values = {
        "site": site,
        "notes": notes,
        "credentials": credentials,
        "drop_ins": drop_in_folder(wanted.site_file),
    }
    text = render(read_resource("templates", template), values, template)
    document = read_document(text.encode(), wanted.site_file)
    if document.root is None or document.mistakes or not same(document.root.plain(), site):
        raise RegctlError("the site file would not say what was found; nothing was written")
    return text
