"""What is right and wrong in a configuration of GitLab's registry, and what the environment does to it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.base import ConfigMistake
from ctl.engines.gitlab import Gitlab
from ctl.engines.gitlab_features import TABLE
from ctl.errors import ConfigError, RefusedError

VERSION = Version("4.32.0")
GITLAB = Gitlab()
GOOD = """
version: 0.1
log: {level: info, formatter: json, output: stdout, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /srv/registry}
  delete: {enabled: true}
  maintenance:
    readonly: {enabled: false}
    uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}
database:
  enabled: true
  host: db
  port: 5432
  user: registry
  password: a-word
  dbname: registry
  sslmode: verify-full
  connecttimeout: 5s
  pool: {maxidle: 25, maxopen: 25, maxlifetime: 5m}
  backgroundmigrations: {enabled: true, maxjobretries: 3, jobinterval: 1m}
  loadbalancing: {enabled: true, hosts: [replica]}
  metrics: {enabled: true, interval: 10s, leaseduration: 30s}
gc: {maxbackoff: 24h, reviewafter: -1, blobs: {interval: 5s}, manifests: {interval: 5s}}
redis:
  cache: {enabled: true, addr: "r:6379", dialtimeout: 2s}
  ratelimiter: {enabled: true, addr: "r:6379"}
  loadbalancing: {enabled: true, addr: "r:6379"}
rate_limiter:
  enabled: true
  limiters:
    - name: one
      match: {type: ip}
      precedence: 1
      limit: {rate: 10, period: second, burst: 20}
      action: {warn_threshold: 0.8, warn_action: log, hard_action: block}
http:
  addr: 127.0.0.1:5000
  secret: x
  draintimeout: 60s
  tls: {minimumtls: tls1.2}
  debug: {addr: "127.0.0.1:5001", prometheus: {enabled: true, path: /metrics}, pprof: {enabled: false}}
