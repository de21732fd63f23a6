"""The site as checked values. Names are fixed by the contract for scripts; see docs/reference/site.md.

`Site` is what every room is typed against; `site_model` builds the class that a file is checked with, so
that plugins can add engines and storage drivers without touching this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    create_model,
    model_validator,
)

from ctl.config.fields import INLINE_SECRET as INLINE_SECRET
from ctl.config.fields import NAME_PATTERN as NAME_PATTERN
from ctl.config.fields import SECRET_PREFIXES as SECRET_PREFIXES
from ctl.config.fields import AbsolutePath, Argv, Name, NonEmpty, Port, SecretReference, Url, wrong
from ctl.config.fields import Model as Model
from ctl.config.rolling import Drain, Moved, UpgradeTo, on_their_new_programs

if TYPE_CHECKING:
    from ctl.config.pulp import PulpRegistry


class Host(Model):
    """A machine: this one, or one reached over SSH (then `address` is needed)."""

    connection: Literal["local", "ssh"] = "local"
    address: NonEmpty | None = None
    port: Port = 22
    user: NonEmpty | None = None
    become: NonEmpty | None = None  # the user whose rights are needed there, through sudo
    identity_file: AbsolutePath | None = None
    known_hosts_file: AbsolutePath | None = None
    jump: Name | None = None  # another host of the site that the connection goes through
    connect_timeout: Annotated[int, Field(ge=1, le=600)] = 10  # seconds until it must be logged in
    idle_timeout: Annotated[int, Field(ge=3, le=3600)] = 30  # seconds that it may leave all unanswered
    state_dir: AbsolutePath | None = None  # for jobs over there; /var/lib/regctl unless given
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
    drain: Drain | None = None  # absent: clients see it restart
    upgrade: UpgradeTo | None = None


Nodes = Annotated[tuple[Node, ...], Field(min_length=1, strict=False)]


class SystemdTimer(Model):
    """A timer of systemd: stopped for the maintenance, started again if it was active before."""

    host: Name
    kind: Literal["systemd"]
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_.@\\-]+\.timer$")]

    @property
    def label(self) -> str:
        """What names it on its host."""
        return self.unit


class CronFile(Model):
    """A file of cron: renamed for the maintenance to a name that cron passes over."""

    host: Name
    kind: Literal["cron-file"]
    path: AbsolutePath

    @property
    def label(self) -> str:
        """What names it on its host."""
        return self.path


class CommandTimer(Model):
    """Something else that works by itself, paused and woken by programs of its own."""

    host: Name
    kind: Literal["command"]
    name: Name
    stop: Argv
    start: Argv
    status: Argv  # exit code 0: it works, 3: it is stopped (as of an init script); any other: unknown

    @property
    def label(self) -> str:
        """What names it on its host."""
        return self.name


Timer = Annotated[SystemdTimer | CronFile | CommandTimer, Field(discriminator="kind")]


class Maintenance(Model):
    """What is paused while a registry is under maintenance, beside its own writes."""

    timers: Annotated[tuple[Timer, ...], Field(strict=False)] = ()


class Registry(Model):
    """A named registry, whatever its engine. An engine's own class narrows `engine` and may add keys."""

    own_database: ClassVar[bool] = False  # whether its program logs in to `database` by itself

    engine: str
    database: Name | None = None
    credentials: Credentials | None = None
    storage: Storage
    config: dict[str, Any] = Field(default_factory=dict)  # in the registry's own words, over the template
    maintenance: Maintenance = Maintenance()
    nodes: Nodes
    upgraded: dict[Name, Moved] = Field(default_factory=dict)  # by host; regctl's own, in its drop-in

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, given: Any) -> Any:
        return on_their_new_programs(given) if isinstance(given, dict) and given.get("upgraded") else given


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
    maintenance: Maintenance = Maintenance()  # of every registry, beside what each names itself
    registries: dict[Name, Registry]

    _pulps: dict[str, PulpRegistry] = PrivateAttr(default_factory=dict)

    @property
    def pulps(self) -> Mapping[str, PulpRegistry]:
        """The registries whose engine is `pulp`; they are none of `registries`, see `ctl.config.pulp`."""
        return self._pulps

    @model_validator(mode="after")
    def _kept_apart(self) -> Site:
        described: dict[str, Any] = dict(self.registries)
        self._pulps = {name: one for name, one in described.items() if not isinstance(one, Registry)}
        self.__dict__["registries"] = {
            name: one for name, one in described.items() if isinstance(one, Registry)
        }
        return self


ENGINES: Mapping[str, type[Registry]] = {"distribution": DistributionRegistry, "gitlab": GitlabRegistry}
DRIVERS: Mapping[str, type[Model]] = {"filesystem": FilesystemStorage}


def site_model(
    engines: Mapping[str, type[Registry]] = ENGINES, drivers: Mapping[str, type[Model]] = DRIVERS
) -> type[Site]:
    """Return the Site class that files are checked with.

    `engines` maps a value of `engine` to a subclass of Registry with that Literal; `drivers` maps a storage
    driver's name to the model of its settings.
    """
    from ctl.config.pulp import PulpRegistry

    storage = _storage_type(drivers)
    narrowed = tuple(
        create_model(engine.__name__, __base__=engine, storage=(storage, ...)) for engine in engines.values()
    )
    one_of: Any = Annotated[Union[(*narrowed, PulpRegistry)], Field(discriminator="engine")]
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
            raise wrong(f"has no driver {unknown[0]!r}; what is supported now: {', '.join(known)}")
        if len(named) != 1:
            raise wrong(f"needs exactly one driver ({', '.join(known)}), not {len(named)}")
        return given

    return check
