"""What `regctl doctor` looks at. Every check only reads, and each finding says what to do."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ctl import listing

if TYPE_CHECKING:
    from ctl.config.models import Site

Level = Literal["ok", "warning", "error"]
REGCLIENT_MARK = b"github.com/regclient/regclient"
POSTGRES_FOLDER = "/usr/lib/postgresql"  # where Debian puts the server's programs, by major version


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fix` is empty where nothing needs fixing."""

    check: str
    level: Level
    message: str
    fix: str = ""


def programs_named_regctl(search_path: str) -> Iterator[Finding]:
    """Say which program each `regctl` on PATH is; regclient ships one too."""
    found = [(path, whose_program(path)) for path in _on_path("regctl", search_path)]
    if not found:
        here = os.path.dirname(sys.executable)
        yield Finding("path", "ok", f"no regctl is on PATH; this one runs from {here}")
    for index, (path, whose) in enumerate(found):
        first = "is what `regctl` runs" if index == 0 else "comes later on PATH"
        if whose == "registry-maintain":
            yield Finding("path", "ok", f"{path} is registry-maintain's and {first}")
        elif index == 0:
            fix = "call `registry-maintain`, which is the same command, or put its folder first on PATH"
            yield Finding("path", "warning", f"{path} is {whose} and {first}", fix=fix)
        else:
            yield Finding("path", "ok", f"{path} is {whose}; it {first}")


def whose_program(path: str) -> str:
    """Say whose program a file is, without running it."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if b"ctl.__main__" in head:
                return listing.DISTRIBUTION
            if head.startswith(b"\x7fELF") and _contains(path, REGCLIENT_MARK):
                return "regclient's, another program"
    except OSError as error:
        return f"not readable ({error.strerror})"
    return "another program"


def _contains(path: str, mark: bytes) -> bool:
    import mmap

    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(mark) >= 0


def _on_path(name: str, search_path: str) -> list[str]:
    seen: dict[str, str] = {}
    for folder in search_path.split(os.pathsep):
        path = os.path.join(folder, name)
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            seen.setdefault(os.path.realpath(path), path)
    return list(seen.values())


def python_and_libraries() -> Iterator[Finding]:
    """Compare the libraries with what this regctl was made for."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"Python {version} at {sys.executable}")
    try:
        wanted = [Requirement(line) for line in requires(listing.DISTRIBUTION) or []]
    except PackageNotFoundError:
        yield Finding(
            "libraries",
            "warning",
            "this checkout is not installed",
            fix="pip install -e .",
        )
        wanted = []
    installed = listing.dependency_versions()
    wrong = [need for need in wanted if not _satisfied(need.name.lower(), str(need.specifier), installed)]
    for need in wrong:
        found = installed.get(need.name.lower()) or "not installed"
        yield Finding(
            "libraries",
            "error",
            f"{need.name} is {found}, {need.specifier} is needed",
            fix=f"pip install '{need}'",
        )
    if wanted and not wrong:
        yield Finding("libraries", "ok", f"{len(wanted)} libraries are as they should be")


def _satisfied(name: str, specifier: str, installed: Mapping[str, str | None]) -> bool:
    from packaging.specifiers import SpecifierSet

    found = installed.get(name)
    return found is not None and SpecifierSet(specifier).contains(found, prereleases=True)


def private_file(path: str, what: str, *, secret: bool) -> Finding:
    """Check who may read (a secret) or change (anything) a file that regctl believes."""
    check = "permissions"
    try:
        info = os.stat(path)
    except OSError as error:
        return Finding(
            check, "error", f"{what} {path}: {error.strerror}", fix="correct the path or create it"
        )
    mode = stat.S_IMODE(info.st_mode)
    if info.st_uid not in (0, os.geteuid()):
        return Finding(
            check, "error", f"{what} {path} belongs to another user ({info.st_uid})", fix=f"chown root {path}"
        )
    if secret and mode & 0o037:
        return Finding(
            check, "error", f"{what} {path} may be read by others (mode {mode:04o})", fix=f"chmod 0600 {path}"
        )
    if mode & 0o022:
        return Finding(
            check,
            "error",
            f"{what} {path} may be changed by others (mode {mode:04o})",
            fix=f"chmod go-w {path}",
        )
    return Finding(check, "ok", f"{what} {path} (mode {mode:04o})")