auth: {token: {realm: u, service: s, issuer: i, rootcertbundle: /c.crt, autoredirect: false}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}, database: {enabled: true, timeout: 5s}}
notifications: {endpoints: [{name: a, url: u, timeout: 1s, maxretries: 10, queuesizelimit: 3000}]}
validation: {disabled: false, manifests: {referencelimit: 10, urls: {allow: [x]}}}
"""


def laid_over(change: dict[str, Any]) -> dict[str, Any]:
    def over(base: Any, top: Any) -> Any:
        if not isinstance(top, dict) or not isinstance(base, dict):
            return top
        return {**base, **{key: over(base.get(key), value) for key, value in top.items()}}

    result = over(yaml.safe_load(GOOD), change)
    assert isinstance(result, dict)
    return result


def found(change: dict[str, Any], version: Version = VERSION) -> dict[str, ConfigMistake]:
    return {mistake.path: mistake for mistake in GITLAB.check_config(laid_over(change), version)}


def test_a_good_file_is_good() -> None:
    assert GITLAB.check_config(yaml.safe_load(GOOD), VERSION) == ()


@pytest.mark.parametrize(
    ("change", "path", "words", "fatal"),
    [
        ({"databse": {}}, "databse", "did you mean database", False),
        ({"database": {"pol": {}}}, "database.pol", "did you mean pool", False),
        ({"database": {"enabled": "maybe"}}, "database.enabled", "false, true, prefer", True),
        ({"database": {"enabled": "True"}}, "database.enabled", "false, true, prefer", True),
        ({"database": {"sslmode": "verify"}}, "database.sslmode", "none of", True),
        ({"database": {"draintimeout": 5}}, "database.draintimeout", "5 nanoseconds", False),
        ({"database": {"port": "5432"}}, "database.port", "whole number", True),
        ({"database": {"password": "two words"}}, "database.password", "space or a backslash", True),
        ({"database": {"password": "end\\"}}, "database.password", "space or a backslash", True),
        ({"database": {"host": ""}}, "database.host", "missing", True),
        (
            {"database": {"metrics": {"leaseduration": "5s"}}},
            "database.metrics.leaseduration",
            "longer",
            True,
        ),
        ({"database": {"loadbalancing": {"hosts": []}}}, "database.loadbalancing", "replica", False),
        ({"gc": {"maxbackof": "1h"}}, "gc.maxbackof", "did you mean maxbackoff", False),
        ({"gc": {"reviewafter": 86400}}, "gc.reviewafter", "86400 nanoseconds", False),
        ({"gc": {"reviewafter": "1d"}}, "gc.reviewafter", "not a duration", True),
        ({"gc": {"blobs": {"interval": "5"}}}, "gc.blobs.interval", "not a duration", True),
        ({"redis": {"load_balancing": {}}}, "redis.load_balancing", "did you mean loadbalancing", False),
        ({"redis": {"cache": {"addr": ""}}}, "redis.cache.addr", "missing", False),
        ({"redis": {"loadbalancing": {"enabled": False}}}, "database.loadbalancing.enabled", "needs", False),
        ({"redis": {"cache": {"enabled": False}}}, "database.metrics.enabled", "needs redis.cache", True),
        ({"redis": {"ratelimiter": {"enabled": False}}}, "rate_limiter.enabled", "redis.ratelimiter", True),
        ({"log": {"level": "warning"}}, "log.level", "did you mean warn", True),
        ({"log": {"output": "/var/log/x"}}, "log.output", "none of", True),
        ({"http": {"tls": {"minimumtls": "tls1.1"}}}, "http.tls.minimumtls", "none of", True),
        ({"http": {"debug": {"addr": ":5001"}}}, "http.debug.addr", "loopback", False),
        ({"auth": {"htpasswd": {}}}, "auth.htpasswd", "unknown kind", True),
        ({"auth": {"token": {"realm": ""}}}, "auth.token.realm", "missing", True),
        ({"storage": {"swift": {}}}, "storage.swift", "no such storage driver", True),
        (
            {"storage": {"cache": {"blobdescriptor": "redis"}}},
            "storage.cache.blobdescriptor",
            "not used",
            False,
        ),
        ({"storage": {"delete": None}}, "storage.delete.enabled", "405", False),
        ({"storage": {"redirect": {"expirydelay": 20}}}, "storage.redirect.expirydelay", "duration", True),
        (
            {"storage": {"filesystem": {"rootdir": "/x"}}},
            "storage.filesystem.rootdir",
            "rootdirectory",
            False,
        ),
        ({"migration": {"enabled": True}}, "migration", "registry import", False),
        ({"proxy": {"remoteurl": "u"}}, "proxy", "distribution", False),
    ],
)
def test_one_mistake_is_named_where_it_is(change: dict[str, Any], path: str, words: str, fatal: bool) -> None:
    mistakes = found(change)
    assert path in mistakes, mistakes
    assert words in f"{mistakes[path].message} {mistakes[path].hint}"
    assert mistakes[path].fatal is fatal


@pytest.mark.parametrize("key", ["age", "interval", "dryrun"])
def test_upload_purging_needs_all_three_keys(key: str) -> None:
    config = yaml.safe_load(GOOD)
    del config["storage"]["maintenance"]["uploadpurging"][key]
    (mistake,) = GITLAB.check_config(config, VERSION)
    assert (mistake.path, mistake.fatal) == (f"storage.maintenance.uploadpurging.{key}", True)


@pytest.mark.parametrize("pool", [None, {}, {"maxopen": 25}, {"maxidle": 0}])
def test_a_pool_without_idle_connections_is_a_trap_with_a_figure(pool: dict[str, int] | None) -> None:
    config = yaml.safe_load(GOOD)
    config["database"]["pool"] = pool
    (mistake,) = GITLAB.check_config(config, VERSION)
    assert mistake.severity == "warning"
    assert "203 s instead of 15 s" in mistake.message


@pytest.mark.parametrize(
    ("path", "since"),
    [("rate_limiter", "4.22.0"), ("database.metrics", "4.27.0"), ("redis.loadbalancing", "4.18.0")],
)
def test_what_a_version_does_not_know_yet_is_said(path: str, since: str) -> None:
    assert path not in found({}, Version(since))
    before = Version(f"4.{int(since.split('.')[1]) - 1}.0")
    assert since in found({}, before)[path].hint


def test_prefer_is_an_error_before_it_came_and_without_the_flag() -> None:
    prefer = {"database": {"enabled": "prefer"}}
    assert "database.enabled" not in found(prefer)
    assert found(prefer, Version("4.30.0"))["database.enabled"].fatal
    config = laid_over(prefer)
    on = GITLAB.feature_environment({"enforce_lockfiles": True})
    assert GITLAB.check_environment(config, on) == ()
    for environment in ({}, GITLAB.feature_environment({"enforce_lockfiles": False})):
        (mistake,) = GITLAB.check_environment(config, environment)
        assert mistake.path == "database.enabled"
        assert "never imported" in mistake.message


def test_a_flag_that_is_not_in_small_letters_counts_for_nothing() -> None:
    (mistake,) = GITLAB.check_environment({}, {"REGISTRY_FF_BBM": "True"})
    assert "small letters" in mistake.message


def test_messages_never_hold_the_password() -> None:
    for password in ("top secret\\", "x y", 17):
        for mistake in GITLAB.check_config(laid_over({"database": {"password": password}}), VERSION):
            assert str(password) not in f"{mistake.message} {mistake.hint}"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*yaml.safe_load(GOOD), "policy", "middleware", "reporting"]), JUNK)
def test_no_value_breaks_the_check(section: str, value: Any) -> None:
    config = {**yaml.safe_load(GOOD), section: value}
    GITLAB.check_config(config, VERSION)
    GITLAB.check_paths(config, lambda path: None)
    GITLAB.drain_timeout(config)
    GITLAB.cache_kind(config)
    assert GITLAB.metadata.asked_backend(config) in ("filesystem", "database", "prefer")


def test_environment_names_are_go_field_names() -> None:
    names = {
        "REGISTRY_HTTP_ADDR": "http.addr",
        "REGISTRY_STORAGE": "storage",
        "REGISTRY_STORAGE_S3_V2_BUCKET": "storage.s3_v2.bucket",
        "REGISTRY_STORAGE_AZURE_V2_CREDENTIALS_TYPE": "storage.azure_v2.credentials_type",
        "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED": "storage.maintenance.readonly.enabled",
        "REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES": "notifications.events.includereferences",
        "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL": "notifications.endpoints[0].url",
        "REGISTRY_HEALTH_HTTPCHECKERS_1_STATUSCODE": "health.http[1].statuscode",
        "REGISTRY_RATELIMITER_ENABLED": "rate_limiter.enabled",
    }
    passed_over = (
        "REGISTRY_RATE_LIMITER_ENABLED",
        "REGISTRY_NOTIFICATIONS_EVENTS_INCLUDEREFERENCES",
        "REGISTRY_FF_BBM",
        "REGISTRY_CONFIGURATION_PATH",
        "REGISTRY_NONSENSE",
        "PGHOST",
    )
    given = {name: "x" for name in (*names, *passed_over)}
    assert GITLAB.overriding_environment(given) == names


def test_flags_are_written_outright() -> None:
    assert GITLAB.feature_environment({"enforce_lockfiles": True, "bbm": False}) == {
        "REGISTRY_FF_ENFORCE_LOCKFILES": "true",
        "REGISTRY_FF_BBM": "false",
    }


def test_a_stop_waits_for_both_drains_with_the_database() -> None:
    database: dict[str, Any] = {"enabled": True, "draintimeout": "2m"}
    config = {"http": {"draintimeout": "10s"}, "database": database}
    drained = GITLAB.drain_timeout(config)
    assert drained is not None
    assert drained.total_seconds() == 130
    database["enabled"] = False
    drained = GITLAB.drain_timeout(config)
    assert drained is not None
    assert drained.total_seconds() == 10


def test_files_that_are_named_must_be_there() -> None:
    config = laid_over({"database": {"sslrootcert": "/ca.pem"}})
    there = {"/srv/registry": "directory", "/c.crt": "file", "/ca.pem": "file"}
    assert GITLAB.check_paths(config, there.get) == ()
    del there["/c.crt"]
    there["/ca.pem"] = "directory"
    mistakes = GITLAB.check_paths(config, there.get)
    assert {m.path for m in mistakes} == {"database.sslrootcert", "auth.token.rootcertbundle"}


def test_the_version_line_is_gitlabs() -> None:
    line = "registry github.com/docker/distribution v4.32.0-gitlab\n"
    assert GITLAB.parse_version(line) == VERSION
    with pytest.raises(ConfigError, match="not GitLab's registry"):
        GITLAB.parse_version("registry github.com/docker/distribution v2.8.3\n")


def test_the_feature_table_tells_versions_and_backends_apart() -> None:
    now, before = GITLAB.features(VERSION), GITLAB.features(Version("4.30.0"))
    assert (now["prefer"], before["prefer"]) == (True, False)
    assert (now["locks-by-default"], before["locks-by-default"]) == (False, True)
    assert now["read-only"]
    assert now["collects"]
    assert "removes-layer-links" not in now
    backends = {feature.name: feature.backends for feature in TABLE}
    assert backends["collects"] == ("filesystem",)
    assert backends["online-gc"] == ("database",)
    assert len(backends) == len(TABLE)


# -- the database section in a file's text -------------------------------------------------------------

TEXT = b"""# ours
version: 0.1
database:
  enabled: false   # off for now
  host: old
