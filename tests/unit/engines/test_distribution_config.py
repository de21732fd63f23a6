"""The configurations in tests/cases/distribution/configs, each with the mistakes that it must show."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.distribution import Distribution
from ctl.errors import RefusedError
from tests.support.configs import CONFIGS, VERSIONS, expected, found

ENGINE = Distribution()
EVERY = sorted(CONFIGS.glob("*.yml"))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS.keys())
def test_each_configuration_shows_exactly_its_mistakes(path: Path, version: Version) -> None:
    text = path.read_text().replace("ROOT", "/srv/registry").replace("PORT", "5000")
    assert found(text.encode(), version) == expected(text, version)


def test_there_are_enough_traps() -> None:
    assert len([path for path in EVERY if path.stem.startswith("trap-")]) >= 15


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_no_mistake_is_without_words(path: Path) -> None:
    parsed = ENGINE.parse_config(path.read_bytes())
    for version in VERSIONS.values():
        for mistake in (*parsed.mistakes, *ENGINE.check_config(parsed.data, version)):
            assert mistake.message
            assert mistake.severity in ("error", "warning")


def test_misspelled_keys_say_what_was_meant() -> None:
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": "/x"}, "maintenance": {"readOnly": {"enabled": True}}},
        "http": {"addr": ":5000", "secret": "s", "drain_timeout": "5s"},
        "notification": {},
    }
    hints = {m.path: m.hint for m in ENGINE.check_config(config, Version("2.8.2"))}
    assert hints["storage.maintenance.readOnly"] == "did you mean readonly?"
    assert hints["http.drain_timeout"] == "did you mean draintimeout?"
    assert hints["notification"] == "did you mean notifications?"


def test_debians_htpasswd_directory_is_explained() -> None:
    config = {"auth": {"htpasswd": {"realm": "r", "path": "/etc/docker/registry"}}}
    kinds = {"/etc/docker/registry": "directory"}
    (mistake,) = ENGINE.check_paths(config, kinds.get)
    assert mistake.path == "auth.htpasswd.path"
    assert "directory" in mistake.message
    assert "/etc/docker/registry/htpasswd" in mistake.hint


def test_missing_paths_are_named() -> None:
    config = {
        "storage": {"filesystem": {"rootdirectory": "/gone"}},
        "auth": {"htpasswd": {"realm": "r", "path": "/gone/htpasswd"}},
        "http": {"tls": {"certificate": "/gone/pem", "key": "/key"}},
    }
    paths = [m.path for m in ENGINE.check_paths(config, {"/key": "file"}.get)]
    assert paths == ["auth.htpasswd.path", "storage.filesystem.rootdirectory", "http.tls.certificate"]


# -- what a file means --------------------------------------------------------------------------


def test_values_are_read_as_the_registry_reads_them() -> None:
    text = b"a: 12:30\nb: 2024-01-01\nc: yes\nd: 010\ne: 1_000\nf: null\ng: '7'\nh: 0.1\n"
    data = ENGINE.parse_config(text).data
    assert data == {
        "a": "12:30", "b": "2024-01-01", "c": True, "d": 8, "e": 1000, "f": None, "g": "7", "h": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"a: !!python/object/apply:os.system [id]\n",
        b"&a [*a]\n",
        b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        b"a: " + b"[" * 5000 + b"\n",
        b"\xff\xfe\n",
        b"? [a]\n: b\n",
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_hostile_files_are_mistakes_not_crashes(text: bytes) -> None:
    parsed = ENGINE.parse_config(text)
    assert not parsed.readable
    assert parsed.mistakes[0].fatal


def test_merged_keys_are_followed() -> None:
    text = b"base: &base {enabled: true}\nstorage:\n  delete:\n    <<: *base\n"
    assert ENGINE.parse_config(text).data["storage"] == {"delete": {"enabled": True}}


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    parsed = ENGINE.parse_config(data)
    assert parsed.readable or parsed.mistakes


# -- read-only ----------------------------------------------------------------------------------

SMALL = b"""# the office registry
version: 0.1
storage:
  filesystem:
    rootdirectory: /srv/registry   # the big disk
http:
  addr: :5000
  secret: 12:30
