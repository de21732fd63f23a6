"""The other ways to a target: a link that is led elsewhere, a package that replaces, a host over SSH."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctl.config.ownership import classify
from tests.support import programs
from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.runit import Runit, real_programs
from tests.support.site import SiteUnderTest
from tests.support.sshd import SshServer
from tests.support.upgrading import OLD_WORDS

pytestmark = [pytest.mark.registry, pytest.mark.distribution3]
APPLY = ("upgrade", "apply", "main", "--yes")
OLD, NEW = "2.8.2", "3.1.1"


class OneNode(SiteUnderTest):
    """A node whose program is a file of the test's own."""

    node: dict[str, Any] | None = None
    sshd: SshServer | None = None

    def description(self) -> dict[str, Any]:
        found = super().description()
        found["registries"]["main"]["nodes"][0].update(self.node or {})
        if self.sshd is not None:
            found["hosts"]["here"] = self.sshd.described(state_dir=str(self.folder / "far-state"))
        return found

    def version(self) -> str:
        rows = self.regctl("upgrade", "plan", "main").json["rows"]
        return str(rows[0]["current"]).split("+")[0]

    def pushed(self) -> str:
        with self.client() as client:
            return client.push("team/app", "v1", image("one"))

    def pulls(self, digest: str) -> None:
        with self.client() as client:
            assert digest in client.pull("team/app", "v1").manifests


@pytest.fixture
def site(tmp_path: Path) -> Iterator[OneNode]:
    program = tmp_path / "bin" / "registry"
    program.parent.mkdir()
    shutil.copy2(programs.docker_registry(), program.with_name("registry-2.8"))
    program.symlink_to("registry-2.8")
    server = RegistryServer(tmp_path / "registry", overlay=dict(OLD_WORDS))
    made = OneNode(tmp_path / "site", server, binary=str(program))
    with made:
        yield made


def described_again(site: OneNode, **node: Any) -> None:
    site.node = node
    site.write()


def schema1_image(tree: Path, repository: str, tag: str) -> None:
    """Write what a client of long ago pushed."""
    data = json.dumps({"schemaVersion": 1, "name": repository, "tag": tag, "fsLayers": [], "history": []})
    hexadecimal = hashlib.sha256(data.encode()).hexdigest()
    manifests = tree / "repositories" / repository / "_manifests"
    written = {
        tree / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data": data,
        manifests / "revisions" / "sha256" / hexadecimal / "link": f"sha256:{hexadecimal}",
        manifests / "tags" / tag / "current" / "link": f"sha256:{hexadecimal}",
    }
    for path, text in written.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (manifests.parent / "_layers").mkdir()


def failing(folder: Path, name: str) -> Path:
    path = folder / name
    real = programs.registry3()  # which it is for --version, and when it is tried
    path.write_text(f'#!/bin/sh\ncase "$*" in --version|*.regctl-trial-*) exec {real} "$@";; esac\nexit 3\n')
    path.chmod(0o755)
    return path


@pytest.mark.soak
def test_a_package_replaces_the_program_and_what_fails_is_put_back(site: OneNode, tmp_path: Path) -> None:
    digest, program = site.pushed(), Path(site.binary)
    program.unlink()  # a plain file, as a package has it
    shutil.copy2(programs.docker_registry(), program)
    site.ok("service", "restart", "--yes")
    before, config = program.read_bytes(), site.server.config_file.read_bytes()
    bad = ["cp", "--remove-destination", str(failing(tmp_path, "bad")), str(program)]
    described_again(site, upgrade={"install": bad})
    assert site.regctl(*APPLY).json["result"] == "nothing-to-do"  # nobody says that it is to be another
    refused = site.regctl(*APPLY, "--to", NEW)
    assert refused.exit_code == 1, str(refused)
    assert program.read_bytes() == before
    assert site.server.config_file.read_bytes() == config
    assert site.version() == OLD
    site.pulls(digest)
    good = ["cp", "--remove-destination", programs.registry3(), str(program)]
    described_again(site, upgrade={"install": good})
    site.ok(*APPLY, "--to", NEW)
    assert site.version() == NEW
    assert site.server.config_file.read_bytes() != config
    assert sorted(path.name for path in program.parent.iterdir()) == ["registry", "registry-2.8"]
    site.pulls(digest)


