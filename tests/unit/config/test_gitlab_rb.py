"""Lines for gitlab.rb: read back by a reader of Ruby's literals they mean what was wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.gitlab_rb import FromFile, fragment, ruby
from ctl.engines.gitlab_environment import variable_of
from ctl.secret import Secret
from tests.support.omnibus import NotRubyError, Reader, assignments

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=6), below, max_size=4),
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    reader = Reader(ruby(value))
    assert reader.value() == value
    assert reader.at == len(reader.text)


@pytest.mark.parametrize(
    "text", ["#{`reboot`}", "a'; system('x'); '", '"#{1}"', "\\", "\\'", "\n#{x}", "#$0 #@a"]
)
def test_no_text_becomes_code(text: str) -> None:
    assert Reader(ruby(text)).value() == text
    assert assignments(f"registry['x'] = {ruby({'a': text})}") == {"x": {"a": text}}


def test_the_reader_of_the_tests_sees_code_where_there_is_some() -> None:
    for code in ('"#{1}"', "system('x')", "'a' + 'b'"):
        with pytest.raises(NotRubyError):
            assignments(f"registry['x'] = {code}")


WANTED: dict[str, Any] = {
    "storage": {"s3": {"secretkey": Secret("hush"), "bucket": "b"}, "delete": {"enabled": True}},
    "database": {"enabled": True, "password": FromFile("/etc/regctl/p"), "_prefer_mode_overridden": True},
    "http": {"secret": Secret("quiet"), "draintimeout": "60s", "host": "https://r"},
    "log": {"level": "debug"},
    "validation": {"disabled": False},
    "auth": {"token": {"realm": "https://gitlab/jwt/auth"}},
    "health": {"database": {"enabled": True}},
    "notifications": {"endpoints": [{"name": "a"}], "events": {"includereferences": True}},
}


def made(*paths: tuple[str, ...], **environment: str) -> Any:
    return fragment(WANTED, paths, variable_of, environment)


def test_a_hash_is_restated_whole_because_gitlab_ctl_replaces_it() -> None:
    lines = made(("storage", "delete", "enabled"))
    assert assignments(lines.text) == {
        "storage": {"s3": {"secretkey": "hush", "bucket": "b"}, "delete": {"enabled": True}}
    }
    assert "hush" not in lines.shown
    assert assignments(lines.shown)["storage"]["s3"] == {"secretkey": "***", "bucket": "b"}


def test_a_secret_in_a_file_stays_there(tmp_path: Path) -> None:
    text = made(("database", "enabled")).text
    assert "File.read('/etc/regctl/p').chomp" in text
    assert "_prefer_mode_overridden" not in text
    secret = tmp_path / "p"
    secret.write_text("a-word\n")
    assert assignments(text.replace("/etc/regctl/p", str(secret)))["database"]["password"] == "a-word"


def test_single_settings_have_names_of_their_own_and_the_rest_is_environment() -> None:
    lines = made(
        ("log", "level"),
        ("http", "draintimeout"),
        ("validation", "disabled"),
        ("auth", "token", "realm"),
        ("notifications", "endpoints"),
        ("health", "database", "enabled"),
        ("notifications", "events", "includereferences"),
        REGISTRY_FF_BBM="false",
    )
    assert assignments(lines.text) == {
        "log_level": "debug",
        "http_draintimeout": "60s",
        "validation_enabled": True,
        "token_realm": "https://gitlab",
        "notifications": [{"name": "a"}],
        "env": {
            "REGISTRY_FF_BBM": "false",
            "REGISTRY_HEALTH_DATABASE_ENABLED": "true",
            "REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES": "true",
        },
    }
    assert lines.unsaid == ()


def test_what_it_cannot_say_is_said() -> None:
    lines = made(("log", "output"), ("nonsense", "key"))
    assert lines.text == ""
    assert len(lines.unsaid) == 2
