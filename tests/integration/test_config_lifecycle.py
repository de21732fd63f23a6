"""A registry's file from somebody else's to regctl's and through a hand edit, on a real registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctl.config.document import read_registry_config
from ctl.config.ownership import classify
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest

pytestmark = pytest.mark.registry
SECRET = 'a "secret"\n  of: the tests'  # tries to become a key of its own


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteUnderTest]:
    overlay = {"http": {"secret": SECRET}, "log": {"level": "warn"}, "health": None}
    server = RegistryServer(tmp_path / "registry", overlay=overlay)
    with SiteUnderTest(tmp_path, server) as made:
        yield made


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, regctl's own runs aside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "state" not in path.parts and path.suffix != ".log"
    }


def pid(site: SiteUnderTest) -> int:
    found = site.regctl("service", "status").json["services"][0]["pid"]
    assert isinstance(found, int)
    return found


def settings(site: SiteUnderTest) -> dict[str, Any]:
    return read_registry_config(site.server.config_file.read_bytes(), "config.yml")


def test_adopt_then_apply_makes_the_file_ours_and_means_the_same(site: SiteUnderTest) -> None:
    before, original = settings(site), site.server.config_file.read_bytes()
    first = pid(site)

    refused = site.regctl("config", "apply", "--yes")
    assert refused.exit_code == 6, str(refused)
    assert "config adopt" in refused.stderr
    assert site.server.config_file.read_bytes() == original

    adopted = site.regctl("config", "adopt", "--yes")
    assert adopted.exit_code == 0, str(adopted)
    assert site.server.config_file.read_bytes() == original, "adopt does not touch the file"
    secret = site.folder / "secrets" / "main.http.secret"
    assert secret.read_text() == SECRET + "\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    drop_in = site.folder / "site.d" / "50-regctl.yml"
    assert "of: the tests" not in drop_in.read_text()

    diff = site.regctl("config", "diff", "--detailed-exitcode")
    assert diff.exit_code == 4
    assert "of: the tests" not in diff.stdout + diff.stderr

    applied = site.regctl("config", "apply", "--yes")
    assert applied.exit_code == 0, str(applied)
    assert "of: the tests" not in applied.stdout + applied.stderr
    assert settings(site) == before
    assert classify(site.server.config_file.read_bytes()).state == "managed"
    assert site.server.config_file.stat().st_mode & 0o037 == 0
    assert pid(site) != first, "it was restarted with the new file"
    assert site.server.answers()
    copies = list(site.server.folder.glob("config.yml.before-*"))
    assert [copy.read_bytes() for copy in copies] == [original]
    assert copies[0].stat().st_mode & 0o777 == 0o600

    again = site.regctl("config", "apply", "--yes")
    assert (again.exit_code, again.json["result"]) == (0, "nothing-to-do")
    nothing = site.regctl("config", "diff", "--detailed-exitcode")
    assert (nothing.exit_code, nothing.json["changes"]) == (0, False)


def test_a_hand_edit_is_shown_and_kept_until_it_is_settled(site: SiteUnderTest) -> None:
    site.ok("config", "adopt", "--yes")
    site.ok("config", "apply", "--yes")
    managed = site.server.config_file.read_bytes()
    edited = managed.replace(b"level: warn", b"level: debug")
    assert edited != managed
    site.server.config_file.write_bytes(edited)

    check = site.regctl("config", "check")
    assert check.exit_code == 3
    assert check.json["nodes"][0]["state"] == "drifted"
    diff = site.regctl("config", "diff").json["nodes"][0]
    assert "-  level: debug" in diff["diff"]
    assert "+  level: warn" in diff["diff"]

    refused = site.regctl("config", "apply", "--yes", "--take-over")
    assert refused.exit_code == 6
    assert site.server.config_file.read_bytes() == edited

    overwritten = site.regctl("config", "apply", "--yes", "--overwrite-drift")
    assert overwritten.exit_code == 0, str(overwritten)
    assert site.server.config_file.read_bytes() == managed

    site.server.config_file.write_bytes(edited)
    site.ok("config", "adopt", "--yes")
    after = site.regctl("config", "apply", "--yes")
    assert after.exit_code == 6, "the edits are in the site, but the file is still somebody's edit"
    assert "the site says all that it sets" in after.stderr
    site.ok("config", "apply", "--yes", "--overwrite-drift")
    assert settings(site)["log"]["level"] == "debug"
    assert classify(site.server.config_file.read_bytes()).state == "managed"


def test_a_file_with_which_the_registry_does_not_start_is_taken_back(site: SiteUnderTest) -> None:
    site.ok("config", "adopt", "--yes")
    site.ok("config", "apply", "--yes")
    good = site.server.config_file.read_bytes()
    # right by every rule that can be checked beforehand, and yet it cannot listen there
    folder = site.folder / "site.d" / "60-broken.yml"
    folder.write_text("registries: {main: {config: {http: {debug: {addr: '192.0.2.1:1'}}}}}\n")
    failed = site.regctl("config", "apply", "--yes")
    assert failed.exit_code not in (0, 6), str(failed)
    assert site.server.config_file.read_bytes() == good
    assert site.server.answers(), "it runs again with the file that was"


def test_a_stopped_registry_stays_stopped_and_gets_a_secret_of_its_own(tmp_path: Path) -> None:
    server = RegistryServer(tmp_path / "registry", overlay={"http": {"secret": None, "draintimeout": None}})
    with SiteUnderTest(tmp_path, server) as site:
        assert site.regctl("service", "stop", "--yes").exit_code in (0, 3)  # it may warn: no drain
        site.ok("config", "adopt", "--yes")
        site.ok("config", "apply", "--yes")
        assert not server.answers()
        http = settings(site)["http"]
        assert http["draintimeout"] == "60s"
        assert http["secret"] == (tmp_path / "secrets" / "main.http.secret").read_text().strip()
        assert len(http["secret"]) == 64
        shown = site.ok("config", "show", "--origin")
        place = str(tmp_path / "site.d" / "50-regctl.yml")
        assert shown["origins"]["registries.main.config.http.secret"].startswith(place)


def test_a_dry_run_writes_nothing(site: SiteUnderTest) -> None:
    before = files(site.folder)
    for arguments in (["adopt"], ["apply", "--take-over"]):
        done = site.regctl("config", *arguments, "--dry-run")
        assert (done.exit_code, done.json["result"]) == (0, "pending"), str(done)
        assert "of: the tests" not in done.stdout + done.stderr
    assert files(site.folder) == before


def test_what_the_registry_would_ignore_is_refused_before_it_is_written(site: SiteUnderTest) -> None:
    site.ok("config", "adopt", "--yes")
    (site.folder / "site.d" / "60-mine.yml").write_text(
        "registries: {main: {config: {storage: {delete: {enable: true}}}}}\n"
    )
    before = site.server.config_file.read_bytes()
    check = site.regctl("config", "check")
    assert check.exit_code == 10
    assert any("storage.delete.enable" in finding["path"] for finding in check.json["findings"])
    refused = site.regctl("config", "apply", "--yes")
    assert refused.exit_code == 10, str(refused)
    assert site.server.config_file.read_bytes() == before


def test_a_broken_site_ends_with_ten_and_every_line(site: SiteUnderTest) -> None:
    site.site_file.write_text(site.site_file.read_text().replace("version: 1", "version: 2\nmore: 1"))
    done = site.regctl("config", "show")
    assert done.exit_code == 10
    assert "site.yml:" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a registry as another user")
def test_a_file_open_to_all_is_closed_but_the_registrys_user_keeps_reading(site: SiteUnderTest) -> None:
    site.server.config_file.chmod(0o644)
    text = site.site_file.read_text()
    site.site_file.write_text(text.replace("      config_file:", "      user: nobody\n      config_file:", 1))
    assert "user: nobody" in site.site_file.read_text()
    site.ok("service", "stop", "--yes")
    site.ok("config", "adopt", "--yes")
    site.ok("config", "apply", "--yes")
    found = site.server.config_file.stat()
    assert found.st_mode & 0o777 == 0o640
    assert found.st_gid == 65534  # Debian's nogroup
