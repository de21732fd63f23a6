"""What enable-db refuses, before anything is changed, and what it takes back when it fails on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gitlab.test_database_checks import standby_of
from tests.support.collecting import wrapper
from tests.support.enabling import ENABLE, EnablingSite
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.waiting import free_port

pytestmark = [pytest.mark.postgres]
Make = Callable[..., EnablingSite]
IMPORT = (*ENABLE, "--import", "one-step")


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[EnablingSite]:
    """One seeded registry that runs; no test here changes it."""
    from tests.conftest import require
    from tests.support import programs
    from tests.support.enabling import PlainServer
    from tests.support.gitlab import drop_owned, owned_database

    require(programs.gitlab_registry)
    folder = tmp_path_factory.mktemp("refused")
    address = owned_database(postgres_server)
    site = EnablingSite(folder / "site", PlainServer(folder / "registry", database=address))
    site.seeded()
    with site:
        yield site
    drop_owned(postgres_server, address)


@contextmanager
def described_otherwise(site: EnablingSite, **database: Any) -> Iterator[None]:
    """Have the site say other things of its database meanwhile."""
    before = site.site_file.read_text()
    described = yaml.safe_load(before)
    described["databases"]["gitlab"].update(database)
    site.site_file.write_text(yaml.safe_dump(described, sort_keys=False))
    try:
        yield
    finally:
        site.site_file.write_text(before)


def refused(site: EnablingSite, *arguments: str, code: int, words: str) -> str:
    """Run enable-db, which must be refused, and prove that nothing has changed."""
    before = site.snapshot()
    done = site.regctl(*(arguments or IMPORT))
    assert done.exit_code == code, str(done)
    said = done.stdout + done.stderr
    assert words in said, str(done)
    assert "Traceback" not in said
    assert site.snapshot() == before
    assert (site.mode(), site.header()) == ("writable", "false")
    return said


def administer(server: PostgresServer, *statements: str) -> None:
    with closing(server.connect()) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def name_of(site: EnablingSite) -> str:
    assert site.server.database is not None  # type: ignore[attr-defined]
    return str(site.server.database.name)  # type: ignore[attr-defined]


def test_a_wrong_password(shared: EnablingSite, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("another-word\n")
    wrong.chmod(0o600)
    with described_otherwise(shared, password=f"file:{wrong}"):
        said = refused(shared, code=7, words="password authentication failed")
    assert "another-word" not in said


def test_a_password_that_the_program_garbles(shared: EnablingSite, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("two words\n")
    wrong.chmod(0o600)
    with described_otherwise(shared, password=f"file:{wrong}"):
        said = refused(shared, code=10, words="databases.gitlab.password has a space in it")
    assert "two words" not in said


def test_a_database_server_that_is_down(shared: EnablingSite) -> None:
    with described_otherwise(shared, port=free_port()):
        refused(shared, code=7, words="Connection refused")


@pytest.mark.soak
def test_a_database_server_that_is_silent(shared: EnablingSite) -> None:
    """It takes connections and never answers: half a minute until every question has given up."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, described_otherwise(shared, port=silent.getsockname()[1]):
        refused(shared, code=7, words="timeout expired")


def test_a_replica(shared: EnablingSite, postgres_server: PostgresServer) -> None:
    with standby_of(postgres_server) as port, described_otherwise(shared, port=port):
        refused(shared, code=6, words="in recovery: it is a replica")


