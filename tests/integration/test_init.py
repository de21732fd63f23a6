"""The first site, from registries as people really have them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctl.config.load import load_site
from tests.support import programs
from tests.support.registry import RegistryServer
from tests.support.site import REPOSITORY_ROOT, Done
from tests.support.waiting import clean_environment

pytestmark = pytest.mark.registry
DEBIANS = Path("/etc/docker/registry/config.yml")


@pytest.fixture
def init(tmp_path: Path) -> Callable[..., Done]:
    def run(*arguments: str, environment: dict[str, str] | None = None, **options: str) -> Done:
        site = options.get("site", str(tmp_path / "etc" / "site.yml"))
        argv = [sys.executable, "-m", "ctl", "--output", "json", "--state-dir", str(tmp_path / "state")]
        done = subprocess.run(
            [*argv, *(["--site", site] if site else []), "init", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            env=clean_environment(PYTHONPATH=str(REPOSITORY_ROOT), **(environment or {})),
            cwd=tmp_path,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def written(tmp_path: Path) -> Any:
    return load_site(str(tmp_path / "etc" / "site.yml")).site


def given(server: RegistryServer) -> tuple[str, ...]:
    return ("--registry-config", str(server.config_file), "--registry-binary", server.binary)


def test_debians_shipped_configuration(tmp_path: Path, init: Callable[..., Done]) -> None:
    done = init("--registry-config", str(DEBIANS), "--registry-binary", programs.docker_registry())
    assert done.exit_code == 0, str(done)
    registry = written(tmp_path).registries["main"]
    shipped = DEBIANS.read_text()
    root = re.search(r"rootdirectory: (\S+)", shipped)
    assert root is not None
    assert registry.storage.filesystem.rootdirectory == root.group(1)
    assert registry.nodes[0].url == "http://127.0.0.1:5000"
    assert registry.nodes[0].config_file == str(DEBIANS)
    assert registry.database == written(tmp_path).control_database == "metadata"
    assert "# credentials:" in (tmp_path / "etc" / "site.yml").read_text()
    assert any("auth.htpasswd.path" in warning for warning in done.json["warnings"])
    assert "status" in done.stderr


def test_a_hand_written_one_that_runs_with_its_passwords_moved_out(
    tmp_path: Path, init: Callable[..., Done]
) -> None:
    overlay = {
        "http": {"secret": "hunter2 and more"},
        "redis": {"addr": "127.0.0.1:1", "password": "swordfish"},
        "notifications": {
            "endpoints": [
                {
                    "name": "x",
                    "disabled": True,
                    "url": "http://127.0.0.1:1",
                    "headers": {"Authorization": ["Bearer x"]},
                }
            ]
        },
    }
    with RegistryServer(tmp_path / "registry", overlay=overlay) as server:
        before = server.config_file.read_bytes()
        done = init("--registry-config", str(server.config_file), "--name", "team")
        assert done.exit_code == 0, str(done)
        assert server.config_file.read_bytes() == before
        made = written(tmp_path).registries["team"]
        assert made.nodes[0].url == server.url
        assert made.nodes[0].binary == server.binary
        assert made.nodes[0].service.kind == "process"
        text = (tmp_path / "etc" / "site.yml").read_text()
        for secret in ("hunter2", "swordfish", "Bearer"):
            assert secret not in text + done.stdout + done.stderr
        secrets = tmp_path / "etc" / "secrets"
        assert made.config["http"]["secret"] == f"file:{secrets}/team.http.secret"
        assert (secrets / "team.redis.password").read_text() == "swordfish\n"
        assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
        assert (tmp_path / "etc" / "site.yml").stat().st_mode & 0o777 == 0o640
        assert any("Authorization" in warning for warning in done.json["warnings"])


def test_a_site_that_is_there_is_never_overwritten(tmp_path: Path, init: Callable[..., Done]) -> None:
    site = tmp_path / "etc" / "site.yml"
    site.parent.mkdir()
    site.write_text("mine\n")
    done = init("--registry-config", str(DEBIANS), "--registry-binary", programs.docker_registry())
    assert (done.exit_code, done.json["result"]) == (6, "refused")
    assert site.read_text() == "mine\n"
    assert os.listdir(site.parent) == ["site.yml"]


def test_a_dry_run_prints_the_file_and_writes_nothing(tmp_path: Path, init: Callable[..., Done]) -> None:
    arguments = ("--registry-config", str(DEBIANS), "--registry-binary", programs.docker_registry())
    done = init(*arguments, "--dry-run")
    assert (done.exit_code, done.json["result"]) == (0, "pending"), str(done)
    assert "registries:" in done.json["text"]
    assert list(tmp_path.iterdir()) == []


def test_the_site_may_be_named_by_the_environment(tmp_path: Path, init: Callable[..., Done]) -> None:
    elsewhere = tmp_path / "elsewhere" / "my.yml"
    arguments = ("--registry-config", str(DEBIANS), "--registry-binary", programs.docker_registry())
    done = init(*arguments, site="", environment={"REGCTL_SITE": str(elsewhere)})
    assert done.exit_code == 0, str(done)
    assert load_site(str(elsewhere)).site.version == 1


def write(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "config.yml"
    path.write_text(text)
    return ("--registry-config", str(path), "--registry-binary", programs.docker_registry())


HEAD = "version: 0.1\nstorage: {filesystem: {rootdirectory: /srv/images}}\n"


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("version: 0.1\nstorage: {s3: {bucket: b}}\nhttp: {addr: ':1'}\n", 6, "filesystem"),
        ("version: 0.1\nstorage: {inmemory: }\nhttp: {addr: ':1'}\n", 6, "inmemory"),
        (
            "version: 0.1\nstorage: {filesystem: {rootdirectory: images}}\nhttp: {addr: ':1'}\n",
            10,
            "absolute",
        ),
        (HEAD, 10, "http.addr"),
        (HEAD + "http: {net: unix, addr: /run/r.sock}\n", 6, "unix"),
        ("version: [\n", 10, "cannot be read"),
        ("", 10, "cannot be read"),
    ],
)
def test_what_cannot_be_described_is_refused_in_words(
    tmp_path: Path, init: Callable[..., Done], text: str, code: int, word: str
) -> None:
    done = init(*write(tmp_path, text))
    assert done.exit_code == code, str(done)
    assert word in done.stdout
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize(
    ("http", "url"),
    [
        ("{addr: ':5000'}", "http://127.0.0.1:5000"),
        ("{addr: '0.0.0.0:5000', prefix: /nested/}", "http://127.0.0.1:5000/nested"),
        ("{addr: '[::1]:5000'}", "http://[::1]:5000"),
        (
            "{addr: ':443', host: 'https://r.example.com', tls: {certificate: /c, key: /k}}",
            "https://r.example.com:443",
        ),
    ],
)
def test_where_it_answers_is_told_from_its_file(
    tmp_path: Path, init: Callable[..., Done], http: str, url: str
) -> None:
    done = init(*write(tmp_path, f"{HEAD}http: {http}\n"))
    assert done.exit_code == 0, str(done)
    assert written(tmp_path).registries["main"].nodes[0].url == url


def test_a_program_that_is_no_registry_is_refused(tmp_path: Path, init: Callable[..., Done]) -> None:
    arguments = list(write(tmp_path, HEAD + "http: {addr: ':1'}\n"))
    arguments[-1] = "/bin/true"
    done = init(*arguments)
    assert done.exit_code == 10, str(done)
    assert not (tmp_path / "etc").exists()


def test_a_file_name_cannot_become_a_setting(tmp_path: Path, init: Callable[..., Done]) -> None:
    folder = tmp_path / "a # b: {c}\n  state_dir: x"
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(HEAD + "http: {addr: ':5000'}\n")
    done = init("--registry-config", str(config), "--registry-binary", programs.docker_registry())
    if done.exit_code == 0:
        assert written(tmp_path).registries["main"].nodes[0].config_file == str(config)
        assert written(tmp_path).state_dir == str(tmp_path / "state")
    else:
        assert done.exit_code == 10
        assert "control characters" in json.dumps(done.json)
