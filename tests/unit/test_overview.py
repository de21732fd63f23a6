"""What `regctl status` makes of what it finds, and of what it cannot find out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ctl.catalog.store import CatalogState
from ctl.config.models import Site
from ctl.database.base import DatabaseStatus
from ctl.errors import UnreachableError
from ctl.http_values import Ping, WriteProbe
from ctl.overview import look
from ctl.recipes.lock import Locks, new_info
from ctl.storage.base import Space
from ctl.testing import MemoryHost, MemoryService, MemoryWorld
from ctl.views import SiteView

SITE = Site.model_validate(
    {
        "version": 1,
        "hosts": {"reg1": {}},
        "databases": {"metadata": {"embedded": True}},
        "registries": {
            "main": {
                "engine": "distribution",
                "database": "metadata",
                "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
                "nodes": [
                    {
                        "host": "reg1",
                        "binary": "/usr/bin/docker-registry",
                        "config_file": "/etc/docker/registry/config.yml",
                        "url": "http://127.0.0.1:5000",
                        "service": {"kind": "systemd", "name": "docker-registry"},
                    }
                ],
            }
        },
    }
)


@dataclass
class Client:
    """A registry's API that answers what the test says."""

    pinged: Ping = field(default_factory=lambda: Ping("ready"))
    probed: WriteProbe = field(default_factory=lambda: WriteProbe("writable"))

    def ping(self) -> Ping:
        return self.pinged

    def probe_write(self) -> WriteProbe:
        return self.probed


@dataclass
class Disk:
    """A storage with so much room."""

    room: Space = field(default_factory=lambda: Space(1000, 500, 50))
    there: bool = True

    def exists(self) -> bool:
        return self.there

    def space(self) -> Space:
        return self.room


@dataclass
class Postgres:
    """A database of which only the status is asked."""

    answer: DatabaseStatus = field(default_factory=lambda: DatabaseStatus(False, "stopped", ""))

    def status(self) -> DatabaseStatus:
        return self.answer


@dataclass
class Copy:
    """A catalog copy that stands like this."""

    stands: CatalogState

    def state(self) -> CatalogState:
        return self.stands


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    """A healthy world: one node that runs, writable, with room."""
    host = MemoryHost("reg1")
    service = MemoryService(host)
    service.start()
    return MemoryWorld(
        SITE,
        state_dir=str(tmp_path),
        hosts={"reg1": host},
        services={("main", "reg1"): service},
        clients={("main", "reg1"): Client()},
        storages={"main": Disk()},
        databases={"metadata": Postgres()},
        versions={("main", "reg1"): Version("2.8.2")},
    )


def seen(world: MemoryWorld, seconds: float = 5) -> SiteView:
    return look(world, ["main"], seconds)


def test_a_healthy_site(world: MemoryWorld) -> None:
    view = seen(world)
    assert view.all_problems() == []
    (registry,) = view.registries
    (node,) = registry.nodes
    assert (node.host, node.state, node.listening, node.version) == ("reg1", "running", True, "2.8.2")
    assert (node.backend, node.read_only) == ("filesystem", False)
    assert registry.space == Space(1000, 500, 50)
    assert (view.locks, view.open_runs, registry.last_collection, registry.catalog) == ((), (), None, None)


@pytest.mark.parametrize(
    ("state", "read_only"),
    [("read-only", True), ("writable", False), ("unproven", None), ("unreachable", None)],
)
def test_whether_pushes_are_accepted(state: Any, read_only: bool | None, world: MemoryWorld) -> None:
    world.clients["main", "reg1"] = Client(probed=WriteProbe(state))
    (node,) = seen(world).registries[0].nodes
    assert node.read_only is read_only


def test_a_stopped_node_is_shown_and_not_started(world: MemoryWorld) -> None:
    service = MemoryService(world.hosts["reg1"], port=5001)
    world.services["main", "reg1"] = service
    world.hosts["reg1"] = MemoryHost("reg1")
    world.clients["main", "reg1"] = Client(Ping("unreachable"), WriteProbe("unreachable"))
    view = seen(world)
    (node,) = view.registries[0].nodes
    assert (node.state, node.listening, node.read_only) == ("stopped", False, None)
    assert view.all_problems() == ["main on reg1: its service is stopped"]
    assert not service.state().running


def test_somebody_else_on_the_port(world: MemoryWorld) -> None:
    world.services["main", "reg1"] = MemoryService(MemoryHost("reg1"))
    assert "main on reg1: something else listens on its port" in seen(world).all_problems()


