"""Settings in, a file's text out: exactly the settings, whatever they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctl.config.document import read_registry_config
from ctl.config.dump import to_yaml
from ctl.config.words import same
from ctl.errors import RegctlError
from ctl.templates import defaults_for, in_comment, render, render_config

CASES = Path(__file__).resolve().parents[1] / "cases" / "config"
VERSIONS = ["2", "3"]
FULL: dict[str, Any] = {
    "log": {"level": "info", "formatter": "json"},
    "storage": {
        "filesystem": {"rootdirectory": "/var/lib/registry"},
        "cache": {"blobdescriptor": "redis"},
        "maintenance": {"readonly": {"enabled": False}},
    },
    "auth": {"htpasswd": {"realm": "basic-realm", "path": "/etc/docker/registry/htpasswd"}},
    "http": {"addr": ":5000", "secret": "not a real secret", "draintimeout": "60s"},
    "extension": {"unknown": ["to", "the", "template"]},
}


def settings(version: str) -> dict[str, Any]:
    from ctl.config.persist import laid_over

    redis = {"addrs": ["127.0.0.1:6379"]} if version == "3" else {"addr": "127.0.0.1:6379"}
    timeouts = {"dialtimeout": "100ms", "readtimeout": "100ms", "writetimeout": "100ms"}
    return laid_over(defaults_for(f"distribution/{version}.yml.j2"), {**FULL, "redis": {**redis, **timeouts}})


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rendered_file_is_the_golden_one(version: str) -> None:
    text = render_config(f"distribution/{version}.yml.j2", settings(version))
    assert text == (CASES / f"distribution-{version}.yml").read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "secret",
    [
        'a"\nstorage:\n  s3: {bucket: stolen}\n#',
        "a'\n'",
        "{{ settings }}",
        "{% include '/etc/passwd' %}",
        "a: b",
        "*x",
        "!!python/object:os.system",
        "\x85\u2028\x07\x7f",
        "no",
        " leading and trailing ",
        "%s %(x)s $HOME `id`",
    ],
)
def test_a_value_cannot_become_structure(version: str, secret: str) -> None:
    given = settings(version)
    given["http"]["secret"] = secret
    found = read_registry_config(render_config(f"distribution/{version}.yml.j2", given).encode(), "f")
    assert same(found, given)


def test_a_key_cannot_become_structure_either() -> None:
    given = settings("2")
    given["http"]["headers"] = {'a"\nb: c': ["x"]}
    assert same(read_registry_config(render_config("distribution/2.yml.j2", given).encode(), "f"), given)


@pytest.mark.parametrize(
    "template",
    [
        "{{ {'http': settings.http} | to_yaml }}",  # forgets the rest
        "{{ settings | to_yaml }}\nmore: 1\n",  # adds
        "{% for key in settings %}{{ key }}: {{ settings[key] }}\n{% endfor %}",  # pastes values
    ],
)
def test_a_template_that_says_something_else_is_caught(template: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yml.j2").write_text(template)
    hostile = settings("2")
    hostile["redis"] = "x\nstorage: {s3: {}}"
    with pytest.raises(RegctlError, match=r"does not say what the site says"):
        render_config("bad.yml.j2", hostile, (str(tmp_path),))
    (tmp_path / "good.yml.j2").write_text("{{ settings | to_yaml }}")
    assert render_config("good.yml.j2", settings("2"), (str(tmp_path),)) == to_yaml(settings("2"))


def test_a_name_that_nobody_gave_is_an_error_with_its_place() -> None:
    with pytest.raises(RegctlError, match="cannot be filled"):
        render("a\n{{ missing }}\n", {}, "mine.j2")
    with pytest.raises(RegctlError, match=r"mine\.j2:2"):
        render("a\n{% if %}\n", {}, "mine.j2")


def test_text_in_a_comment_stays_in_it() -> None:
    assert in_comment("a\nb: c\r\x1b[0m\u2028d") == "a?b: c??[0m?d"


@pytest.mark.parametrize("name", ["../pyproject.toml", "/etc/passwd", "distribution/none.yml"])
def test_only_what_is_below_templates_is_read(name: str) -> None:
    with pytest.raises(RegctlError):
        render_config(name, {})