def test_a_database_that_is_read_only_by_default(
    shared: EnablingSite, postgres_server: PostgresServer
) -> None:
    name = name_of(shared)
    administer(postgres_server, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        refused(shared, code=6, words="default_transaction_read_only is on")
    finally:
        administer(postgres_server, f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def test_a_database_of_another_owner(shared: EnablingSite, postgres_server: PostgresServer) -> None:
    name = name_of(shared)
    administer(postgres_server, f'ALTER DATABASE "{name}" OWNER TO tester')
    try:
        refused(shared, code=6, words="belongs to tester, and the registry logs in as")
    finally:
        administer(postgres_server, f'ALTER DATABASE "{name}" OWNER TO "{name}"')


def test_postgresql_14(
    shared: EnablingSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only 15 is installed here, so the answer of the server is changed on its way in."""
    from ctl import cli
    from ctl.steps import database_checks

    real = database_checks.look_at
    monkeypatch.setattr(
        database_checks,
        "look_at",
        lambda session: replace(real(session), version=140010, version_text="14.10"),
    )
    for name in [name for name in os.environ if name.startswith(("REGCTL_", "PG"))]:
        monkeypatch.delenv(name)
    before = shared.snapshot()
    code = cli.run(["--site", str(shared.site_file), "--output", "json", *IMPORT])
    assert code == 6
    assert "PostgreSQL 14.10; GitLab's registry needs 15 or newer" in capsys.readouterr().err
    assert shared.snapshot() == before


def test_a_storage_that_is_not_there(shared: EnablingSite) -> None:
    storage = shared.server.storage
    away = storage.with_name("unmounted")
    config = shared.server.config_file.read_bytes()
    storage.rename(away)
    try:
        for arguments in (IMPORT, ENABLE):
            done = shared.regctl(*arguments)
            assert done.exit_code in (2, 6, 7), str(done)
            assert "not there" in done.stderr, str(done)
            assert not storage.exists()
            assert shared.server.config_file.read_bytes() == config
    finally:
        away.rename(storage)


def test_a_storage_that_cannot_be_read(shared: EnablingSite) -> None:
    """Root reads everything; a loop of links nobody can."""
    folder = shared.server.tree / "repositories"
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.symlink_to(folder.name)
    try:
        done = shared.regctl(*IMPORT)
        assert done.exit_code in (1, 6, 7), str(done)
        assert "cannot be read" in done.stderr or "cannot be listed" in done.stderr, str(done)
        assert "database" not in yaml.safe_load(shared.server.config_file.read_text())
    finally:
        folder.unlink()
        kept.rename(folder)


def test_a_registry_that_must_be_imported_and_nobody_says_how(shared: EnablingSite) -> None:
    refused(shared, *ENABLE, code=2, words="--import one-step")


def test_a_registry_kept_read_only_by_regctl(shared: EnablingSite) -> None:
    shared.ok("read-only", "on", "--yes")
    try:
        before = shared.snapshot()
        done = shared.regctl(*IMPORT)
        assert done.exit_code == 6, str(done)
        assert "read-only off" in done.stderr
        assert shared.snapshot() == before
    finally:
        shared.ok("read-only", "off", "--yes")


def test_an_entry_at_which_the_import_would_stop(shared: EnablingSite) -> None:
    tags = next(shared.server.tree.rglob("tags"))
    stray = tags / ".DS_Store"
    stray.write_bytes(b"")
    try:
        refused(shared, code=6, words=".DS_Store")
    finally:
        stray.unlink()


def test_a_dry_run_changes_nothing_and_says_what_would_be(shared: EnablingSite) -> None:
    before = shared.snapshot()
    done = shared.regctl("enable-db", "--import", "three-step", "--dry-run")
    assert done.json["result"] == "pending", str(done)
    assert "step one" in str(done.json["previews"])
    assert shared.snapshot() == before
    password = Path(str(shared.folder / "db.password")).read_text().strip()
    assert password not in done.stdout + done.stderr


def test_an_engine_without_such_a_database(tmp_path: Path) -> None:
    from tests.support.registry import RegistryServer
    from tests.support.site import SiteUnderTest

    site = SiteUnderTest(tmp_path / "site", RegistryServer(tmp_path / "registry"))
    site.write()
    done = site.regctl("enable-db", "--yes")
    assert done.exit_code == 6, str(done)
    assert "has no metadata database" in done.stderr


def test_a_new_installation_in_which_something_was_pushed(
    enabling: Make, migrated_database: DatabaseAddress
) -> None:
    site = enabling(migrated_database)
    with site:
        with site.client() as client:
            blob = image("one").blobs[0]
            client.push_blob("team/app", blob.digest, blob.data)
        before = site.snapshot()
        done = site.regctl(*ENABLE)
        assert done.exit_code == 6, str(done)
        assert "blobs without a repository" in done.stderr
        assert site.snapshot() == before


# -- failures on the way ---------------------------------------------------------------------------


def test_fault_06_a_node_that_does_not_serve_the_database_stops_everything_and_all_is_taken_back(
    enabling: Make, migrated_database: DatabaseAddress, tmp_path: Path
) -> None:
    """The program dies when it is started on the database: the files and the lock files come back."""
    from tests.support import programs

    site = enabling(migrated_database)
    site.seeded()
    dies = 'case "$1" in serve) grep -q "enabled: true" "$2" && sed -n "/^database/,/^[a-z]/p" "$2" | '
    dies += 'grep -q "^  enabled: true" && { echo "level=error no database today" >&2; exit 1; };; esac'
    site.binary = wrapper(tmp_path / "bin", dies, real=programs.gitlab_registry())
    with site:
        before, content = site.snapshot(), site.pull_everything()
        done = site.regctl(*IMPORT, timeout=300)
        assert done.exit_code == 1, str(done)
        assert "no database today" in done.stdout + done.stderr
        assert_as_before(site, before)
        assert site.pull_everything() == content
        with site.client() as client:
            client.push("team/app", "after", image("after"))


def test_fault_02_a_failed_import_leaves_the_registry_running_as_it_was(
    enabling: Make, migrated_database: DatabaseAddress, tmp_path: Path
) -> None:
    """The program ends with an error inside the window: files, lock files and mode come back."""
    from tests.support import programs

    site = enabling(migrated_database)
    site.seeded()
    fails = 'case "$*" in *"database import"*) echo "failed to import metadata: boom" >&2; exit 1;; esac'
    site.binary = wrapper(tmp_path / "bin", fails, real=programs.gitlab_registry())
    with site:
        before = site.snapshot()
        done = site.regctl(*IMPORT, timeout=300)
        assert done.exit_code == 1, str(done)
        assert "boom" in done.stdout + done.stderr
        assert_as_before(site, before)
        with site.client() as client:
            client.push("team/app", "after", image("after"))


def assert_as_before(site: EnablingSite, before: dict[str, Any]) -> None:
    """The registry itself writes filesystem-in-use when it starts on a tree with repositories."""
    after = site.snapshot()
    assert site.locks() == ["filesystem-in-use"]
    assert (site.mode(), site.header()) == ("writable", "false")
    for part in ("config", "beside", "site"):
        assert after[part] == before[part]
    assert {k: v for k, v in after["tree"].items() if "lockfiles" not in k} == {
        k: v for k, v in before["tree"].items() if "lockfiles" not in k
    }