"""


def test_only_the_read_only_key_changes_and_comments_stay() -> None:
    changed = ENGINE.read_only_text(SMALL)
    assert changed == SMALL.replace(
        b"  filesystem:\n", b"  maintenance:\n    readonly:\n      enabled: true\n  filesystem:\n"
    )


def test_a_key_that_says_false_is_turned() -> None:
    text = SMALL.replace(b"http:", b"  maintenance:\n    readonly:\n      enabled: false # no\nhttp:")
    assert ENGINE.read_only_text(text) == text.replace(b"enabled: false # no", b"enabled: true # no")


@pytest.mark.parametrize(
    "text",
    [
        b"{version: 0.1, storage: {filesystem: {rootdirectory: /x}}}",
        b"version: 0.1\nstorage: inmemory\n",
        b"version: 0.1\nstorage:\n  inmemory:\n  maintenance:\n",
        b"version: 0.1\nstorage:\n  inmemory:\n  maintenance:\n    readonly: {}\n",
        b"version: 0.1\nstorage:\n  inmemory:\n  maintenance: {uploadpurging: {enabled: false}}\n",
        b"version: 0.1\nstorage:\n    inmemory:\n    maintenance:\n        uploadpurging: {enabled: no}\n",
        b"version: 0.1\r\nstorage:\r\n  inmemory:\r\nhttp:\r\n  addr: :5000\r\n",
        b'"version": 0.1\n"storage":\n  "inmemory": {}\n  "maintenance":\n    "readonly": {"enabled": no}\n',
    ],
)
def test_every_layout_ends_up_read_only_with_all_else_as_it_was(text: bytes) -> None:
    before, after = ENGINE.parse_config(text), ENGINE.parse_config(ENGINE.read_only_text(text))
    assert not after.mistakes
    assert ENGINE.is_read_only(after.data)
    assert after.data == ENGINE.with_read_only(before.data)
    # a second reader agrees
    assert (
        yaml.safe_load(ENGINE.read_only_text(text))["storage"]["maintenance"]["readonly"]["enabled"] is True
    )


@pytest.mark.parametrize(
    "text",
    [
        b"version: 0.1\nstorage:\n  inmemory:\nstorage:\n  filesystem:\n",
        b"version: 0.1\nstorage:\n  inmemory:\n---\nversion: 0.1\n",
        b"version: 0.1\nx: &a {enabled: false}\nstorage:\n  inmemory:\n  maintenance:\n    readonly: *a\n",
        b"[]",
        b"",
    ],
)
def test_what_cannot_be_changed_safely_is_refused(text: bytes) -> None:
    with pytest.raises(RefusedError):
        ENGINE.read_only_text(text)


_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=8), st.none(), st.sampled_from(["12:30", "no"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(min_size=1, max_size=6), _VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["filesystem", "delete", "cache", "maintenance"]), _VALUES, max_size=4),
    st.booleans(),
)
def test_property_reading_back_finds_the_one_key_changed(
    extra: dict[str, object], storage: dict[str, object], flow: bool
) -> None:
    config = {"version": 0.1, **extra, "storage": storage}
    text = yaml.safe_dump(config, default_flow_style=flow, allow_unicode=True).encode()
    parsed = ENGINE.parse_config(text)
    if not parsed.readable or parsed.mistakes:
        return
    try:
        changed = ENGINE.read_only_text(text)
    except RefusedError:
        return
    assert ENGINE.parse_config(changed).data == ENGINE.with_read_only(parsed.data)


def test_variables_that_override_the_file_are_named() -> None:
    environment = {
        "REGISTRY_STORAGE_MAINTENANCE_READONLY": "{}",
        "REGISTRY_STORAGE": "inmemory",
        "REGISTRY_HTTP_ADDR": ":1",
        "REGISTRY_CONFIGURATION_PATH": "/x",
        "PATH": "/bin",
    }
    assert ENGINE.overriding_environment(environment) == {
        "REGISTRY_STORAGE_MAINTENANCE_READONLY": "storage.maintenance.readonly",
        "REGISTRY_STORAGE": "storage",
        "REGISTRY_HTTP_ADDR": "http.addr",
    }


# -- small questions ----------------------------------------------------------------------------


def test_what_a_configuration_says() -> None:
    config = {
        "storage": {"filesystem": None, "cache": {"layerinfo": "redis"}, "delete": {"enabled": True}},
        "http": {"addr": "[::1]:5001", "draintimeout": "1m"},
        "proxy": {"remoteurl": "https://registry.example.com"},
    }
    assert ENGINE.storage_settings(config) == {"filesystem": {"rootdirectory": "/var/lib/registry"}}
    assert ENGINE.cache_kind(config) == "redis"
    assert ENGINE.listening_port(config) == 5001
    drain = ENGINE.drain_timeout(config)
    assert drain is not None
    assert drain.total_seconds() == 60
    assert ENGINE.writes_on_pull(config)


def test_what_a_configuration_does_not_say() -> None:
    configs: list[dict[str, object]] = [
        {},
        {"storage": None, "http": [], "proxy": "x"},
        {"http": {"draintimeout": "1d"}},
    ]
    for config in configs:
        assert ENGINE.cache_kind(config) == ""
        assert ENGINE.listening_port(config) is None
        assert ENGINE.drain_timeout(config) is None
        assert not ENGINE.writes_on_pull(config)
        assert not ENGINE.is_read_only(config)
        assert ENGINE.storage_settings(config) == {}


def test_read_only_as_text_is_not_read_only() -> None:
    config = {"storage": {"maintenance": {"readonly": {"enabled": "true"}}}}
    assert not ENGINE.is_read_only(config)


# -- commands and versions ----------------------------------------------------------------------


def test_commands_are_values() -> None:
    two, three = Version("2.8.2"), Version("3.1.1")
    serve = ENGINE.serve_command("/bin/registry", "/etc/config.yml", two)
    assert (serve.argv, dict(serve.env)) == (("/bin/registry", "serve", "/etc/config.yml"), {})
    assert ENGINE.serve_command("r", "c", three).env == {"OTEL_TRACES_EXPORTER": "none"}
    collect = ENGINE.collect_command("r", "c", three, dry_run=True, delete_untagged=True)
    assert collect.argv == ("r", "garbage-collect", "--dry-run", "--delete-untagged", "c")
    assert ENGINE.collect_command("r", "c", two, dry_run=False, delete_untagged=False).argv == (
        "r",
        "garbage-collect",
        "c",
    )


def test_features_by_version() -> None:
    two, three = ENGINE.features(Version("2.8.2+ds1")), ENGINE.features(Version("3.1.1"))
    assert {name for name in two if two[name]} == {"read-only", "collects", "schema1-manifests", "reporting"}
    assert three["keeps-index-children"]
    assert three["pages-tags"]
    assert not three["schema1-manifests"]
    assert not ENGINE.features(Version("3.0.0"))["pages-tags"]
    assert ENGINE.features(Version("3.0.0rc1"))["redis-addrs"]
    assert ENGINE.template(Version("2.8.2")) != ENGINE.template(Version("3.0.0"))
