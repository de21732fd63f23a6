"""How a site stands, by looking only: nothing is started, nothing is written, nothing waited for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from ctl.probing import NoAnswer, ask
from ctl.steps import metadata_statistics, pulp_look
from ctl.views import CatalogView, NodeView, RegistryView, SiteView

if TYPE_CHECKING:
    from ctl.catalog.store import CatalogState
    from ctl.config.models import Node, Registry
    from ctl.http_values import Ping, WriteProbe
    from ctl.recipes.lock import LockState
    from ctl.recipes.state import RunState
    from ctl.steps.metadata_statistics import MetadataStatistics
    from ctl.storage.base import Space
    from ctl.world import World

SECONDS = 5.0  # for each round of questions
LITTLE_ROOM = 0.02  # of the space or the inodes: below it pushes will soon fail

Question = Callable[[], Any]
Answers = Mapping[tuple[str, ...], Any]


def look(world: World, names: list[str], seconds: float = SECONDS) -> SiteView:
    """Look at these registries and Pulps, and what they stand on."""
    pulps = [name for name in names if name in world.site.pulps]
    names = [name for name in names if name not in pulps]
    registries = {name: world.registry(name) for name in names}
    used = [registry.database for registry in registries.values() if registry.database]
    questions: dict[tuple[str, ...], Question] = {}
    for name, registry in registries.items():
        questions |= _registry_questions(world, name, registry)
        asked = metadata_statistics.questions(world, name, seconds)
        questions |= {("metadata", name, part): question for part, question in asked.items()}
    for name in pulps:
        questions |= dict(pulp_look.questions(world, name))
    for database in sorted({*used, *filter(None, [world.site.control_database])}):
        questions["database", database] = world.database(database).status
    questions["locks",] = lambda: _locks(world)
    questions["runs",] = lambda: _runs(world)
    answers = ask(questions, seconds)
    databases = {key[1]: answers[key] for key in questions if key[0] == "database"}
    running = [name for name, status in databases.items() if getattr(status, "reachable", False)]
    with_copy = [
        name for name in names if registries[name].database in running and not registries[name].own_database
    ]
    copies = _copies(world, with_copy, seconds)
    locks, runs = answers["locks",], answers["runs",]
    problems = [*_database_problems(databases), *_state_problems(locks, runs)]
    told = (answers[key] for key in questions if key[0] == "generated")
    problems += [text for text in told if isinstance(text, str) and text]
    if isinstance(runs, NoAnswer):
        runs = ([], {})
    locks = () if isinstance(locks, NoAnswer) else tuple(locks)
    working = frozenset(lock.info.run for lock in locks if lock.info and lock.verdict == "alive")
    problems += [
        f"the run {run.id} began at {run.started_at} and has not ended: regctl run resume {run.id}"
        for run in runs[0]
        if run.id not in working
    ]
    return SiteView(
        tuple(
            _registry_view(name, registry, answers, copies.get(name), runs[1].get(name))
            for name, registry in registries.items()
        ),
        databases,
        locks,
        tuple(runs[0]),
        working,
        tuple(problems),
        tuple(pulp_look.view(world, name, answers) for name in pulps),
    )


def _registry_questions(
    world: World, name: str, registry: Registry
) -> Iterator[tuple[tuple[str, ...], Question]]:
    yield ("space", name), partial(_space, world, name)
    for node in registry.nodes:
        yield ("service", name, node.host), partial(_service, world, name, node.host)
        yield ("listening", name, node.host), partial(_listening, world, node)
        yield ("version", name, node.host), partial(_version, world, name, node.host)
        yield ("api", name, node.host), partial(_api, world, name, node.host)
        if registry.own_database:
            yield ("generated", name, node.host), partial(_generated, world, name, node)


def _generated(world: World, registry: str, node: Node) -> str:
    """Say that gitlab-ctl has written a node's file anew since regctl proved it; "" where it has not."""
    from ctl.steps.omnibus import proved_checksum, regenerated

    if not proved_checksum(world, registry, node.host):
        return ""
    if not regenerated(world, registry, node.host, world.host(node.host).read(node.config_file)):
        return ""
    return (
        f"{registry}/{node.host}: gitlab-ctl has written {node.config_file} anew since it was proved: "
        f"regctl config diff {registry}"
    )


def _service(world: World, registry: str, host: str) -> Any:
    service = world.service(registry, host)
    state = service.state()
    return state, service.loaded_config() if state.running else None


def _listening(world: World, node: Node) -> bool:
    from ctl.hosts.services import port_of

    return world.host(node.host).listening(port_of(node.url))


def _version(world: World, registry: str, host: str) -> str:
    return str(world.version(registry, host))


def _api(world: World, registry: str, host: str) -> tuple[Ping, WriteProbe]:
    client = world.client(registry, host)
    return client.ping(), client.probe_write()


def _space(world: World, registry: str) -> Space | None:
    storage = world.storage(registry)
    return storage.space() if storage.exists() else None


def _locks(world: World) -> list[LockState]:
    from ctl.recipes.lock import Locks

    return [state for state in Locks(world.state_dir).states() if state.info is not None]


