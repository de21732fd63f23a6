"""Real Pulps; every test here is skipped, and counted, where `make install` has not made one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support import programs
from tests.support.postgres import PostgresServer
from tests.support.pulp import PulpLab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.pulp)


@pytest.fixture(scope="session")
def pulp_lab(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> PulpLab:
    """Makes Pulps 2.24: `pulp_lab.clone(Seed(images=60))`, each with a database and files of its own."""
    require(programs.pulp)
    return PulpLab(postgres_server, tmp_path_factory.mktemp("pulp"))  # their databases go with the server


@pytest.fixture(scope="session")
def pulp_labs(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], PulpLab]:
    """Make labs of other releases: `pulp_labs("18")`."""
    made: dict[str, PulpLab] = {}

    def lab(line: str) -> PulpLab:
        require(lambda: programs.pulp(line))
        if line not in made:
            made[line] = PulpLab(postgres_server, tmp_path_factory.mktemp(f"pulp{line}"), line)
        return made[line]

    return lab
