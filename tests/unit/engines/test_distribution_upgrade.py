"""A configuration of 2.8 in the words of 3.x: as data, and as a text that keeps its comments."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.distribution import Distribution
from ctl.engines.distribution_upgrade import DistributionUpgrade
from ctl.errors import RefusedError

TWO, THREE = Version("2.8.2"), Version("3.1.1")
UPGRADE = DistributionUpgrade()
OLD = b"""# our registry
version: 0.1
compatibility:
  schema1:
    enabled: false  # nobody has these

# the big disk
storage:
  filesystem:
    rootdirectory: /srv/registry   # mounted
  cache: {blobdescriptor: redis}
redis:
  addr: cache:6379   # beside us
  pool:
    maxidle: 16
    maxactive: 64
    idletimeout: 300s
  db: 1
http:
  addr: 127.0.0.1:5000
reporting: {bugsnag: {apikey: x}}
"""
NEW = b"""# our registry
version: 0.1

# the big disk
storage:
  filesystem:
    rootdirectory: /srv/registry   # mounted
  cache: {blobdescriptor: redis}
redis:
  addrs: ["cache:6379"]
  maxidleconns: 16
  poolsize: 64
  connmaxidletime: "300s"
  db: 1
http:
  addr: 127.0.0.1:5000
"""


def test_the_text_keeps_its_comments_and_order() -> None:
    assert UPGRADE.translate_text(OLD, THREE).decode() == NEW.decode()


def test_what_the_binary_would_panic_at_is_gone() -> None:
    engine = Distribution()
    before = [m.path for m in engine.check_config(engine.parse_config(OLD).data, THREE) if m.fatal]
    after = [m.path for m in engine.check_config(engine.parse_config(NEW).data, THREE)]
    assert before == ["redis.addrs"]
    assert not [path for path in after if path.startswith(("redis", "compat", "report"))]


def test_for_2_8_nothing_changes() -> None:
    assert UPGRADE.translate_text(OLD, TWO) == OLD
    assert UPGRADE.translate(yaml.safe_load(OLD), TWO).changes == ()


def test_the_changes_are_told() -> None:
    told = {one.path: one.what for one in UPGRADE.translate(yaml.safe_load(OLD), THREE).changes}
    assert set(told) == {
        "compatibility", "reporting", "redis.addr", "redis.pool", "redis.pool.maxidle",
        "redis.pool.maxactive", "redis.pool.idletimeout",
    }  # fmt: skip
    assert told["redis.addr"] == "becomes redis.addrs: [cache:6379]"


def test_what_only_means_something_else_is_told_and_left() -> None:
    config = {"notifications": {"endpoints": [{"ignore": {"actions": ["pull"]}}]}}
    found = UPGRADE.translate(config, THREE)
    assert found.settings == config
    assert [(one.path, one.effect) for one in found.changes] == [
        ("notifications.endpoints[0].ignore.actions", False)
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"{version: 0.1, redis: {addr: 'a:1'}, reporting: {}}\n",
        b"version: 0.1\nredis: {addr: 'a:1', pool: {maxidle: 3}}\n",
        b"version: 0.1\nredis:\n  addr: a:1",
        b"reporting:\nversion: 0.1\n",
        b"version: 0.1\ncompatibility: &old\n  schema1: {enabled: true}\nhealth: {}\n",
    ],
)
def test_any_layout_ends_in_the_same_meaning(text: bytes) -> None:
    wanted = UPGRADE.translate(Distribution().parse_config(text).data, THREE).settings
    changed = UPGRADE.translate_text(text, THREE)
    assert Distribution().parse_config(changed).data == wanted
    assert UPGRADE.translate_text(changed, THREE) == changed


def test_a_file_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RefusedError, match="not translated"):
        UPGRADE.translate_text(b"version: 0.1\n\tredis: x\n", THREE)


_words = st.text("abcdefgh:/ #'\"-", min_size=1, max_size=8)
_redis = st.fixed_dictionaries(
    {},
    optional={
        "addr": _words,
        "addrs": st.lists(_words, min_size=1, max_size=2),
        "password": _words,
        "db": st.integers(0, 9),
        "pool": st.fixed_dictionaries(
            {}, optional={"maxidle": st.integers(0, 9), "maxactive": st.integers(0, 9), "idletimeout": _words}
        ),
        "poolsize": st.integers(0, 9),
    },
)
_configs = st.fixed_dictionaries(
    {"version": st.just(0.1), "http": st.just({"addr": ":5000"})},
    optional={"redis": _redis, "compatibility": st.just({"schema1": {}}), "reporting": st.just({"a": 1})},
)


@given(_configs, st.booleans(), st.booleans())
def test_text_and_data_agree_and_once_is_enough(config: dict[str, Any], flow: bool, ordered: bool) -> None:
    text = yaml.safe_dump(config, default_flow_style=flow, sort_keys=ordered).encode()
    wanted = UPGRADE.translate(config, THREE)
    changed = UPGRADE.translate_text(text, THREE)
    assert Distribution().parse_config(changed).data == wanted.settings
    assert UPGRADE.translate(wanted.settings, THREE).changes == ()
    for gone in ("compatibility", "reporting"):
        assert gone not in wanted.settings
    redis, old = wanted.settings.get("redis", {}), config.get("redis", {})
    assert not {"addr", "pool"} & set(redis)
    assert redis.get("password") == old.get("password")
    if old.get("addr") and not old.get("addrs"):
        assert redis["addrs"] == [old["addr"]]


def test_a_trial_has_no_storage_no_clients_and_a_free_port() -> None:
    config = UPGRADE.translate(yaml.safe_load(OLD), THREE).settings | {
        "notifications": {"endpoints": [{"url": "http://x"}]},
        "proxy": {"remoteurl": "https://y"},
    }
    config["http"] = {"addr": ":5000", "net": "unix", "debug": {"addr": ":5001"}, "secret": "s"}
    trial = UPGRADE.trial(config)
    assert trial is not None
    assert trial["storage"] == {"inmemory": {}, "cache": {"blobdescriptor": "redis"}}
    assert trial["http"] == {"addr": "127.0.0.1:0", "secret": "s"}
    assert not {"notifications", "proxy", "health"} & set(trial)
    assert trial["redis"] == config["redis"]
    assert config["http"]["addr"] == ":5000"
