"""Fixtures that every test may use: real servers, images, and one way to say that a program is missing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from tests.support import programs
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.registry import RegistryServer

T = TypeVar("T")


def require(look: Callable[[], T]) -> T:
    """Return what `look` finds. Missing: skip with the reason, or fail where `make test` promised it."""
    try:
        return look()
    except programs.MissingProgramError as error:
        optional = ("registry 3.x", "GitLab's registry")
        if os.environ.get("REGCTL_TEST_REQUIRE") == "1" and error.program not in optional:
            pytest.fail(f"{error} (make test installs it, so this is no skip)")
        pytest.skip(str(error))


_NEEDED: dict[str, Callable[[], str]] = {
    "registry": programs.docker_registry,
    "distribution3": programs.registry3,
    "gitlab": programs.gitlab_registry,
    "postgres": programs.postgres_bin,
    "pulp": programs.pulp,
    "skopeo": lambda: programs.find("skopeo"),
    "strace": lambda: programs.find("strace"),
}


def pytest_configure() -> None:
    """Take out of the results what the surroundings put in: an ignored Ctrl-C, a busy machine."""
    # A shell that starts this in the background has Ctrl-C ignored; some tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes depends on what else the machine does: that is no property of the code.
    hypothesis.settings.register_profile(
        "regctl",
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        # What CI says must not hang on a draw: there the same examples are tried each time. At a desk, and in
        # `make soak`, they are new ones in every run.
        derandomize=bool(os.environ.get("CI")),
    )
    hypothesis.settings.load_profile("regctl")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (or fail) a marked test whose program is missing."""
    for marker, look in _NEEDED.items():
        if item.get_closest_marker(marker):
            require(look)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long ones to `make soak`, which selects them by `-m soak`."""
    if "soak" in (config.getoption("-m") or ""):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


@pytest.fixture
def registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """A started, writable registry 2.8, empty."""
    require(programs.docker_registry)
    with RegistryServer(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def make_registry(tmp_path: Path) -> Iterator[Callable[..., RegistryServer]]:
    """Make registries (not started) by name: `make_registry("a", read_only=True).start()`."""
    made: list[RegistryServer] = []

    def make(name: str = "registry", **options: object) -> RegistryServer:
        require(programs.docker_registry)
        server = RegistryServer(tmp_path / name, **options)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One throw-away cluster for the session (one per worker of xdist)."""
    require(programs.postgres_bin)
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def database_address(postgres_server: PostgresServer) -> Iterator[DatabaseAddress]:
    """An empty database of its own."""
    address = postgres_server.create_database()
    yield address
    postgres_server.drop_database(address.name)
