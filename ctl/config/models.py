"""The site as checked values. Names are fixed by the contract for scripts; see docs/reference/site.md.

`Site` is what every room is typed against; `site_model` builds the class that a file is checked with, so
that plugins can add engines and storage drivers without touching this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Union
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    create_model,
)
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SECRET_PREFIXES = ("env:", "file:", "command:")
INLINE_SECRET = (
    "is never written here: put it in a file of its own (mode 0600) and write file:/path/to/it, "  # noqa: S105
    "or env:NAME, or command:PROGRAM ARGUMENTS"
)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("site", "{what}", {"what": message})


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise _wrong("must be an absolute path, starting with /")
    if any(ord(character) < 32 for character in path) or ".." in path.split("/"):
        raise _wrong("must be a plain path, without .. or control characters")
    return path.rstrip("/") or "/"


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(f"must be an address such as http://127.0.0.1:5000 ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _wrong("must be an address such as http://127.0.0.1:5000")
    if parts.username is not None or parts.password is not None:
        raise _wrong("must not hold a user name or a password: they belong under credentials")
    if parts.query or parts.fragment or re.search(r"\s", url):
        raise _wrong("must end with the host, the port or a path prefix")
    return url


def _reference(text: str) -> str:
    prefix = next((known for known in SECRET_PREFIXES if text.startswith(known)), "")
    if not prefix or not text[len(prefix) :].strip():
        raise _wrong(INLINE_SECRET)
    if prefix == "file:" and not text.removeprefix("file:").startswith("/"):
        raise _wrong("file: needs an absolute path, as in file:/etc/regctl/main.password")
    return text


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_url)]
SecretReference = Annotated[str, AfterValidator(_reference)]
Port = Annotated[int, Field(ge=1, le=65535)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Model(BaseModel):
    """What every part of a site is: frozen, unknown keys refused, nothing converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Host(Model):
    """A machine: this one, or one reached over SSH (then `address` is needed)."""

    connection: Literal["local", "ssh"] = "local"
    address: NonEmpty | None = None
    port: Port = 22
    user: NonEmpty | None = None
    become: NonEmpty | None = None  # the user whose rights are needed there, through sudo
    identity_file: AbsolutePath | None = None
    known_hosts_file: AbsolutePath | None = None
    labels: dict[str, str] = Field(default_factory=dict)


class Database(Model):
    """A PostgreSQL database: embedded below state_dir, or somebody's by its address."""

    embedded: bool = False
    host: NonEmpty | None = None  # a name, an address, or the folder of a socket
    port: Port = 5432
    dbname: NonEmpty | None = None
    user: NonEmpty | None = None
    password: SecretReference | None = None  # env:NAME, file:/path or command:argv
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "verify-full"
    sslrootcert: AbsolutePath | None = (
        None  # who may sign the server's certificate; absent: as the system says
    )


class Credentials(Model):
    """What probes and the API use; absent means anonymous."""

    username: NonEmpty
    password: SecretReference


class FilesystemStorage(Model):
    """A registry's storage in a local directory."""

    rootdirectory: AbsolutePath


class StorageChoice(Model):
    """Exactly one driver under its own name; `host` says who reads it, the first node's unless given."""

    host: Name | None = None

    @property
    def driver(self) -> str:
        """The name of the driver that was chosen."""
        return next(name for name in type(self).model_fields if name != "host")


class Storage(StorageChoice):
    """Storage in a local directory. A plugin's driver has a class of its own; see `site_model`."""

    filesystem: FilesystemStorage


class Service(Model):
    """Who runs the registry's process."""

    kind: Literal["systemd", "runit", "process"] = "systemd"
    name: NonEmpty  # of the unit; of the supervised folder, or its path; of the process


class Node(Model):
    """One running instance of a registry on a host."""

    host: Name
    binary: AbsolutePath
    config_file: AbsolutePath  # what the service really loads
    url: Url
    service: Service
    user: NonEmpty | None = None
    environment_file: AbsolutePath | None = None  # NAME=value lines, or a folder with a file a variable
    # whose tool writes config_file anew: regctl then never does. Absent: told by its place and its text
    generated_by: Literal["omnibus", "nobody"] | None = None


