"""What `regctl doctor` looks at, each check against a good and a bad case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctl import diagnosis
from ctl.config.models import Site
from ctl.diagnosis import Finding

SCRIPT = "#!/usr/bin/python3\nfrom ctl.__main__ import main\n"


def program(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_each_regctl_on_path_is_named(tmp_path: Path) -> None:
    program(tmp_path / "a", "regctl", b"\x7fELF" + b"\0" * 5000 + diagnosis.REGCLIENT_MARK)
    program(tmp_path / "b", "regctl", SCRIPT.encode())
    program(tmp_path / "c", "regctl", b"#!/bin/sh\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "regctl").write_text("not executable")
    found = list(diagnosis.programs_named_regctl(os.pathsep.join(str(tmp_path / x) for x in "abcd")))
    assert levels(found) == ["warning", "ok", "ok"]
    assert "regclient's, another program and is what `regctl` runs" in found[0].message
    assert "registry-maintain" in found[0].fix
    assert "registry-maintain's and comes later on PATH" in found[1].message
    assert "another program" in found[2].message


def test_ours_first_is_fine(tmp_path: Path) -> None:
    ours = program(tmp_path / "a", "regctl", SCRIPT.encode())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "regctl").symlink_to(ours)
    found = list(diagnosis.programs_named_regctl(f"{tmp_path}/a:{tmp_path}/b::/nowhere"))
    assert levels(found) == ["ok"], "the same program by another name counts once"


def test_none_on_path_is_said_and_is_no_fault(tmp_path: Path) -> None:
    (found,) = diagnosis.programs_named_regctl(str(tmp_path))
    assert (found.level, found.message.partition(";")[0]) == ("ok", "no regctl is on PATH")


def test_this_environment_has_its_libraries() -> None:
    found = {finding.check: finding for finding in diagnosis.python_and_libraries()}
    assert found["python"].level == "ok"
    assert found["libraries"].level in ("ok", "warning")


def test_a_library_that_is_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["click>=8.1", "rich>=99", "gone>=1"])
    found = [f for f in diagnosis.python_and_libraries() if f.check == "libraries"]
    assert levels(found) == ["error", "error"]
    assert ">=99 is needed" in found[0].message
    assert "gone is not installed" in found[1].message


@pytest.mark.parametrize(
    ("mode", "secret", "level"),
    [
        (0o600, True, "ok"),
        (0o640, True, "ok"),
        (0o644, True, "error"),
        (0o660, True, "error"),
        (0o644, False, "ok"),
        (0o664, False, "error"),
        (0o666, False, "error"),
    ],
)
def test_who_may_read_and_change_files(mode: int, secret: bool, level: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    found = diagnosis.private_file(str(path), "the file", secret=secret)
    assert found.level == level
    assert bool(found.fix) is (level != "ok")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert diagnosis.private_file(str(tmp_path / "none"), "the file", secret=False).level == "error"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, 12345, 12345)
    assert "another user (12345)" in diagnosis.private_file(str(path), "the file", secret=True).message


def test_the_state_folder(tmp_path: Path) -> None:
    assert diagnosis.state_directory(str(tmp_path / "not" / "yet")).level == "ok"
    assert not (tmp_path / "not").exists(), "looking creates nothing"
    assert diagnosis.state_directory(str(tmp_path)).level == "ok"
    (tmp_path / "file").touch()
    assert diagnosis.state_directory(str(tmp_path / "file")).level == "error"
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert diagnosis.state_directory(str(tmp_path / "open")).level == "error"


def site(binary: str, password: str) -> Site:
    return Site.model_validate(
        {
            "version": 1,
            "hosts": {"here": {}},
            "databases": {"metadata": {"embedded": True}},
            "registries": {
                "main": {
                    "engine": "distribution",
                    "credentials": {"username": "regctl", "password": password},
                    "storage": {"filesystem": {"rootdirectory": "/srv"}},
                    "nodes": [
                        {
                            "host": "here",
                            "binary": binary,
                            "config_file": "/etc/config.yml",
                            "url": "http://127.0.0.1:5000",
                            "service": {"kind": "process", "name": "x"},
                        }
                    ],
                }
            },
        }
    )


def test_secrets_are_looked_at_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    (found,) = diagnosis.site_secrets(site("/bin/true", f"file:{secret}"))
    assert (found.level, found.fix) == ("error", f"chmod 0600 {secret}")
    assert "hunter2" not in found.message
    monkeypatch.delenv("A_PASSWORD", raising=False)
    (found,) = diagnosis.site_secrets(site("/bin/true", "env:A_PASSWORD"))
    assert (found.level, found.fix) == ("warning", "export A_PASSWORD")
    (found,) = diagnosis.site_secrets(site("/bin/true", "command:/nowhere/vault read x"))
    assert "no program /nowhere/vault" in found.message
    assert list(diagnosis.site_secrets(site("/bin/true", "command:/bin/true"))) == []


def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(diagnosis.helper_programs(site("/nowhere/registry", "env:X")))
    assert found[0].level == "error"
    assert "/nowhere/registry is missing" in found[0].message
    (tmp_path / "registry").touch(0o644)
    assert (
        "cannot be executed"
        in next(iter(diagnosis.helper_programs(site(f"{tmp_path}/registry", "env:X")))).message
    )
    monkeypatch.setattr(diagnosis, "POSTGRES_FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    database = [f for f in diagnosis.helper_programs(site("/bin/true", "env:X")) if "PostgreSQL" in f.message]
    assert levels(database) == ["error"]
    program(tmp_path / "15" / "bin", "postgres", b"")
    database = [f for f in diagnosis.helper_programs(site("/bin/true", "env:X")) if "PostgreSQL" in f.message]
    assert levels(database) == ["ok"]
