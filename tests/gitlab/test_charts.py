"""The chart's jobs, as they are rendered, on the real program: what Kubernetes would run is run here.

A pod is a process namespace of its own (unshare) over the same storage and database; the registry's own pod
is a server outside of it, which regctl can only ask over HTTP.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.charts import Chart
from tests.support.gitlab import GitlabServer
from tests.support.images import image
from tests.support.postgres import DatabaseAddress
from tests.support.site import REPOSITORY_ROOT
from tests.support.transfer import Client
from tests.support.waiting import clean_environment, free_port

pytestmark = [pytest.mark.postgres]
CHART = Chart(REPOSITORY_ROOT / "examples" / "charts" / "regctl-jobs")
Make = Callable[..., GitlabServer]


@dataclass
class Pods:
    """Runs the chart's jobs in namespaces below a folder."""

    folder: Path
    server: GitlabServer
    log: str = ""  # of the last job

    def values(self, **over: Any) -> dict[str, Any]:
        assert self.server.database is not None
        return CHART.values(
            image={"repository": "none", "tag": "none"},
            registry={"binary": self.server.binary, "url": self.server.url},
            storage={"rootdirectory": str(self.server.storage)},
            database={
                "host": "127.0.0.1",
                "port": self.server.database.port,
                "name": self.server.database.name,
                "user": self.server.database.user,
                "sslmode": "disable",
            },
            **over,
        )

    def run(self, name: str, **over: Any) -> tuple[int, dict[str, Any]]:
        """Run a job's containers one after the other; return the last one's exit code and last line."""
        manifests = CHART.manifests(self.values(**over))
        self._mount(next(one for one in manifests if one["metadata"]["name"] == "jobs-regctl"))
        job = next(one for one in manifests if one["metadata"]["name"] == f"jobs-regctl-{name}")
        spec = job["spec"] if job["kind"] == "Job" else job["spec"]["jobTemplate"]["spec"]
        pod = spec["template"]["spec"]
        resume, main = pod["initContainers"][-1], pod["containers"][0]
        assert self._container(resume).returncode == 0
        done = self._container(main)
        lines = [json.loads(line) for line in done.stdout.splitlines()]  # every line, or it fails here
        assert lines, done.stderr
        self.log = done.stdout
        return done.returncode, lines[-1]

    def _mount(self, site: dict[str, Any]) -> None:
        """Put in place what the pod's volumes hold."""
        (self.folder / "secrets").mkdir(parents=True, exist_ok=True)
        assert self.server.database is not None
        password = self.folder / "secrets" / "database.password"
        password.write_text(self.server.database.password)
        password.chmod(0o440)
        config = yaml.safe_load(self.server.config_file.read_text())
        config["http"]["addr"] = f"127.0.0.1:{free_port()}"  # a pod has a network of its own
        registry = self.folder / "registry"
        shutil.rmtree(registry, ignore_errors=True)
        registry.mkdir()
        (registry / "config.yml").write_text(yaml.safe_dump(config))
        text = site["data"]["site.yml"]
        for there, here in (
            ("/etc/regctl/secrets", self.folder / "secrets"),
            ("/etc/docker/registry", registry),
            ("/var/lib/regctl/state", self.folder / "state"),
        ):
            text = text.replace(there, str(here))
        (self.folder / "site.yml").write_text(text)
        program = self.folder / "bin" / "regctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ctl "$@"\n')
        program.chmod(0o755)

    def _container(self, container: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(
            PYTHONPATH=str(REPOSITORY_ROOT),
            REGCTL_SITE=str(self.folder / "site.yml"),
            REGCTL_STATE_DIR=str(self.folder / "state"),
        )
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        return subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", *container["command"], *container["args"]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
            cwd=self.folder,
        )


@pytest.fixture
def pods(tmp_path: Path, gitlab_server: Make, migrated_database: DatabaseAddress) -> Pods:
    return Pods(tmp_path / "pod", gitlab_server(database=migrated_database, enabled=False))


def push(server: GitlabServer, count: int) -> None:
    with closing(Client(server.url)) as client:
        for number in range(count):
            client.push(f"team/app{number}", "v1", image(f"chart-{number}"))


def restarted(server: GitlabServer, *, read_only: bool, enabled: bool = False) -> None:
    """What the registry's own chart does with other values."""
    server.stop()
    server.read_only, server.enabled = read_only, enabled
    server.write_config()
    server.start(timeout=60)


def pulled(server: GitlabServer) -> dict[Any, Any]:
    with closing(Client(server.url)) as client:
        return client.pull_everything()


def test_migrations_and_an_import_in_three_steps(pods: Pods) -> None:
    server = pods.server
    server.start()
    push(server, 3)
    before = pulled(server)
    code, said = pods.run("migrate-pre")
    assert (code, said["schema"], said["applied"]) == (0, "regctl/database-migrate-up/1", [])
    assert pods.run("import-one", **{"import": {"enabled": True, "step": "one"}})[0] == 0

    closed = {"import": {"enabled": True, "step": "two"}}
    code, said = pods.run("import-two", **closed)
    assert (code, said["result"]) == (6, "refused")
    assert "accepts pushes" in pods.log
    restarted(server, read_only=True)
    code, said = pods.run("import-two", **closed)
    assert code == 0, pods.log[-3000:]
    assert said["tags"] == len(before)

    restarted(server, read_only=False, enabled=True)
    assert pulled(server) == before
    code, said = pods.run("import-three", **{"import": {"enabled": True, "step": "three"}})
    assert code == 0, pods.log[-3000:]
    code, said = pods.run("watch")
    assert said["schema"] == "regctl/gc-status/1"
    assert code in (0, 3)


def test_offline_collection_waits_until_nobody_can_push(pods: Pods) -> None:
    server = pods.server
    server.start()
    push(server, 2)
    with closing(Client(server.url)) as client:
        client.push("team/app0", "v1", image("chart-again"))
    blobs = sorted(server.tree.glob("blobs/*/*/*/data"))
    settings = {"collect": {"enabled": True, "deleteUntagged": True}}
    code, said = pods.run("collect", **settings)
    assert (code, said["result"]) == (6, "refused")
    assert "accepts pushes" in pods.log
    assert sorted(server.tree.glob("blobs/*/*/*/data")) == blobs
    server.stop()
    code, said = pods.run("collect", **settings)
    assert (code, said["result"]) == (0, "changed"), said
    assert len(list(server.tree.glob("blobs/*/*/*/data"))) == len(blobs) - said["blobs"] < len(blobs)
    server.start()
    assert len(pulled(server)) == 2