storage: {filesystem: {rootdirectory: /x}}  # disk
"""


def test_setting_database_keys_keeps_comments_and_everything_else() -> None:
    changed = GITLAB.metadata.database_text(TEXT, {"enabled": True, "pool": {"maxidle": 5, "maxopen": 5}})
    text = changed.decode()
    assert "enabled: true   # off for now" in text
    assert "# disk" in text
    assert text.startswith("# ours\n")
    assert GITLAB.parse_config(changed).data["database"] == {
        "enabled": True,
        "host": "old",
        "pool": {"maxidle": 5, "maxopen": 5},
    }


@pytest.mark.parametrize(
    "text",
    [
        b"version: 0.1\nstorage: x\n",
        b"version: 0.1\nstorage: x",
        b"version: 0.1\ndatabase:\nstorage: x\n",
        b"version: 0.1\ndatabase: {enabled: false, host: h}\n# tail\nstorage: x\n",
        b"{version: 0.1, storage: x}",
        b"version: 0.1\ndatabase:\n  pool:\n    maxidle: 1\n\n# next\nstorage: x\n",
        b"version: 0.1\nstorage: x\ndatabase: # why\n  enabled: prefer\n",
    ],
)
def test_any_layout_takes_the_keys(text: bytes) -> None:
    section = {"enabled": True, "password": 'a "b": #é', "pool": {"maxidle": 5}}
    changed = GITLAB.metadata.database_text(text, section)
    before, after = GITLAB.parse_config(text).data, GITLAB.parse_config(changed).data
    assert {k: v for k, v in before.items() if k != "database"} == {
        k: v for k, v in after.items() if k != "database"
    }
    old = before.get("database") or {}
    assert after["database"] == {**old, **section, "pool": {**old.get("pool", {}), "maxidle": 5}}
    if b"# tail" in text or b"# next" in text:
        assert b"# tail\n" in changed or b"# next\n" in changed


@given(
    st.dictionaries(
        st.sampled_from(["enabled", "host", "password", "dbname", "port"]),
        st.booleans() | st.integers(0, 65535) | st.text(max_size=12),
        min_size=1,
    )
)
def test_what_is_set_is_what_is_read_or_it_is_refused(section: dict[str, Any]) -> None:
    try:
        changed = GITLAB.metadata.database_text(TEXT, section)
    except RefusedError:
        return
    data = GITLAB.parse_config(changed).data
    assert {key: data["database"][key] for key in section} == section
    assert data["storage"] == {"filesystem": {"rootdirectory": "/x"}}


def test_anchors_are_refused_rather_than_changed_elsewhere() -> None:
    text = b"version: 0.1\nx: &a {enabled: false}\ndatabase: *a\nstorage: x\n"
    try:
        changed = GITLAB.metadata.database_text(text, {"enabled": True})
    except RefusedError:
        return
    assert GITLAB.parse_config(changed).data["x"] == {"enabled": False}
