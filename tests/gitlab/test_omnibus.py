"""A node whose file gitlab-ctl writes: regctl asks for changes in gitlab.rb's words, waits and proves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.support import programs
from tests.support.collecting import mode
from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.omnibus import assignments, render

SECRET = "the-secret-that-all-nodes-share"
PASSWORD = "a-password-nobody-may-see"


class OmnibusServer(GitlabServer):
    """A server whose file is rendered from `registry[...]` settings of gitlab.rb."""

    def settings(self) -> dict[str, Any]:
        """What gitlab.rb says; kept in a file beside it."""
        path = self.folder / "gitlab.json"
        if not path.exists():
            path.write_text(
                json.dumps(
                    {
                        "storage": {
                            "filesystem": {"rootdirectory": str(self.storage)},
                            "delete": {"enabled": True},
                            "cache": {"blobdescriptor": "inmemory"},
                        },
                        "database": {
                            "enabled": "false",
                            "host": "127.0.0.1",
                            "port": 1,
                            "user": "registry",
                            "password": PASSWORD,
                            "dbname": "registry",
                            "sslmode": "disable",
                        },
                        "registry_http_addr": self.address,
                        "http_secret": SECRET,
                    }
                )
            )
        found = json.loads(path.read_text())
        assert isinstance(found, dict)
        return found

    def write_config(self) -> Path:
        """Write the file as gitlab-ctl does."""
        if not self.port:
            super().write_config()
        self.storage.mkdir(exist_ok=True)
        self.config_file.write_text(render(self.settings()))
        return self.config_file

    def edit(self, lines: str) -> None:
        """Put lines into gitlab.rb: what has the same name is replaced."""
        changed = {**self.settings(), **assignments(lines)}
        (self.folder / "gitlab.json").write_text(json.dumps(changed))


class OmnibusSite(GitlabSite):
    """A site over such a node."""

    by_key = True

    def description(self) -> dict[str, Any]:
        """The site as data."""
        described = super().description()
        if self.by_key:
            described["registries"]["main"]["nodes"][0]["generated_by"] = "omnibus"
        return described

    def reconfigure(self) -> None:
        """What the operator does: the file is written anew and the registry restarted."""
        self.server.write_config()
        self.server.stop()
        self.kill_leftovers()
        self.server.start()

    @property
    def lines(self) -> Path:
        """Where regctl puts the lines for gitlab.rb."""
        return self.state_dir / "omnibus" / "main-here.rb"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[OmnibusSite]:
    require(programs.gitlab_registry)
    with OmnibusSite(tmp_path / "site", OmnibusServer(tmp_path / "registry")) as site:
        assert isinstance(site, OmnibusSite)
        yield site
        site.server.stop()


def server(site: OmnibusSite) -> OmnibusServer:
    assert isinstance(site.server, OmnibusServer)
    return site.server


def test_a_read_only_window_is_refused_with_the_lines_that_make_it(site: OmnibusSite) -> None:
    before, running = site.server.config_file.read_bytes(), site.processes()
    done = site.regctl("read-only", "on", "--yes", output="table")
    assert done.exit_code == 6, str(done)
    assert "written by gitlab-ctl" in done.stderr
    assert site.server.config_file.read_bytes() == before
    assert [pid for _, pid in site.processes()] == [pid for _, pid in running]
    said = done.stderr[done.stderr.index("registry['storage']") :].partition("\n\n")[0]
    lines = said[: said.rindex("}") + 1]
    storage = assignments(lines)["storage"]
    assert storage == {
        **server(site).settings()["storage"],  # all of it: gitlab.rb's hash replaces the old one
        "maintenance": {"readonly": {"enabled": True}},
    }
    assert site.regctl("gc", "--read-only", "--yes").exit_code == 6
    server(site).edit(lines)
    site.reconfigure()
    assert mode(site.server) == "read-only"
    after = site.server.config_file.read_bytes()
    assert site.ok("read-only", "on", "--yes")["result"] == "nothing-to-do"
    assert site.server.config_file.read_bytes() == after


def change(site: OmnibusSite, config: dict[str, Any]) -> None:
    site.settings["config"] = config
    server_config = site.server.config_file.read_bytes()
    site.write()
    site.server.config_file.write_bytes(server_config)


def test_apply_asks_waits_proves_and_notices_what_is_written_behind_our_back(site: OmnibusSite) -> None:
    change(site, {"gc": {"maxbackoff": "1h"}, "http": {"draintimeout": "20s"}})
    before = site.server.config_file.read_bytes()
    assert site.regctl("config", "check").json["nodes"][0]["state"] == "generated"
    asked = site.regctl("config", "apply", "--yes")
    assert asked.exit_code == 3, str(asked)
    assert site.server.config_file.read_bytes() == before
    assert site.lines.stat().st_mode & 0o777 == 0o600
    assert assignments(site.lines.read_text()) == {"gc": {"maxbackoff": "1h"}, "http_draintimeout": "20s"}

    site.lines.unlink()

    def reconfigure_later() -> None:
        while not site.lines.exists() or not site.lines.read_text():
            time.sleep(0.1)
        time.sleep(1.0)
        server(site).edit(site.lines.read_text())
        site.reconfigure()

    operator = threading.Thread(target=reconfigure_later)
    operator.start()
    done = site.regctl("config", "apply", "--wait", "60", "--yes")
    operator.join()
    assert done.exit_code == 0, str(done)
    assert done.json["result"] == "changed"
    assert not site.lines.exists()
    assert site.regctl("config", "apply", "--yes").json["result"] == "nothing-to-do"

    settings = server(site).settings()
    del settings["gc"]  # a colleague takes it out again
    (server(site).folder / "gitlab.json").write_text(json.dumps(settings))
    site.reconfigure()
    checked = site.regctl("config", "check")
    assert checked.exit_code == 3, str(checked)
    assert any("anew since regctl proved it" in f["message"] for f in checked.json["findings"])
    attention = site.regctl("status", output="table").stdout
    assert "gitlab-ctl has written" in attention, attention
    shown = site.ok("config", "diff")["nodes"][0]["diff"]
    assert assignments(shown)["gc"] == {"maxbackoff": "1h"}


def test_a_reconfigure_that_does_not_bring_it_is_named(site: OmnibusSite) -> None:
    change(site, {"gc": {"maxbackoff": "1h"}})
    done = site.regctl("config", "apply", "--wait", "2", "--yes", output="table")
    assert done.exit_code == 1, str(done)
    assert "was not written within 2 s" in done.stderr


def test_what_gitlab_rb_cannot_say_stops_before_anything(site: OmnibusSite) -> None:
    change(site, {"log": {"output": "stderr"}})  # no name there, and the environment would override the file
    done = site.regctl("config", "apply", "--yes")
    assert done.exit_code in (3, 6), str(done)
    change(site, {"storage": {"maintenance": {"uploadpurging": {"enabled": True}}}})
    assert site.regctl("config", "apply", "--yes").exit_code == 10


def test_no_secret_is_ever_shown_and_the_password_stays_in_its_file(
    site: OmnibusSite, tmp_path: Path
) -> None:
    secret = tmp_path / "new.password"
    secret.write_text("another-word\n")
    secret.chmod(0o600)
    change(site, {"database": {"pool": {"maxidle": 5}, "password": f"file:{secret}"}})
    for output, *arguments in (
        ("table", "config", "diff"),
        ("json", "config", "render"),
        ("table", "config", "apply", "--dry-run"),
        ("jsonl", "config", "apply", "--yes"),
        ("json", "config", "check"),
    ):
        done = site.regctl(*arguments, output=output)
        for word in (SECRET, PASSWORD, "another-word"):
            assert word not in done.stdout + done.stderr, arguments
    text = site.lines.read_text()
    assert "another-word" not in text
    database = assignments(text)["database"]
    assert database["password"] == "another-word"
    assert database["pool"] == {"maxidle": 5}
    assert database["host"] == "127.0.0.1"


def test_its_shape_tells_without_a_word_in_the_site(tmp_path: Path) -> None:
    require(programs.gitlab_registry)
    site = OmnibusSite(tmp_path / "site", OmnibusServer(tmp_path / "registry"))
    site.by_key = False
    with site:
        assert site.regctl("config", "check").json["nodes"][0]["state"] == "generated"
        assert site.regctl("read-only", "on", "--yes").exit_code == 6


def test_adopting_makes_the_site_from_it_and_then_there_is_nothing_to_ask(site: OmnibusSite) -> None:
    before = site.server.config_file.read_bytes()
    site.ok("config", "adopt", "--yes")
    shown = site.ok("config", "diff")
    assert shown["changes"] is False, shown
    proved = site.regctl("config", "apply", "--yes")
    assert proved.exit_code == 0, str(proved)
    assert site.server.config_file.read_bytes() == before
    assert json.loads((site.state_dir / "omnibus" / "main-here.json").read_text())["sha256"]
