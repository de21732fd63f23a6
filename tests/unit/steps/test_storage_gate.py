"""Every step that changes a storage tree asks the one gate; a new one cannot forget it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.version import Version

from ctl.catalog.lockfiles import DATABASE, lock_path
from ctl.engines.distribution import Distribution
from ctl.recipes.model import Problem, Step, Target
from ctl.steps import collect_garbage, keep_aside, put_back, quarantine, restore_tree, storage_gate
from ctl.storage.filesystem import FilesystemStorage
from ctl.testing.hosts import MemoryHost, Script
from ctl.testing.services import MemoryService
from ctl.testing.world import MemoryRun, MemoryWorld

STEPS_FOLDER = Path(storage_gate.__file__).parent
CONFIG = "/etc/registry/config.yml"
WORDS = "lock file database-in-use"
STEPS: list[tuple[Any, Step]] = [
    (keep_aside, keep_aside.KeepAside(registry="main")),
    (put_back, put_back.PutBack(registry="main")),
    (collect_garbage, collect_garbage.CollectGarbage(registry="main", node="here")),
    (quarantine, quarantine.Quarantine(registry="main")),
    (restore_tree, restore_tree.RestoreTree(registry="main", run="20260101T000000Z-disable-db-0000")),
]
# What imports a writer of trees and may change one in use: each with its reason.
INVERTED = {"write_tree": "disable-db writes what the database in use holds, in its own closed window"}
WRITERS = {"aside", "durable", "quarantine", "renaming", "tree_files"}


@pytest.fixture
def here(tmp_path: Path) -> Target:
    """A registry of the engine distribution that is stopped; its tree is there."""
    (tmp_path / "docker/registry/v2/repositories/a/_manifests").mkdir(parents=True)
    node = SimpleNamespace(
        host="here", config_file=CONFIG, binary="/usr/bin/registry", environment_file=None, user=None
    )
    storage = SimpleNamespace(host=None)
    registry = SimpleNamespace(storage=storage, nodes=[node], database=None, own_database=False)
    world = MemoryWorld(SimpleNamespace(registries={"main": registry}, databases={}, hosts={}))
    host = MemoryHost("here")
    host.make_directory("/etc/registry", mode=0o755)
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    host.write(CONFIG, text.encode(), mode=0o640)
    host.programs["/usr/bin/registry"] = lambda command: Script(
        0, b"registry github.com/docker/distribution v2.8.2\n"
    )
    world.hosts = {"here": host}
    world.engines = {"main": Distribution()}
    world.versions = {("main", "here"): Version("2.8.2")}
    world.storages = {"main": FilesystemStorage(str(tmp_path), workers=0)}
    world.services = {("main", "here"): MemoryService(host, binary="/usr/bin/registry", config_file=CONFIG)}
    return Target(world, MemoryRun())


def lock(here: Target) -> None:
    path = Path(here.world.storage("main").root) / lock_path(DATABASE)
    path.parent.mkdir(parents=True)
    path.write_text('{"version":1}')


def said(step: Step, here: Target) -> str:
    return "\n".join(problem.message for problem in step.check(here) if problem.blocking)


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[type(step).__name__ for _, step in STEPS])
def test_a_step_that_changes_a_tree_refuses_where_a_database_is_in_use(
    module: Any, step: Step, here: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WORDS not in said(step, here)
    lock(here)
    assert WORDS in said(step, here)

    def open_gate(*_: object, **__: object) -> Iterator[Problem]:
        return iter(())

    monkeypatch.setattr(module, "metadata_in_use", open_gate)  # the control: without it nothing refuses
    assert WORDS not in said(step, here)


def test_no_step_writes_in_a_tree_without_the_gate() -> None:
    asking = set()
    for path in STEPS_FOLDER.glob("*.py"):
        names = {
            f"{node.module}.{alias.name}" if node.module == "ctl.storage" else str(node.module)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        writes = {f"ctl.storage.{writer}" for writer in WRITERS} & names
        if not writes or path.stem in INVERTED:
            continue
        assert "ctl.steps.storage_gate" in names, f"{path.name} uses {writes} and asks no gate"
        asking.add(path.stem)
    assert {"keep_aside", "put_back", "quarantine", "restore_tree"} <= asking


def test_a_registry_on_its_tree_passes(here: Target) -> None:
    assert list(storage_gate.metadata_in_use(here.world, "main")) == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("database: {enabled: true}", "says database.enabled: true"),
        ("database: {enabled: prefer}", "says database.enabled: prefer"),
        ("database: {enabled: false, host: db}", "names a metadata database that the site does not know"),
        ("database: {enabled: false, dbname: r}", "names a metadata database that the site does not know"),
        ("database: [", "cannot be read as a configuration"),
    ],
)
def test_a_nodes_file_is_heard_whatever_the_engine(here: Target, section: str, words: str) -> None:
    host = here.world.host("here")
    host.write(CONFIG, host.read(CONFIG) + section.encode() + b"\n", mode=0o640)
    problems = list(storage_gate.metadata_in_use(here.world, "main"))
    assert words in "\n".join(problem.message for problem in problems)
    assert all(problem.blocking and not problem.name for problem in problems)  # nobody skips it


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("REGISTRY_DATABASE_ENABLED=true", "says database.enabled: true"),
        ('REGISTRY_DATABASE="{enabled: prefer}"', "says database.enabled: prefer"),
        ("REGISTRY_DATABASE_HOST=db", "names a metadata database"),
    ],
)
def test_the_environment_is_laid_over_the_file(here: Target, variables: str, words: str) -> None:
    host = here.world.host("here")
    host.write("/etc/registry/env", f"{variables}\n".encode(), mode=0o640)
    here.world.registry("main").nodes[0].environment_file = "/etc/registry/env"  # type: ignore[misc]
    text = "\n".join(problem.message for problem in storage_gate.metadata_in_use(here.world, "main"))
    assert words in text


def test_what_cannot_be_read_is_no_proof(here: Target) -> None:
    here.world.host("here").remove(CONFIG)
    text = "\n".join(problem.message for problem in storage_gate.metadata_in_use(here.world, "main"))
    assert f"cannot be excluded: what the configuration on here asks for: {CONFIG} is not there" in text


def test_a_gitlab_program_under_another_engines_name_is_asked(here: Target) -> None:
    host = here.world.host("here")
    assert isinstance(host, MemoryHost)
    host.programs["/usr/bin/registry"] = lambda command: Script(
        0, b"registry github.com/docker/distribution v4.32.0-gitlab\n"
    )
    service = here.world.service("main", "here")
    service.start()

    class Client:
        def root(self) -> SimpleNamespace:
            return SimpleNamespace(status=200, headers={"gitlab-container-registry-database-enabled": "true"})

    assert isinstance(here.world, MemoryWorld)
    here.world.clients = {("main", "here"): Client()}
    text = "\n".join(problem.message for problem in storage_gate.metadata_in_use(here.world, "main"))
    assert "says that it serves from its metadata database" in text
