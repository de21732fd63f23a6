"""The support bundle of two real nodes: canary secrets stand everywhere they could, and are nowhere in it."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.config.load import load_site
from ctl.doors import Doors
from ctl.health.bundle_step import bundle
from ctl.health.model import Looker
from ctl.plugins import Plugins
from tests.support.registry import RegistryServer
from tests.support.two_nodes import TwoNodes

pytestmark = [pytest.mark.registry]
CANARIES = {
    name: f"canary-{name}-7f3a91"
    for name in ("http", "comment", "environment", "credentials", "database", "moved", "unknown")
}


class Watched(TwoNodes):
    """A site that holds a secret in every place that knows one."""

    def description(self) -> dict[str, Any]:
        found = super().description()
        registry = found["registries"]["main"]
        registry["credentials"] = {"username": "robot", "password": f"file:{self.secret('credentials')}"}
        registry["nodes"][0]["environment_file"] = str(self.secret("environment"))
        found["databases"] = {
            "gone": {"host": "127.0.0.1", "port": 1, "dbname": "x", "user": "u", "sslmode": "disable",
                     "password": f"file:{self.secret('database')}"}
        }  # fmt: skip
        found["control_database"] = "gone"
        return found

    def secret(self, name: str) -> Path:
        folder = self.folder / "secrets"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        text = CANARIES[name]
        path.write_text(f"REGISTRY_HTTP_TLS_TOKEN={text}\n" if name == "environment" else text + "\n")
        path.chmod(0o600)
        return path

    def write(self) -> Watched:
        super().write()
        self.secret("moved")
        for server in (self.server, self.other):
            text = server.config_file.read_text()
            text = text.replace("secret: a secret of the tests only", f"secret: {CANARIES['http']}")
            assert CANARIES["http"] in text
            server.config_file.write_text(f"# was: password: {CANARIES['comment']}\n{text}")
        return self


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path / "site", RegistryServer(tmp_path / "registry")) as site:
        assert isinstance(site, Watched)
        yield site


def unpacked(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("regctl-support/")] = file.read()
    return found


def spill(site: Watched) -> None:
    """Let every canary into the logs and the journals, as programs in trouble do."""
    basic = base64.b64encode(f"robot:{CANARIES['credentials']}".encode()).decode()
    lines = [
        f'level=error msg="no" authorization="Basic {basic}" password={CANARIES["unknown"]}',
        f"GET http://robot:{CANARIES['unknown']}@127.0.0.1/v2/?token={CANARIES['unknown']}",
        "panic: " + " ".join(text for name, text in CANARIES.items() if name not in ("comment", "unknown")),
    ]
    logs = [path for path in site.state_dir.rglob("*") if path.is_file() and "log" in path.name]
    assert logs
    for log in logs:
        with log.open("a") as file:
            file.write("\n".join(lines) + "\n")
    for name in ("http", "database", "moved"):
        site.ok("read-only", "on", "--reason", f"it is {CANARIES[name]}", "--yes", "--skip", "config-newer",
                "--skip-reason", "x")  # fmt: skip
        site.ok("read-only", "off", "--yes")


def leaks(found: dict[str, bytes]) -> dict[str, list[str]]:
    return {
        name: places
        for name, text in CANARIES.items()
        if (places := sorted(member for member, data in found.items() if text.encode() in data))
    }


def test_no_canary_is_in_it_and_without_the_redactor_they_are(site: Watched, tmp_path: Path) -> None:
    spill(site)
    folder = tmp_path / "support"
    folder.mkdir(mode=0o700)
    done = site.regctl("recipe", "run", "collect-support-bundle", "--set", f"folder={folder}", "--yes")
    assert done.exit_code in (0, 3), str(done)
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    found = unpacked(path.read_bytes())
    assert leaks(found) == {}
    assert leaks({"output": str(done).encode()}) == {}
    basic = base64.b64encode(f"robot:{CANARIES['credentials']}".encode())
    assert not [name for name, data in found.items() if basic in data]

    # it is of use all the same
    for host in ("here", "there"):
        assert b"storage:" in found[f"nodes/main@{host}/config.yml"]
        assert b"panic: ***" in found[f"nodes/main@{host}/log.txt"]
    assert json.loads(found["versions.json"])["nodes"]["main@here"].startswith("2.8")
    assert {one["name"] for one in json.loads(found["check.json"])["checks"]} >= {"clock", "open-runs"}
    assert len([name for name in found if name.startswith("runs/")]) >= 6
    assert b"registries:" in found["site.yml"]
    assert json.loads(found["status.json"])["registries"][0]["name"] == "main"

    # the same without the redactor: the test would see a leak
    loaded = load_site(str(site.site_file)).site
    from contextlib import ExitStack

    with ExitStack() as stack:
        world = Doors(loaded, str(site.state_dir), Plugins(lambda text: None), stack)
        data, _, _ = bundle(Looker(world, ["main"], str(site.site_file)), 500, 10, None)
    open_ = leaks(unpacked(data))
    assert set(open_) >= {"http", "environment", "credentials", "database", "moved", "unknown"}


def test_a_folder_that_is_not_there_is_refused_and_nothing_is_written(site: Watched, tmp_path: Path) -> None:
    done = site.regctl("recipe", "run", "collect-support-bundle", "--set", f"folder={tmp_path}/no", "--yes")
    assert done.exit_code == 2
    assert "there is no folder" in done.stderr
    dry = site.regctl("recipe", "run", "collect-support-bundle", "--set", f"folder={tmp_path}", "--dry-run")
    assert dry.exit_code == 0, str(dry)
    assert not list(tmp_path.glob("*.tar.gz"))