Nodes = Annotated[tuple[Node, ...], Field(min_length=1, strict=False)]


class Registry(Model):
    """A named registry, whatever its engine. An engine's own class narrows `engine` and may add keys."""

    own_database: ClassVar[bool] = False  # whether its program logs in to `database` by itself

    engine: str
    database: Name | None = None
    credentials: Credentials | None = None
    storage: Storage
    config: dict[str, Any] = Field(default_factory=dict)  # in the registry's own words, over the template
    nodes: Nodes


class DistributionRegistry(Registry):
    """A registry run by distribution, the Docker registry, 2.8 or 3.x."""

    engine: Literal["distribution"]


class GitlabFeatures(Model):
    """The program's feature flags, said outright: its own defaults have changed from version to version."""

    enforce_lockfiles: bool = True  # the lock files in the storage decide what may start and collect
    bbm: bool = False  # background migrations run while it serves
    dynamic_media_types: bool = False  # images with unknown media types are taken
    ongoing_rename_check: bool = False  # asks Redis before every write


class GitlabRegistry(Registry):
    """GitLab's registry. `database` is its own metadata database: regctl creates nothing else in it."""

    own_database: ClassVar[bool] = True

    engine: Literal["gitlab"]
    features: GitlabFeatures = GitlabFeatures()
    auto_migrate: bool = False  # `config apply` and upgrades run pending pre-deployment migrations


class Site(Model):
    """All that one regctl governs."""

    version: Literal[1]
    state_dir: AbsolutePath = "/var/lib/regctl"
    control_database: Name | None = None
    hosts: dict[Name, Host]
    databases: dict[Name, Database] = Field(default_factory=dict)
    registries: dict[Name, Registry]


ENGINES: Mapping[str, type[Registry]] = {"distribution": DistributionRegistry, "gitlab": GitlabRegistry}
DRIVERS: Mapping[str, type[Model]] = {"filesystem": FilesystemStorage}


def site_model(
    engines: Mapping[str, type[Registry]] = ENGINES, drivers: Mapping[str, type[Model]] = DRIVERS
) -> type[Site]:
    """Return the Site class that files are checked with.

    `engines` maps a value of `engine` to a subclass of Registry with that Literal; `drivers` maps a storage
    driver's name to the model of its settings.
    """
    storage = _storage_type(drivers)
    narrowed = tuple(
        create_model(engine.__name__, __base__=engine, storage=(storage, ...)) for engine in engines.values()
    )
    one_of: Any = narrowed[0]
    if len(narrowed) > 1:
        one_of = Annotated[Union[narrowed], Field(discriminator="engine")]  # noqa: UP007 - built at run time
    return create_model("Site", __base__=Site, registries=(dict[Name, one_of], ...))


def _storage_type(drivers: Mapping[str, type[Model]]) -> Any:
    choices: dict[str, type[StorageChoice]] = {}
    for name, settings in drivers.items():
        fields: dict[str, Any] = {name: (settings, ...)}
        choices[name] = (
            Storage
            if settings is FilesystemStorage
            else create_model(f"{settings.__name__}Choice", __base__=StorageChoice, **fields)
        )
    union: Any = next(iter(choices.values()))
    if len(choices) > 1:
        tagged = tuple(Annotated[choice, Tag(name)] for name, choice in choices.items())
        union = Annotated[Union[tagged], Discriminator(_chosen_driver)]  # noqa: UP007
    return Annotated[union, BeforeValidator(_exactly_one(tuple(choices)))]


def _chosen_driver(given: Any) -> str:
    if isinstance(given, StorageChoice):
        return given.driver
    return next((name for name in given if name != "host"), "") if isinstance(given, dict) else ""


def _exactly_one(known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        named = [name for name in given if name != "host"]
        unknown = [name for name in named if name not in known]
        if unknown:
            raise _wrong(f"has no driver {unknown[0]!r}; what is supported now: {', '.join(known)}")
        if len(named) != 1:
            raise _wrong(f"needs exactly one driver ({', '.join(known)}), not {len(named)}")
        return given

    return check
