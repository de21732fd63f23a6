"""GitLab's configuration on the real program: made, adopted, checked; what we say of it is what it does."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from ctl.config.load import load_site
from ctl.engines.gitlab import Gitlab
from ctl.engines.gitlab_database import unspeakable
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.site import REPOSITORY_ROOT
from tests.support.waiting import clean_environment

GITLAB = Gitlab()
PASSWORDS = [
    "plain", "it's", 'say "x"', "two words", "tab\there", "a\\b", "a\\\\b", "end\\", "a\\'b", "ünï-cödé",
    "#$%&{}=;", "\\ ",
]  # fmt: skip


def test_which_passwords_the_program_can_log_in_with_is_what_we_say(
    gitlab_server: Callable[..., GitlabServer],
    migrated_database: DatabaseAddress,
    postgres_server: PostgresServer,
) -> None:
    found, said = {}, {}
    for password in PASSWORDS:
        with closing(postgres_server.connect()) as connection:
            quoted = password.replace("\\", "\\\\").replace("'", "''")
            connection.execute(f"ALTER ROLE \"{migrated_database.user}\" PASSWORD E'{quoted}'".encode())
        address = DatabaseAddress(
            migrated_database.name,
            migrated_database.socket_folder,
            migrated_database.port,
            migrated_database.user,
            password,
        )
        done = gitlab_server(database=address).run("database", "migrate", "version")
        found[password], said[password] = done.returncode == 0, not unspeakable(password)
    assert found == said


def start(server: GitlabServer, config: dict[str, Any]) -> bool:
    """Say whether the program serves with a configuration (then it is killed)."""
    path = server.folder / "tried.yml"
    path.write_text(yaml.safe_dump(config))
    try:
        done = subprocess.run(
            [server.binary, "serve", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=3,
            env=clean_environment(),
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == 0


FATAL: list[dict[str, Any]] = [
    {"database": {"enabled": "maybe"}},
    {"database": {"enabled": "True"}},
    {"log": {"level": "warning"}},
    {"log": {"output": "nowhere"}},
    {"gc": {"maxbackoff": "1d"}},
    {"http": {"draintimeout": "5"}},
    {"storage": {"swift": {}}},
    {"storage": {"maintenance": {"uploadpurging": {"enabled": True, "age": "168h", "interval": "24h"}}}},
    {"storage": {"maintenance": {"readonly": "yes"}}},
    {"storage": {"redirect": {"expirydelay": 20}}},
    {"storage": {"redirect": {"disable": "true"}}},
    {"storage": {"cache": {"blobdescriptor": "redis"}}},
    {"auth": {"token": {"realm": "r", "issuer": "i", "service": "s"}}},
    {"rate_limiter": {"enabled": True}},
    {"health": {"storagedriver": {"threshold": "three"}}},
    {"notifications": {"endpoints": {"name": "a"}}},
]
HARMLESS: list[dict[str, Any]] = [
    {"nonsense": {}},
    {"database": {"enabled": False, "pol": {}}},
    {"gc": {"maxbackoff": 5, "reviewafter": -1}},
    {"storage": {"redirect": {"disable": True}}},
    {"rate_limiter": {"enabled": False}},
    {"http": {"debug": {"pprof": {"enabled": False}}}},
]


def test_what_we_call_fatal_stops_the_program_and_nothing_else_does(
    gitlab_server: Callable[..., GitlabServer],
) -> None:
    """One start for each would take a minute: those that stop it do so at once, the rest is put together."""
    server = gitlab_server()
    server.write_config()

    def laid_over(change: dict[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(server.config())
        for name, section in change.items():
            merged = {**config.get(name, {}), **section}
            if name == "storage" and "swift" in section:
                merged.pop("filesystem", None)
            config[name] = merged
        return config

    version = GITLAB.parse_version("registry x v4.32.0-gitlab")
    for change in FATAL:
        config = laid_over(change)
        assert any(mistake.fatal for mistake in GITLAB.check_config(config, version)), change
        assert not start(server, config), change
    together = server.config()
    for change in HARMLESS:
        config = laid_over(change)
        assert not any(mistake.fatal for mistake in GITLAB.check_config(config, version)), change
        for name, section in change.items():
            together[name] = {**together.get(name, {}), **section}
    assert start(server, together)


def test_a_file_is_adopted_rendered_applied_and_the_registry_serves_on_it(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database)
    with site:
        found = site.ok("config", "adopt", "--yes")
        assert migrated_database.password not in json.dumps(found)
        applied = site.regctl("config", "apply", "--yes")
        assert applied.exit_code == 0, str(applied)
        assert migrated_database.password not in applied.stdout + applied.stderr
        text = site.server.config_file.read_text()
        assert site.server.config_file.stat().st_mode & 0o037 == 0
        section = yaml.safe_load(text)["database"]
        assert section["password"] == migrated_database.password
        assert section["pool"] == {"maxidle": 5, "maxopen": 5}
        assert section["enabled"] is False
        assert site.ok("config", "check")["nodes"][0] | {"file": ""} == {
            "registry": "main",
            "host": "here",
            "file": "",
            "state": "managed",
            "pending": False,
        }
        assert site.ok("config", "diff")["changes"] is False
        for arguments in (("config", "render"), ("config", "show", "--origin"), ("config", "diff")):
            assert migrated_database.password not in site.regctl(*arguments, output="table").stdout


def test_the_pool_is_always_there_and_enabling_is_one_word_in_the_site(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database, settings={"config": {"database": {"enabled": True}}})
    with site:
        done = site.regctl("config", "apply", "--take-over", "--yes")
        assert done.exit_code == 0, str(done)
        section = yaml.safe_load(site.server.config_file.read_text())["database"]
        assert section["pool"]["maxidle"] == 25
        assert section["connecttimeout"] == "5s"
        lock = site.server.storage / "docker" / "registry" / "lockfiles" / "database-in-use"
        assert lock.is_file()  # the flag is on, so the program said in the storage what it uses


def test_a_password_that_cannot_work_stops_before_anything_is_written(
    gitlab_site: Callable[..., GitlabSite], migrated_database: DatabaseAddress
) -> None:
    site = gitlab_site(database=migrated_database)
    site.write()
    (site.folder / "db.password").write_text("two words\n")
    before = site.server.config_file.read_bytes()
    for arguments in (("config", "apply", "--take-over", "--yes"), ("config", "check")):
        done = site.regctl(*arguments)
        assert done.exit_code == 10, str(done)
        assert "two words" not in done.stdout + done.stderr
    assert "space or a backslash" in site.regctl("config", "check", output="table").stdout
    assert site.server.config_file.read_bytes() == before


def test_the_environment_is_judged_with_the_file(
    gitlab_site: Callable[..., GitlabSite], tmp_path: Path
) -> None:
    variables = tmp_path / "environment"
    variables.write_text("REGISTRY_HTTP_ADDR=:1\nREGISTRY_FF_OTHER=True\n")
    site = gitlab_site(
        overlay={"database": {"enabled": "prefer", "host": "h", "user": "u", "dbname": "d"}},
        settings={"features": {"enforce_lockfiles": False}},
    )
    described = site.write().description()
    described["registries"]["main"]["nodes"][0]["environment_file"] = str(variables)
    site.site_file.write_text(yaml.safe_dump(described))
    done = site.regctl("config", "check")
    assert "findings" in done.json, str(done)
    messages = " | ".join(finding["message"] for finding in done.json["findings"])
    assert done.exit_code == 10
    assert "REGISTRY_HTTP_ADDR in" in messages
    assert "never imported seem gone" in messages
    assert "REGISTRY_FF_OTHER is neither true nor false" in messages


def test_features_are_told_by_version_and_metadata(gitlab_site: Callable[..., GitlabSite]) -> None:
    site = gitlab_site()
    site.write()
    found = site.ok("registry", "features")
    rows = {row["name"]: row for row in found["features"]}
    assert found["nodes"] == [{"host": "here", "version": "4.32.0", "metadata": "filesystem"}]
    assert (rows["collects"]["available"], rows["collects"]["usable"]) == (True, True)
    assert (rows["online-gc"]["available"], rows["online-gc"]["usable"]) == (True, False)
    assert (rows["schema1-manifests"]["available"], rows["prefer"]["since"]) == (False, "4.31.0")


# -- fault 15: every node is known ------------------------------------------------------------------------


def test_fault_15_every_node_is_checked_and_files_that_differ_are_named(
    gitlab_site: Callable[..., GitlabSite], gitlab_server: Callable[..., GitlabServer]
) -> None:
    site, other = gitlab_site(), gitlab_server("second")
    other.overlay = {"gc": {"maxbackof": "1h"}, "storage": {"filesystem": {"rootdirectory": "/elsewhere"}}}
    other.write_config()
    described = site.write().description()
    node = described["registries"]["main"]["nodes"][0]
    described["hosts"]["there"] = {"connection": "local"}
    second = {**copy.deepcopy(node), "host": "there", "config_file": str(other.config_file), "url": other.url}
    described["registries"]["main"]["nodes"].append(second)
    site.site_file.write_text(yaml.safe_dump(described))
    checked = site.regctl("config", "check")
    assert checked.exit_code == 10, str(checked)
    found = checked.json
    assert "nodes" in found, str(checked)
    assert [item["host"] for item in found["nodes"]] == ["here", "there"]
    assert [(f["host"], f["path"]) for f in found["findings"] if f["path"].startswith("gc")] == [
        ("there", "gc.maxbackof")
    ]
    refused = site.regctl("config", "adopt", "--yes")
    assert refused.exit_code == 10, str(refused)
    assert "differs from the first node's" in refused.stdout + refused.stderr


# -- init -------------------------------------------------------------------------------------------------


def test_init_makes_the_site_from_an_existing_file(
    tmp_path: Path, gitlab_server: Callable[..., GitlabServer], migrated_database: DatabaseAddress
) -> None:
    server = gitlab_server(database=migrated_database)
    server.write_config()
    site = tmp_path / "etc" / "site.yml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ctl", "--site", str(site), "--state-dir", str(tmp_path / "state")),
            *("--output", "json", "init", "--registry-config", str(server.config_file)),
            *("--registry-binary", server.binary),
        ],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env=clean_environment(PYTHONPATH=str(REPOSITORY_ROOT)),
    )
    assert done.returncode == 0, done.stderr
    assert migrated_database.password.encode() not in done.stdout + done.stderr + site.read_bytes()
    assert json.loads(done.stdout)["engine"] == "gitlab"  # its program says so
    loaded = load_site(str(site)).site
    registry, database = loaded.registries["main"], loaded.databases["gitlab"]
    assert (registry.engine, registry.database) == ("gitlab", "gitlab")
    assert (database.host, database.port, database.dbname) == (
        "127.0.0.1",
        migrated_database.port,
        migrated_database.name,
    )
    assert database.password is not None
    secret = Path(database.password.removeprefix("file:"))
    assert secret.read_text() == f"{migrated_database.password}\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert registry.config == {
        "http": {"secret": f"file:{tmp_path / 'etc' / 'secrets' / 'main.http.secret'}"}
    }
