"""GitLab's registry with a real PostgreSQL; every test here is skipped, and counted, without the binary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support import programs
from tests.support.enabling import EnablingSite, PlainServer
from tests.support.gitlab import PASSWORD, GitlabServer, GitlabSite, drop_owned, give_all, owned_database
from tests.support.postgres import DatabaseAddress, PostgresServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gitlab)


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[DatabaseAddress]:
    """A database without any table, owned by a role of its own."""
    address = owned_database(postgres_server)
    yield address
    drop_owned(postgres_server, address)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with all migrations, to be cloned in a moment instead of migrated in ten seconds."""
    require(programs.gitlab_registry)

    def fill(address: DatabaseAddress) -> None:
        owner = "gitlab_template"
        with postgres_server.connect() as connection:
            connection.execute(f"CREATE ROLE {owner} LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f'ALTER DATABASE "{address.name}" OWNER TO {owner}'.encode())
        owned = DatabaseAddress(address.name, address.socket_folder, address.port, owner, PASSWORD)
        GitlabServer(tmp_path_factory.mktemp("template"), database=owned).migrate()

    return postgres_server.template(fill, "gitlab_migrated")


@pytest.fixture
def migrated_database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[DatabaseAddress]:
    """A database with all migrations and no content, owned by a role of its own."""
    address = owned_database(postgres_server, template=migrated_template)
    give_all(postgres_server, address)
    yield address
    drop_owned(postgres_server, address)


@pytest.fixture
def gitlab_server(tmp_path: Path) -> Iterator[Callable[..., GitlabServer]]:
    """Make servers (not started): `gitlab_server(database=..., enabled=True)`."""
    made: list[GitlabServer] = []

    def make(name: str = "registry", **options: object) -> GitlabServer:
        require(programs.gitlab_registry)
        made.append(GitlabServer(tmp_path / name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def gitlab_site(
    tmp_path: Path, gitlab_server: Callable[..., GitlabServer]
) -> Iterator[Callable[..., GitlabSite]]:
    """Make sites (not entered): `with gitlab_site(database=migrated_database) as site: ...`."""
    made: list[GitlabSite] = []

    def make(
        name: str = "site", *, settings: dict[str, object] | None = None, **options: object
    ) -> GitlabSite:
        server = gitlab_server(f"{name}-registry", **options)
        made.append(GitlabSite(tmp_path / name, server, settings=dict(settings or {})))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def enabling(tmp_path: Path) -> Iterator[Callable[..., EnablingSite]]:
    """Make sites whose files name no database yet (not entered): `enabling(migrated_database)`."""
    made: list[EnablingSite] = []

    def make(
        database: DatabaseAddress, name: str = "site", *, connected: bool = False, **options: object
    ) -> EnablingSite:
        require(programs.gitlab_registry)
        kind = GitlabServer if connected else PlainServer
        server = kind(tmp_path / f"{name}-registry", database=database, **options)  # type: ignore[arg-type]
        made.append(EnablingSite(tmp_path / name, server))
        return made[-1]

    yield make
    for site in made:
        site.end()