def _runs(world: World) -> tuple[list[RunState], dict[str, RunState]]:
    """Return the open runs, and each registry's last collection."""
    from ctl.recipes import runs

    last: dict[str, RunState] = {}
    for run_id in reversed([run_id for run_id in runs.ids(world.state_dir) if "-gc-" in run_id]):
        run = runs.load(world.state_dir, run_id)
        for resource in run.resources:
            kind, _, name = resource.partition("/")
            if kind == "registry" and run.recipe == "gc" and run.state == "done":
                last.setdefault(name, run)
        if set(last) >= set(world.site.registries):
            break
    return runs.open_runs(world.state_dir), last


def _copies(world: World, names: list[str], seconds: float) -> dict[str, CatalogView | NoAnswer]:
    """Look at the catalog copies of these registries; on a huge tree staleness stays open."""
    answers = ask(
        {
            **{("state", name): partial(_catalog_state, world, name) for name in names},
            **{("stale", name): partial(_catalog_stale, world, name) for name in names},
        },
        seconds,
    )
    found: dict[str, CatalogView | NoAnswer] = {}
    for name in names:
        state, stale = answers["state", name], answers["stale", name]
        if isinstance(state, NoAnswer):
            found[name] = state
            continue
        imported = state.imported_at.astimezone(UTC).replace(microsecond=0) if state.imported_at else None
        found[name] = CatalogView(
            state.generation or None,
            imported.isoformat().replace("+00:00", "Z") if imported else None,
            stale if isinstance(stale, bool) else None,
            state.missing,
        )
    return found


def _catalog_state(world: World, registry: str) -> CatalogState:
    return world.catalog(registry).state()


def _catalog_stale(world: World, registry: str) -> bool | None:
    from ctl.catalog.stale import is_stale

    store = world.catalog(registry)
    if not store.state().generation:
        return None
    return is_stale(world.storage(registry), store)


def _database_problems(databases: Mapping[str, Any]) -> Iterator[str]:
    for name, status in databases.items():
        if isinstance(status, NoAnswer):
            yield f"database {name}: {status.why}"
        elif status.state == "unreachable":
            yield f"database {name} cannot be reached: {status.detail or 'no reason given'}"


def _state_problems(locks: Any, runs: Any) -> Iterator[str]:
    if isinstance(locks, NoAnswer):
        yield f"the locks cannot be read: {locks.why}"
    if isinstance(runs, NoAnswer):
        yield f"the journals cannot be read: {runs.why}"


def _registry_view(
    name: str, registry: Registry, answers: Answers, catalog: Any, last: RunState | None
) -> RegistryView:
    driver = registry.storage.driver
    settings = getattr(registry.storage, driver)
    place = getattr(settings, "rootdirectory", "")
    problems: list[str] = []
    space = answers["space", name]
    if isinstance(space, NoAnswer):
        problems.append(f"its storage cannot be read: {space.why}")
        space = None
    elif space is None:
        problems.append(f"its storage {place or driver} is not there (is the disk mounted?)")
    elif space.free_bytes < LITTLE_ROOM * space.total_bytes:
        problems.append("its storage is nearly full")
    if isinstance(catalog, NoAnswer):
        problems.append(f"its catalog copy cannot be read: {catalog.why}")
        catalog = None
    parts = {key[2]: answer for key, answer in answers.items() if key[:2] == ("metadata", name)}
    metadata = metadata_statistics.statistics(parts) if parts else None
    problems += metadata.problems if metadata else ()
    nodes = tuple(_node_view(name, node, answers, _backend(metadata, node.host)) for node in registry.nodes)
    view = RegistryView(
        name,
        registry.engine,
        nodes,
        driver,
        place,
        space,
        registry.database,
        catalog,
        last,
        tuple(problems),
        metadata,
    )
    if len(view.versions) < 2:
        return view
    mixed = f"its nodes are of several versions ({', '.join(view.versions)}): regctl upgrade plan {name}"
    return replace(view, problems=(*view.problems, mixed))


def _backend(metadata: MetadataStatistics | None, host: str) -> str:
    """Say what a node serves from by its own word, else what its file asks for."""
    if metadata is None:
        return "filesystem"
    serves = metadata.evidence.header.get(host)
    if serves is not None:
        return "database" if serves else "filesystem"
    asked = metadata.evidence.asked.get(host)
    return {"database": "database", "filesystem": "filesystem"}.get(asked or "", "unknown")


def _node_view(registry: str, node: Node, answers: Answers, backend: str) -> NodeView:
    def answer(kind: str) -> Any:
        found = answers[kind, registry, node.host]
        if isinstance(found, NoAnswer):
            problems.append(f"{kind}: {found.why}")
            return None
        return found

    problems: list[str] = []
    service, loaded = answer("service") or (None, None)
    listening = answer("listening")
    version = answer("version")
    ping, write = answer("api") or (None, None)
    state = "unknown" if service is None else "running" if service.running else "stopped"
    if state == "stopped":
        how = f" ({service.detail})" if service and service.detail not in ("", "stopped") else ""
        problems.append(f"its service is stopped{how}")
        if listening:
            problems.append("something else listens on its port")
    elif listening is False:
        problems.append("nothing listens on its port")
    elif ping is not None and ping.state != "ready":
        problems.append(ping.detail or f"its API is {ping.state}")
    if loaded and loaded != node.config_file:
        problems.append(f"the process loads {loaded}, the site says {node.config_file}")
    read_only = {"read-only": True, "writable": False}.get(write.state) if write else None
    return NodeView(
        node.host,
        node.url,
        state,
        listening,
        version,
        backend,
        read_only,
        service.process.pid if service and service.process else None,
        service.since if service else None,
        tuple(problems),
    )
