"""A newcomer with a running registry: init, then everything that reads works with no further edit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ctl.catalog.digests import blob_path
from tests.support import programs
from tests.support.embedded import let_pass
from tests.support.images import image, multi_arch
from tests.support.registry import RegistryServer
from tests.support.site import REPOSITORY_ROOT
from tests.support.transfer import Client, skopeo_push
from tests.support.waiting import clean_environment, free_port

pytestmark = [pytest.mark.registry, pytest.mark.postgres, pytest.mark.skopeo]
DEBIANS = Path("/etc/docker/registry/config.yml")


@dataclass
class Newcomer:
    """Somebody with a running registry, a new site file, and a state folder of their own."""

    folder: Path

    def regctl(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        site, state = self.folder / "site.yml", self.folder / "state"
        argv = [
            sys.executable,
            "-m",
            "ctl",
            "--site",
            str(site),
            "--state-dir",
            str(state),
            "--output",
            "json",
        ]
        done = subprocess.run(
            [*argv, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            cwd=self.folder,
            env=clean_environment(PYTHONPATH=str(REPOSITORY_ROOT)),
        )
        said = done.stderr.decode()
        assert "Traceback" not in said, said
        return done.returncode, json.loads(done.stdout), said


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    somebody = Newcomer(let_pass(tmp_path))
    yield somebody
    somebody.regctl("database", "stop", "--yes")


def debians_own(folder: Path) -> RegistryServer:
    """Debian's shipped file, with only its address, its root and its users' file pointed elsewhere."""
    server = RegistryServer(folder / "debian", port=free_port())
    server.folder.mkdir(exist_ok=True)
    server.storage.mkdir()
    text = DEBIANS.read_text()
    text = re.sub(r"rootdirectory: \S+", f"rootdirectory: {server.storage}", text)
    text = re.sub(r"addr: :5000", f"addr: {server.address}", text)
    text = re.sub(r"(?m)^auth:\n(?: .*\n?)*", "", text)  # its htpasswd path is a directory: it cannot start
    server.config_file.write_text(text)
    return server


def hand_written(folder: Path) -> RegistryServer:
    return RegistryServer(folder / "hand-written")


@pytest.mark.parametrize("kind", [debians_own, hand_written], ids=["debian", "hand-written"])
def test_init_then_status_import_verify_and_a_dry_collection(newcomer: Newcomer, kind: Any) -> None:
    server: RegistryServer = kind(newcomer.folder)
    with server:
        assert (
            skopeo_push(newcomer.folder / "oci", image("one"), server.address, "team/app", "v1").exit_code
            == 0
        )
        pushed = image("two")
        skopeo_push(newcomer.folder / "oci2", pushed, server.address, "team/app", "v2", "--format=v2s2")
        with Client(server.url) as client:
            client.push("multi", "latest", multi_arch("m"))
        code, _made, said = newcomer.regctl(
            "init", "--registry-config", str(server.config_file), "--registry-binary", server.binary
        )
        assert code == 0, said
        code, status, said = newcomer.regctl("status")
        assert code in (0, 3), said
        node = next(iter(status["registries"].values()))["nodes"][0]
        assert (node["state"], node["listening"], node["read_only"]) == ("running", True, False)
        code, _made, said = newcomer.regctl("database", "migrate", "up", "--yes")
        assert code == 0, said
        code, report, said = newcomer.regctl("registry", "import", "--yes")
        assert code == 0, said
        assert (report["repositories"], report["tags"], report["problems"]) == (2, 3, 0)
        code, report, said = newcomer.regctl("registry", "verify")
        assert (code, report["missing"], report["extra"], report["broken"]) == (0, 0, 0, 0), said
        code, report, said = newcomer.regctl("gc", "--dry-run")
        assert (code, report["blobs"]) == (0, 0), said
        layer = pushed.layers[0].digest
        os.remove(server.storage / blob_path(layer))
        code, report, said = newcomer.regctl("registry", "verify")
        assert (code, report["result"]) == (3, "warning"), said
        assert layer in json.dumps(report["differences"])


def test_debians_shipped_configuration_is_explained_not_crashed_on(newcomer: Newcomer) -> None:
    arguments = ("--registry-config", str(DEBIANS), "--registry-binary", programs.docker_registry())
    code, _report, said = newcomer.regctl("init", *arguments, "--service", "process")
    assert code == 0, said
    code, report, said = newcomer.regctl("config", "check")
    assert code in (3, 10)
    assert "htpasswd" in said + json.dumps(report)