def test_a_registry_that_answers_badly(world: MemoryWorld) -> None:
    world.clients["main", "reg1"] = Client(Ping("unhealthy", "/v2/ answers HTTP 503"), WriteProbe("unproven"))
    assert seen(world).all_problems() == ["main on reg1: /v2/ answers HTTP 503"]


def test_a_process_with_another_configuration(world: MemoryWorld) -> None:
    service = MemoryService(world.hosts["reg1"], config_file="/etc/other.yml")
    service.start()
    world.services["main", "reg1"] = service
    (problem,) = seen(world).all_problems()
    assert problem == (
        "main on reg1: the process loads /etc/other.yml, the site says /etc/docker/registry/config.yml"
    )


def test_what_fails_is_shown_beside_what_is_known(world: MemoryWorld) -> None:
    world.versions.clear()
    world.storages.clear()
    view = seen(world)
    (node,) = view.registries[0].nodes
    assert (node.state, node.version) == ("running", None)
    assert view.registries[0].space is None
    assert [problem.partition(":")[0] for problem in view.all_problems()] == ["main", "main on reg1"]


def test_what_hangs_holds_up_nothing_else(world: MemoryWorld) -> None:
    never = threading.Event()

    class Hanging(Client):
        def ping(self) -> Ping:
            never.wait(30)
            return Ping("ready")

    world.clients["main", "reg1"] = Hanging()
    view = seen(world, seconds=0.3)
    (node,) = view.registries[0].nodes
    assert (node.state, node.version, node.read_only) == ("running", "2.8.2", None)
    assert view.all_problems() == ["main on reg1: api: no answer within 0.3 s"]
    never.set()


def test_a_missing_disk_and_a_full_one(world: MemoryWorld) -> None:
    world.storages["main"] = Disk(there=False)
    (missing,) = seen(world).all_problems()
    assert "is not there" in missing
    world.storages["main"] = Disk(Space(1000, 19, 50))
    (full,) = seen(world).all_problems()
    assert "nearly full" in full


def test_databases_are_looked_at_only(world: MemoryWorld) -> None:
    assert seen(world).databases == {"metadata": DatabaseStatus(False, "stopped", "")}
    world.databases["metadata"] = Postgres(DatabaseStatus(False, "unreachable", "", "no route"))
    assert seen(world).all_problems() == ["database metadata cannot be reached: no route"]


def test_the_catalog_copy_is_described(world: MemoryWorld) -> None:
    world.databases["metadata"] = Postgres(DatabaseStatus(True, "running", "15.5"))
    imported = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    world.catalogs["main"] = Copy(CatalogState(1, "/", 7, 1, imported))
    catalog = seen(world).registries[0].catalog
    assert catalog is not None
    assert (catalog.generation, catalog.imported_at) == (7, "2026-01-02T03:04:05Z")
    assert catalog.stale is None, "this copy cannot be compared, and that is not called fresh"
    world.catalogs["main"] = Copy(CatalogState(missing="it was never imported"))
    view = seen(world)
    assert view.all_problems() == []
    catalog = view.registries[0].catalog
    assert catalog is not None
    assert (catalog.generation, catalog.imported_at, catalog.stale) == (None, None, None)


def test_locks_are_shown(world: MemoryWorld) -> None:
    held = Locks(world.state_dir).acquire(["registry/main"], new_info("regctl gc", "tidy", run="r1"))
    try:
        (lock,) = seen(world).locks
        assert lock.info is not None
        assert (lock.resource, lock.verdict, lock.info.reason) == ("registry/main", "alive", "tidy")
    finally:
        held.release()
    assert seen(world).locks == ()


def test_damaged_state_is_a_problem_and_no_crash(world: MemoryWorld) -> None:
    folder = Path(world.state_dir) / "locks"
    folder.mkdir()
    (folder / "registry%2Fmain.json").write_text("{")
    (problem,) = seen(world).all_problems()
    assert problem.startswith("the locks cannot be read: ")


def test_an_unreachable_host(world: MemoryWorld) -> None:
    class Gone(MemoryService):
        def state(self) -> Any:
            raise UnreachableError("reg1 does not answer")

    world.services["main", "reg1"] = Gone(world.hosts["reg1"])
    (node,) = seen(world).registries[0].nodes
    assert node.state == "unknown"
    assert node.problems == ("service: reg1 does not answer",)
