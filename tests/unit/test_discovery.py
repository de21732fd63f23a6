"""Which registry is meant: the one that was named, the one that runs, or the one that a package put there."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ctl.discovery import GITLAB_PLACES, find_registry, supervised_folder, systemd_runs, unit_of
from ctl.errors import UsageError
from ctl.hosts.base import Command, FileInfo, Host, ProcessInfo, Result

DEBIAN = ("/usr/bin/docker-registry", "/etc/docker/registry/config.yml")


def process(pid: int, *argv: str, executable: str = "", user: str = "registry") -> ProcessInfo:
    return ProcessInfo(
        pid=pid, start_time=1, boot_id="b", user=user, argv=argv, executable=executable or argv[0]
    )


class FakeHost:
    """A host with these processes and these files."""

    def __init__(self, *processes: ProcessInfo, files: dict[str, bytes] | None = None) -> None:
        self._processes = processes
        self._files = files or {}

    def processes(self) -> list[ProcessInfo]:
        return list(self._processes)

    def read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def stat(self, path: str) -> FileInfo | None:
        found = self._files.get(path)
        return None if found is None else FileInfo("file", len(found), 0o644, "root", "root", 0.0)


def find(host: FakeHost, config: str | None = None, binary: str | None = None) -> Any:
    return find_registry(cast(Host, host), config, binary)


RUNNING = process(7, "/opt/registry", "serve", "/srv/config.yml")
INSTALLED = {path: b"" for path in DEBIAN}


def test_the_one_that_runs_comes_before_the_one_that_is_installed() -> None:
    found = find(FakeHost(RUNNING, files=INSTALLED))
    assert (found.binary, found.config_file, found.process) == ("/opt/registry", "/srv/config.yml", RUNNING)


def test_the_installed_one_where_none_runs() -> None:
    found = find(FakeHost(process(1, "/sbin/init"), files=INSTALLED))
    assert (found.binary, found.config_file, found.process) == (*DEBIAN, None)


def test_two_that_run_are_named_with_the_options_that_choose() -> None:
    other = process(8, "/usr/bin/docker-registry", "serve", "/etc/docker/registry/config.yml")
    with pytest.raises(UsageError) as caught:
        find(FakeHost(RUNNING, other))
    assert caught.value.details == (
        "--registry-config /srv/config.yml --registry-binary /opt/registry",
        "--registry-config /etc/docker/registry/config.yml --registry-binary /usr/bin/docker-registry",
    )
    assert find(FakeHost(RUNNING, other), "/srv/config.yml").binary == "/opt/registry"
    assert find(FakeHost(RUNNING, other), None, "/usr/bin/docker-registry").process == other


def test_what_was_named_wins_and_its_process_is_found() -> None:
    found = find(FakeHost(RUNNING), "/srv/config.yml", "/opt/registry")
    assert (found.how, found.process) == ("as given", RUNNING)
    assert find(FakeHost(RUNNING), "/srv/other.yml", "/opt/registry").process is None


@pytest.mark.parametrize(
    "other",
    [
        process(9, "/usr/bin/python3", "serve", "/srv/config.yml"),
        process(9, "sudo", "/opt/registry", "serve", "/srv/config.yml", executable="/usr/bin/sudo"),
        process(9, "/opt/registry", "garbage-collect", "/srv/config.yml"),
        process(9, "/opt/registry"),
    ],
)
def test_what_only_looks_like_one_is_none(other: ProcessInfo) -> None:
    with pytest.raises(UsageError) as caught:
        find(FakeHost(other))
    assert "--registry-config" in caught.value.hint


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        (b"0::/system.slice/docker-registry.service\n", "docker-registry"),
        (b"0::/system.slice/system-registry.slice/registry@main.service\n", "registry@main"),
        (b"12:pids:/user.slice\n1:name=systemd:/system.slice/r.service\n", "r"),
        (b"0::/user.slice/user-0.slice/session-1.scope\n", None),
        (b"", None),
    ],
)
def test_the_unit_of_a_process_stands_in_its_control_group(cgroup: bytes, unit: str | None) -> None:
    host = FakeHost(files={"/proc/7/cgroup": cgroup})
    assert unit_of(cast(Host, host), RUNNING) == unit
    assert unit_of(cast(Host, FakeHost()), RUNNING) is None
    assert unit_of(cast(Host, host), None) is None


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        ({"/proc/1/comm": b"systemd\n", "/usr/bin/systemctl": b""}, True),
        ({"/proc/1/comm": b"systemd\n"}, False),
        ({"/proc/1/comm": b"tini\n", "/usr/bin/systemctl": b""}, False),
        ({}, False),
    ],
)
def test_systemd_is_in_charge_only_as_the_first_process(files: dict[str, bytes], answer: bool) -> None:
    assert systemd_runs(cast(Host, FakeHost(files=files))) is answer


# -- GitLab's package --------------------------------------------------------------------------------------

PACKAGE = ("/opt/gitlab/embedded/bin/registry", "/var/opt/gitlab/registry/config.yml")


class SupervisedHost(FakeHost):
    """A host on which readlink knows the working folder of process 5."""

    def run(self, command: Command) -> Result:
        assert command.argv == ("readlink", "-f", "--", "/proc/5/cwd")
        return Result(0, b"/opt/gitlab/service/registry\n", b"", 0.0)


def test_the_packages_registry_is_found_where_gitlab_is_looked_for_and_only_there() -> None:
    host = FakeHost(files={path: b"" for path in PACKAGE})
    found = find_registry(cast(Host, host), None, None, GITLAB_PLACES)
    assert (found.binary, found.config_file) == PACKAGE
    with pytest.raises(UsageError):
        find(host)


def test_a_registry_under_runsv_is_known_by_its_folder() -> None:
    stat = b"7 (reg (is) try) S 5 7 7 0 -1"
    host = SupervisedHost(RUNNING, files={"/proc/7/stat": stat, "/proc/5/comm": b"runsv\n"})
    assert supervised_folder(cast(Host, host), RUNNING) == "/opt/gitlab/service/registry"
    other = SupervisedHost(RUNNING, files={"/proc/7/stat": stat, "/proc/5/comm": b"systemd\n"})
    assert supervised_folder(cast(Host, other), RUNNING) is None
    assert supervised_folder(cast(Host, FakeHost()), RUNNING) is None
    assert supervised_folder(cast(Host, host), None) is None
