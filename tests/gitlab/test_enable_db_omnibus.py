"""enable-db where gitlab-ctl writes the file: regctl asks, stage by stage, and never writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.catalog.seeding import SeedPlan, seed_tree
from tests.conftest import require
from tests.gitlab.test_omnibus import OmnibusServer, OmnibusSite
from tests.support import programs
from tests.support.collecting import mode
from tests.support.enabling import ENABLE, header
from tests.support.omnibus import assignments
from tests.support.postgres import DatabaseAddress

pytestmark = [pytest.mark.postgres]


@pytest.fixture
def site(tmp_path: Path, migrated_database: DatabaseAddress) -> Iterator[OmnibusSite]:
    require(programs.gitlab_registry)
    server = OmnibusServer(tmp_path / "registry", database=migrated_database)
    server.write_config()
    said = server.settings()
    del said["database"]
    (server.folder / "gitlab.json").write_text(json.dumps(said))
    seed_tree(str(server.storage), SeedPlan(repositories=2, tags_per_repository=2))
    with OmnibusSite(tmp_path / "site", server) as site:
        assert isinstance(site, OmnibusSite)
        yield site


def reconfigure(site: OmnibusSite) -> dict[str, object]:
    """Put the lines in, have the file written, restart the registry as gitlab-ctl would."""
    lines = site.lines.read_text()
    assert site.lines.stat().st_mode & 0o777 == 0o600
    assert isinstance(site.server, OmnibusServer)
    site.server.edit(lines)
    site.server.write_config()
    site.ok("service", "restart", "--yes")
    return assignments(lines)


def test_two_reconfigures_lead_into_the_database_and_no_line_is_asked_for_too_early(
    site: OmnibusSite,
) -> None:
    with site.client() as client:
        before = client.pull_everything()
    asked = []
    for _ in range(5):
        config = site.server.config_file.read_bytes()
        done = site.regctl(*ENABLE, "--import", "one-step", timeout=300)
        assert site.server.config_file.read_bytes() == config
        if done.exit_code != 6:
            break
        assert "gitlab-ctl reconfigure" in done.stderr
        assert (site.server.database.password if site.server.database else "") not in done.stderr  # type: ignore[attr-defined]
        lines = assignments(site.lines.read_text())
        asked.append(sorted(lines))
        if lines.get("database", {}).get("enabled") is True:
            assert (site.server.storage / "docker/registry/lockfiles/database-in-use").exists()
            assert mode(site.server) == "read-only"
        reconfigure(site)
    assert done.exit_code == 0, str(done)
    assert done.json["result"] in ("changed", "nothing-to-do")
    assert asked == [["database", "storage"], ["database", "gc", "storage"]]
    assert (mode(site.server), header(site.server)) == ("writable", "true")
    with site.client() as client:
        assert client.pull_everything() == before
