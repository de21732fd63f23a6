"""Secrets come from where the site points, and are shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ctl.config.secrets import (
    hidden,
    inline_secrets,
    keep_secret,
    moved_out,
    redact_text,
    resolve_secret,
    revealed,
    with_secrets,
)
from ctl.errors import ConfigError, RefusedError
from ctl.secret import Secret


def nothing(argv: tuple[str, ...]) -> bytes:
    raise AssertionError(f"{argv} was run")


def test_from_the_environment() -> None:
    assert resolve_secret("env:PW", nothing, {"PW": "s3cret"}).reveal() == "s3cret"
    with pytest.raises(ConfigError, match="PW is not set"):
        resolve_secret("env:PW", nothing, {})


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_from_a_file_that_only_we_can_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pw"
    path.write_text("s3cret\n")
    path.chmod(mode)
    assert resolve_secret(f"file:{path}", nothing).reveal() == "s3cret"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o601, 0o610, 0o666])
def test_a_file_open_to_others_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pw"
    path.write_text("s3cret")
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        resolve_secret(f"file:{path}", nothing)
    assert caught.value.hint == f"chmod 0600 {path}"
    assert "s3cret" not in str(vars(caught.value))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    path.write_text("s3cret")
    path.chmod(0o600)
    os.chown(path, 4242, 4242)
    with pytest.raises(ConfigError, match="belongs to user 4242"):
        resolve_secret(f"file:{path}", nothing)


@pytest.mark.parametrize(("make", "what"), [("mkdir", "not a file"), ("", "cannot be read")])
def test_what_is_no_file_is_refused(tmp_path: Path, make: str, what: str) -> None:
    path = tmp_path / "pw"
    if make:
        path.mkdir(0o700)
    with pytest.raises(ConfigError, match=what):
        resolve_secret(f"file:{path}", nothing)


def test_a_pipe_in_a_secrets_place_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="not a file"):
        resolve_secret(f"file:{path}", nothing)


def test_from_a_program_without_a_shell() -> None:
    seen = []

    def run(argv: tuple[str, ...]) -> bytes:
        seen.append(argv)
        return b"from vault\n"

    assert resolve_secret("command:vault read 'a b' $HOME ; x", run).reveal() == "from vault"
    assert seen == [("vault", "read", "a b", "$HOME", ";", "x")]


@pytest.mark.parametrize("output", [b"", b"\n", b"\xff\xfe"])
def test_a_program_that_prints_no_secret_is_an_error(output: bytes) -> None:
    with pytest.raises(ConfigError):
        resolve_secret("command:true", lambda argv: output)


def test_an_unbalanced_quote_is_an_error_that_does_not_repeat_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_secret("command:vault --token 'hunter2", nothing)
    assert "hunter2" not in caught.value.message


SETTINGS: dict[str, Any] = {
    "http": {"secret": "clear", "addr": ":5000"},
    "redis": {"password": "env:REDIS"},
    "notifications": {"endpoints": [{"url": "u", "headers": {"Authorization": ["Bearer x"]}}]},
    "storage": {"s3": {"secretkey": "k", "bucket": "b"}, "delete": {"enabled": True}},
}


def test_secrets_in_clear_are_found_wherever_they_stand() -> None:
    assert set(inline_secrets(SETTINGS)) == {
        ("http", "secret"),
        ("notifications", "endpoints", 0, "headers", "Authorization", 0),
        ("storage", "s3", "secretkey"),
    }


def test_references_become_secrets_and_only_revealing_shows_them() -> None:
    filled = with_secrets(SETTINGS, lambda reference: Secret(f"of {reference}"))
    assert filled["redis"]["password"] == Secret("of env:REDIS")
    assert "of env" not in repr(filled)
    assert revealed(filled)["redis"]["password"] == "of env:REDIS"
    assert revealed(filled)["http"] == SETTINGS["http"]


def test_hiding_leaves_nothing_of_them() -> None:
    shown = repr(hidden(SETTINGS))
    assert not any(word in shown for word in ("clear", "Bearer", "'k'"))
    assert ":5000" in shown


def test_moving_out_leaves_references() -> None:
    changed, files = moved_out(SETTINGS, lambda path: "/s/" + ".".join(map(str, path)))
    assert changed["http"]["secret"] == "file:/s/http.secret"
    assert files["/s/http.secret"].reveal() == "clear"
    assert len(files) == 4


def test_what_looks_like_a_reference_in_a_registrys_file_is_only_text() -> None:
    changed, files = moved_out({"http": {"secret": "command:touch /x"}, "redis": {"password": 7}}, str)
    assert changed["http"]["secret"].startswith("file:")
    assert [secret.reveal() for secret in files.values()] == ["command:touch /x"]
    assert changed["redis"] == {"password": 7}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http: {secret: hunter2, addr: a} # hunter\n", "http: {secret: ***, addr: a} # hunter\n"),
        ('redis:\n  password: "hun\\"ter2"\n', "redis:\n  password: ***\n"),
        ("redis:\n  password: |\n    hunter2\n    more\nlog: {}\n", "redis:\n  password: ***\nlog: {}\n"),
        ("log: {}\n# password: hunter2 # x\n", "log: {}\n# password: ***\n"),
        ("a: b #old 'secret' = hunter2\nsecret: hunter2\n", "a: b #old 'secret' = ***\nsecret: ***\n"),
        ("log: [hunter2\n", "(f.yml cannot be parsed, so it is not shown)\n"),
        ("a: &x hunter2\nb: {secret: *x}\n", "a: ***\nb: {secret: *x}\n"),
    ],
)
def test_a_files_text_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert redact_text(text.encode(), "f.yml") == shown


def test_keeping_a_secret_makes_a_private_file_and_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    keep_secret(str(path), Secret("one"))
    keep_secret(str(path), Secret("one"))
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RefusedError):
        keep_secret(str(path), Secret("two"))
    assert path.read_text() == "one\n"