@pytest.mark.soak
def test_what_was_installed_by_hand_is_only_restarted(site: OneNode, tmp_path: Path) -> None:
    program = Path(site.binary)
    os.replace(shutil.copy2(programs.registry3(), tmp_path / "next"), program.with_name("registry-2.8"))
    plan = site.regctl("upgrade", "plan", "main", "--detailed-exitcode")
    assert plan.exit_code == 4, str(plan)
    row = plan.json["rows"][0]
    assert (row["current"].split("+")[0], row["target"].split("+")[0], row["state"]) == (OLD, NEW, "to-do")
    site.ok(*APPLY)
    assert site.version() == NEW
    assert program.is_symlink()


def test_a_managed_file_is_rendered_for_its_version_from_one_site(site: OneNode) -> None:
    digest = site.pushed()
    site.ok("config", "adopt", "--yes")
    site.ok("config", "apply", "--yes")
    assert site.version() == OLD
    before = yaml.safe_load(site.server.config_file.read_text())
    assert before["redis"]["addr"] == "127.0.0.1:1"  # and the site goes on saying so
    site.ok(*APPLY, "--to-binary", programs.registry3())
    text = site.server.config_file.read_text()
    assert classify(text.encode()).state == "managed"
    settings = yaml.safe_load(text)
    assert settings["redis"]["addrs"] == ["127.0.0.1:1"]
    assert "compatibility" not in settings
    assert site.ok("config", "apply", "--yes")["result"] == "nothing-to-do"
    site.pulls(digest)


def test_images_that_3_does_not_serve_stop_it_before_anything(site: OneNode) -> None:
    digest = site.pushed()
    schema1_image(site.server.tree, "team/old", "v0")
    described_again(site, upgrade={"binary": programs.registry3()})
    config, pid = site.server.config_file.read_bytes(), site.processes()
    plan = site.regctl("upgrade", "plan", "main")
    assert plan.exit_code == 6, str(plan)
    assert "1 schema1 manifests are stored, such as team/old@sha256:" in json.dumps(plan.json["blocked"])
    assert site.regctl(*APPLY).exit_code == 6
    assert (site.server.config_file.read_bytes(), site.processes()) == (config, pid)
    site.pulls(digest)


def test_a_node_of_runit_over_ssh_goes_there_by_its_link_and_back(tmp_path: Path) -> None:
    if not real_programs():
        raise programs.MissingProgramError("runit", "run `make install`")
    program = tmp_path / "bin" / "registry"
    program.parent.mkdir()
    program.symlink_to(programs.docker_registry())
    server = RegistryServer(tmp_path / "registry", overlay=dict(OLD_WORDS))
    server.write_config()
    runit = Runit(tmp_path / "runit", f"{program} serve {server.config_file}", real=True)
    site = OneNode(tmp_path / "site", server, binary=str(program))
    site.node = {"service": {"kind": "runit", "name": str(runit.service)}}
    try:
        with SshServer(tmp_path / "sshd", "here") as site.sshd, site:
            digest, config = site.pushed(), server.config_file.read_bytes()
            failed = site.regctl(*APPLY, "--to-binary", str(failing(tmp_path, "bad")))
            assert failed.exit_code == 1, str(failed)
            assert (os.readlink(program), server.config_file.read_bytes()) == (
                programs.docker_registry(),
                config,
            )
            assert site.version() == OLD
            done = site.ok(*APPLY, "--to-binary", programs.registry3())
            assert "OTEL_TRACES_EXPORTER" in json.dumps(done["plan"]["rows"])  # what only a hand can do
            assert os.readlink(program) == programs.registry3()
            assert site.version() == NEW
            site.pulls(digest)
    finally:
        runit.close()