def state_directory(path: str) -> Finding:
    """Check that the journals' folder is there, ours, and nobody else's to write."""
    if not os.path.exists(path):
        parent = path
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding("state", "ok", f"{path} does not exist yet; the first change creates it")
        return Finding("state", "error", f"{path} is missing and cannot be created", fix="run regctl as root")
    if not os.path.isdir(path):
        return Finding("state", "error", f"{path} is not a folder", fix="move it away, or use --state-dir")
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("state", "error", f"{path} cannot be written by us", fix="run regctl as its owner")
    found = private_file(path, "the state folder", secret=False)
    return Finding("state", found.level, found.message, found.fix)


def site_secrets(site: Site) -> Iterator[Finding]:
    """Check the files that the site's secret references point to, without reading them."""
    references: dict[str, str] = {}
    for name, registry in site.registries.items():
        if registry.credentials is not None:
            references[f"registries.{name}.credentials"] = registry.credentials.password
    for name, pulp in site.pulps.items():
        if pulp.credentials is not None:
            references[f"registries.{name}.credentials"] = pulp.credentials.password
    for name, database in site.databases.items():
        if database.password is not None:
            references[f"databases.{name}.password"] = database.password
    for where, reference in references.items():
        kind, _, rest = reference.partition(":")
        if kind == "file":
            yield private_file(rest, f"the secret of {where},", secret=True)
        elif kind == "env" and not os.environ.get(rest):
            yield Finding("secrets", "warning", f"{where}: ${rest} is not set", fix=f"export {rest}")
        elif kind == "command" and not shutil.which(rest.split(" ")[0]):
            yield Finding(
                "secrets", "error", f"{where}: no program {rest.split(' ')[0]}", fix="correct the path"
            )


def helper_programs(site: Site | None) -> Iterator[Finding]:
    """Look for the programs that regctl drives: registries, PostgreSQL where it is embedded, skopeo."""
    for name, registry in site.registries.items() if site else ():
        for node in registry.nodes:
            if site is not None and site.hosts[node.host].connection != "local":
                continue  # another machine's file: `regctl check` asks it for its version
            yield _executable(node.binary, f"the registry of {name} on {node.host}")
    yield from _managers(site) if site else ()
    if site is not None and any(database.embedded for database in site.databases.values()):
        servers = _postgres_servers()
        if servers:
            yield Finding("programs", "ok", f"PostgreSQL for the embedded database: {servers[-1]}")
        else:
            yield Finding(
                "programs",
                "error",
                "the embedded database needs PostgreSQL's server",
                fix="apt install postgresql",
            )
    skopeo = shutil.which("skopeo")
    found = f"skopeo: {skopeo}" if skopeo else "skopeo is not here; regctl itself does not need it"
    yield Finding("programs", "ok", found)


def _managers(site: Site) -> Iterator[Finding]:
    """Look for each Pulp's manager and settings on this machine, and for the user that they run as."""
    import pwd

    for name, pulp in site.pulps.items():
        for node in pulp.nodes:
            if site.hosts[node.host].connection != "local":
                continue
            what = f"the manager of {name} on {node.host}"
            found = _executable(node.manager, what)
            yield found if found.level == "ok" else replace(found, fix="correct `manager` in the site")
            if not os.path.isfile(node.settings_file):
                message = f"the settings of {name} on {node.host}: {node.settings_file} is missing"
                yield Finding("programs", "error", message, fix="correct `settings_file` in the site")
            try:
                pwd.getpwnam(node.user)
            except KeyError:
                message = f"{name} on {node.host}: there is no user {node.user}"
                yield Finding("programs", "error", message, fix="correct `user` in the site")


def _postgres_servers() -> list[str]:
    try:
        majors = sorted(os.listdir(POSTGRES_FOLDER), key=lambda name: (len(name), name))
    except OSError:
        majors = []
    paths = [os.path.join(POSTGRES_FOLDER, major, "bin", "postgres") for major in majors]
    return [path for path in paths if os.access(path, os.X_OK)] or _on_path(
        "postgres", os.environ.get("PATH", "")
    )


def _executable(path: str, what: str) -> Finding:
    if os.access(path, os.X_OK) and os.path.isfile(path):
        return Finding("programs", "ok", f"{what}: {path}")
    problem = "cannot be executed" if os.path.exists(path) else "is missing"
    return Finding(
        "programs", "error", f"{what}: {path} {problem}", fix="correct `binary` in the site, or install it"
    )
