"""Gather everything that says which backend keeps a registry's content. Reads only, and never fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.catalog.backend import BackendEvidence, Count, ImportRun, asked_backend, names_database
from ctl.catalog.lockfiles import read_lock_files
from ctl.engines.metadata import metadata_of
from ctl.errors import RegctlError, UnreachableError
from ctl.probing import NoAnswer, ask
from ctl.steps.effective_config import effective_sections

if TYPE_CHECKING:
    from ctl.config.models import Node
    from ctl.engines.metadata import Asked
    from ctl.storage.base import Storage
    from ctl.world import World

SECONDS = 10.0  # after which a question counts as unanswered
HEADER = "gitlab-container-registry-database-enabled"
_FOLDERS = 500  # that are looked into for a repository: with the database, pushes leave empty ones


@dataclass(frozen=True)
class _Asked:
    """What a node's configuration, and the environment over it, say of the database."""

    asked: Asked
    names: bool  # whether they name a database at all
    dbname: str


@dataclass(frozen=True)
class _Held:
    """What the site's database holds; `problem` is why nothing can be concluded from it."""

    schema: bool | None
    repositories: Count | None = None
    tags: Count | None = None
    imports: tuple[ImportRun, ...] = ()


class _Stopped:
    """Nothing runs there that could serve a backend."""


def gather(world: World, registry: str, *, seconds: float = SECONDS) -> BackendEvidence:
    """Ask the lock files, the tree, every node's configuration and header, and the site's database.

    Everything at once, each for `seconds` at most. What does not answer is None, with its reason in
    `unknown`; nothing is started, created or written.
    """
    description = world.registry(registry)
    questions: dict[str, Any] = {
        "locks": lambda: read_lock_files(world.storage(registry)),
        "tree": lambda: _links_a_repository(world.storage(registry)),
        "database": partial(_database, world, registry),
    }
    for node in description.nodes:
        questions[f"config {node.host}"] = partial(_config, world, registry, node)
        questions[f"header {node.host}"] = partial(_header, world, registry, node)
    answers = ask(questions, seconds)
    unknown = {name: answer.why for name, answer in answers.items() if isinstance(answer, NoAnswer)}

    def known(name: str) -> Any:
        return None if name in unknown else answers[name]

    configs: Mapping[str, _Asked | None] = {n.host: known(f"config {n.host}") for n in description.nodes}
    headers = {
        node.host: known(f"header {node.host}")
        for node in description.nodes
        if not isinstance(answers[f"header {node.host}"], _Stopped)
    }
    held = known("database") or _Held(None)
    if "database" not in unknown:
        reason = _not_asked(world, registry, configs)
        if reason:
            unknown["database"] = reason
    return BackendEvidence(
        asked={host: config.asked if config else None for host, config in configs.items()},
        locks=known("locks"),
        header=headers,
        schema=held.schema,
        repositories=held.repositories,
        tags=held.tags,
        imports=held.imports,
        tree=known("tree"),
        unknown=unknown,
    )


def _links_a_repository(storage: Storage) -> bool:
    """Say whether any folder of the tree is a repository: it has `_manifests`. Looks into 500 at most."""
    todo = ["docker/registry/v2/repositories"]
    for _ in range(_FOLDERS):
        if not todo:
            return False
        folder = todo.pop()
        try:
            names, _files = storage.list_directory(folder)
        except FileNotFoundError:
            continue
        if "_manifests" in names:
            return True
        todo += [f"{folder}/{name}" for name in names if not name.startswith("_")]
    raise RegctlError(f"no repository in the first {_FOLDERS} folders; it was not looked any further")


def _config(world: World, registry: str, node: Node) -> _Asked:
    config = effective_sections(world, registry, node, ("database",))
    dbname = str(config["database"].get("dbname") or "")
    return _Asked(asked_backend(config), names_database(config), dbname)


def _header(world: World, registry: str, node: Node) -> bool | _Stopped:
    """Ask a node what it serves; _Stopped where nothing is there to ask."""
    engine = world.engine(registry)
    has_database = metadata_of(engine) is not None
    if not has_database and not _is_gitlab(world, registry, node):
        return _Stopped()  # a program without such a database can serve no other backend than the tree
    try:
        answer = world.client(registry, node.host).root()
    except RegctlError:
        if not world.service(registry, node.host).state().running:
            return _Stopped()
        raise
    value = answer.headers.get(HEADER, "").strip().lower()
    if value in ("true", "false"):
        return value == "true"
    if answer.status in (401, 403):
        raise RegctlError(
            f"it asks for a user (HTTP {answer.status}); set `credentials` of the registry in the site"
        )
    raise RegctlError(f"/v2/ answers HTTP {answer.status} without saying which backend it serves")


def _is_gitlab(world: World, registry: str, node: Node) -> bool:
    """Say whether a node's program calls itself GitLab's, whatever the site says."""
    result = world.host(node.host).run(world.engine(registry).version_command(node.binary))
    return b"-gitlab" in result.stdout


def _database(world: World, registry: str) -> _Held:
    """Ask the site's database of a registry; without one, or with one of another use, there is nothing."""
    name = world.registry(registry).database
    if name is None or metadata_of(world.engine(registry)) is None:
        return _Held(False)
    from ctl.catalog.metadata_state import read_state

    try:
        with world.database(name).connect(read_only=True) as session:
            state = read_state(session)
    except UnreachableError as error:
        if f'database "{world.site.databases[name].dbname}" does not exist' in error.message:
            return _Held(False)  # the server says so: it is still to be made
        raise
    return _Held(state.schema, state.counts.get("repositories"), state.counts.get("tags"), state.imports)


def _not_asked(world: World, registry: str, configs: Mapping[str, _Asked | None]) -> str:
    """Say why the database that a node's file names is not the one that was asked; "" where it is."""
    name = world.registry(registry).database
    has_database = metadata_of(world.engine(registry)) is not None
    ours = world.site.databases[name].dbname if name and name in world.site.databases else None
    for host, config in configs.items():
        if config is None or not config.names:
            continue
        if name is None or not has_database:
            return f"the configuration on {host} names a metadata database that the site does not know"
        if ours and config.dbname and config.dbname != ours:
            return f"the configuration on {host} names the database {config.dbname}, and the site's is {ours}"
    return ""
