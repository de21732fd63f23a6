"""Service kind `process` around a real registry."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ctl.config.models import Node
from ctl.errors import CommandFailedError, ConfigError
from ctl.hosts.base import Command, Host
from ctl.hosts.local import LocalHost
from ctl.hosts.services_process import ProcessService
from tests.support.embedded import let_pass
from tests.support.registry import RegistryServer
from tests.support.waiting import stop_process, wait_until

pytestmark = pytest.mark.registry
GRACE = timedelta(seconds=15)


class Site:
    """A registry's files, and services that drive it: each is another regctl."""

    def __init__(self, folder: Path, server: RegistryServer) -> None:
        self.folder, self.server = folder, server
        self.host: Host = LocalHost("local", str(folder / "state" / "jobs"))
        server.write_config()

    def service(self, **node: object) -> ProcessService:
        described = Node.model_validate(
            {
                "host": "local",
                "binary": self.server.binary,
                "config_file": str(self.server.config_file),
                "url": self.server.url,
                "service": {"kind": "process", "name": "registry"},
                **node,
            }
        )
        command = Command((described.binary, "serve", described.config_file))
        return ProcessService(self.host, "main", described, lambda: command, str(self.folder / "state"))


@pytest.fixture
def site(tmp_path: Path, make_registry: Callable[..., RegistryServer]) -> Iterator[Site]:
    made = Site(tmp_path, make_registry())
    yield made
    made.service().stop(timedelta(seconds=1))


def test_a_registry_lives_on_and_the_next_regctl_drives_it(site: Site) -> None:
    child = os.fork()
    if child == 0:
        try:
            site.service().start()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    service = site.service()
    state = service.state()
    assert state.running
    assert state.process is not None
    assert state.process.argv == (site.server.binary, "serve", str(site.server.config_file))
    assert site.server.answers()
    assert state.since == pytest.approx(time.time(), abs=30)
    assert any("listening on" in line for line in service.tail(20))
    assert site.service().restart(GRACE)
    assert site.service().state().process != state.process
    wait_until(site.server.answers, what="the registry")


@pytest.mark.parametrize("how", ["argument", "environment", "relative path", "symbolic links"])
def test_a_registry_started_by_hand_is_seen_and_not_started_twice(site: Site, how: str) -> None:
    binary, config = site.server.binary, str(site.server.config_file)
    argv = [binary, "serve", config]
    environment = {"PATH": "/usr/bin:/bin"}
    if how == "environment":
        argv = [binary, "serve"]
        environment["REGISTRY_CONFIGURATION_PATH"] = config
    elif how == "relative path":
        argv = [os.path.basename(binary), "serve", "config.yml"]
    elif how == "symbolic links":
        link, other = site.folder / "my-registry", site.folder / "my.yml"
        link.symlink_to(binary)
        other.symlink_to(config)
        argv = [str(link), "serve", str(other)]
    child = subprocess.Popen(
        argv, env=environment, cwd=site.server.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(site.server.answers, what="the registry")
        service = site.service()
        state = service.state()
        assert state.process is not None
        assert state.process.pid == child.pid
        assert "by hand" in state.detail
        assert service.tail(5) == []
        loaded, executed = service.loaded_config(), service.loaded_binary()
        assert loaded is not None
        assert os.path.samefile(loaded, config)
        assert executed == os.path.realpath(binary)
        service.start()
        assert service.state().process == state.process
        assert service.stop(GRACE)
        assert child.wait(5) == 0
        assert not service.state().running
    finally:
        stop_process(child)


def test_another_registry_and_programs_that_only_name_ours_are_not_it(
    site: Site, make_registry: Callable[..., RegistryServer]
) -> None:
    other = make_registry("other").start()
    assert other.running()
    config = str(site.server.config_file)
    pretenders = [
        ["/bin/sh", "-c", "sleep 30; :", site.server.binary, "serve", config],
        ["sleep", "30", "serve", config],
    ]
    children = []
    try:
        for argv in pretenders[:1]:
            children.append(subprocess.Popen(argv))
        children.append(subprocess.Popen(["/usr/bin/timeout", "30", site.server.binary, "serve", "/nothing"]))
        wrapped = subprocess.Popen(
            ["/usr/bin/timeout", "30", site.server.binary, "serve", config], stderr=subprocess.DEVNULL
        )
        children.append(wrapped)
        wait_until(site.server.answers, what="the wrapped registry")
        process = site.service().state().process
        assert process is not None
        assert process.pid != wrapped.pid  # the registry itself, not `timeout`
        assert process.executable == os.path.realpath(site.server.binary)
        assert "processes serve" not in site.service().state().detail
        site.service().stop(GRACE)
        assert not site.service().state().running
        assert other.running()
    finally:
        for child in children:
            stop_process(child)


def test_a_busy_port_is_told_by_the_registrys_own_words(site: Site) -> None:
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", site.server.port))
        squatter.listen()
        with pytest.raises(CommandFailedError) as caught:
            site.service().start()
    assert any("address already in use" in line for line in caught.value.details)
    assert "exit code 1" in site.service().state().detail


def test_the_last_words_are_those_of_this_start(site: Site) -> None:
    site.service().start()
    site.service().stop(GRACE)
    site.server.config_file.write_text("version: 0.1\nstorage: {nonsense: {}}\n")
    with pytest.raises(CommandFailedError) as caught:
        site.service().start()
    assert any("nonsense" in line for line in caught.value.details)
    assert not any("listening on" in line for line in caught.value.details)


def test_an_upload_in_flight_ends_before_the_registry_does(site: Site) -> None:
    site.service().start()
    wait_until(site.server.answers, what="the registry")
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
    connection.request("POST", "/v2/drained/blobs/uploads/")
    location = connection.getresponse().headers["Location"]
    path = location.split(site.server.address, 1)[-1]
    connection.close()
    answers: list[int] = []
    started = threading.Event()

    def upload() -> None:
        slow = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
        slow.putrequest("PATCH", path)
        slow.putheader("Content-Length", "20000")
        slow.putheader("Content-Type", "application/octet-stream")
        slow.endheaders()
        for _ in range(10):
            slow.send(b"x" * 2_000)
            started.set()
            time.sleep(0.12)
        answers.append(slow.getresponse().status)
        slow.close()

    uploader = threading.Thread(target=upload)
    uploader.start()
    started.wait(10)
    assert site.service().stop(GRACE)
    uploader.join()
    assert answers == [202]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start as another user")
def test_it_runs_as_its_user_with_its_environment_file(site: Site) -> None:
    let_pass(site.folder)
    os.chown(site.server.storage, 65534, -1)
    variables = site.folder / "environment"
    variables.write_text("# ours\nREGISTRY_HTTP_SECRET='from a file'\n\nREGISTRY_LOG_LEVEL=debug\n")
    service = site.service(user="nobody", environment_file=str(variables))
    service.start()
    process = service.state().process
    assert process is not None
    assert process.user == "nobody"
    environ = site.host.read(f"/proc/{process.pid}/environ").split(b"\0")
    assert b"REGISTRY_HTTP_SECRET=from a file" in environ
    assert b"REGISTRY_LOG_LEVEL=debug" in environ
    variables.write_text("REGISTRY LOG\n")
    service.stop(GRACE)
    with pytest.raises(ConfigError, match=r"environment:1"):
        service.start()


def test_stale_records_and_old_jobs_do_not_pile_up(site: Site) -> None:
    for _ in range(3):
        site.service().start()
        site.service().stop(GRACE)
    state = site.folder / "state"
    assert os.listdir(state / "jobs") == []
    assert os.listdir(state / "services") == ["main-registry.log"]
