"""A registry's own database: described once in the site, said in the registry's words, and found again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.config.connection import connection, described
from ctl.config.models import Database, DistributionRegistry, GitlabRegistry, Node, Registry
from ctl.config.settings import POOL, compose, config_for, is_contained
from ctl.errors import ConfigError
from ctl.templates import defaults_for

NODE = {
    "host": "here",
    "binary": "/r",
    "config_file": "/c.yml",
    "url": "http://127.0.0.1:5000",
    "service": {"kind": "process", "name": "r"},
}
DEFAULTS = defaults_for("gitlab/4.yml.j2")
EXTERNAL = {"host": "db", "dbname": "registry", "user": "u", "password": "file:/p", "sslmode": "require"}
REFERENCE = "file:/secrets/main.http.secret"


def registry(kind: type[Registry] = GitlabRegistry, **more: Any) -> Registry:
    engine = "gitlab" if kind is GitlabRegistry else "distribution"
    storage = {"filesystem": {"rootdirectory": "/srv"}}
    return kind.model_validate({"engine": engine, "storage": storage, "nodes": [NODE], **more})


def rendered(described_as: Registry, databases: dict[str, Database]) -> dict[str, Any]:
    login = connection(databases, "main", described_as)
    node: Node = described_as.nodes[0]
    return compose(described_as, node, DEFAULTS, REFERENCE, login)


def test_the_login_comes_from_the_sites_database_and_config_lies_over_it() -> None:
    databases = {"d": Database.model_validate(EXTERNAL)}
    made = registry(database="d", config={"database": {"enabled": True, "host": "pooler"}})
    section = rendered(made, databases)["database"]
    assert section["host"] == "pooler"
    assert {key: section[key] for key in ("dbname", "user", "password", "sslmode", "port", "enabled")} == {
        "dbname": "registry",
        "user": "u",
        "password": "file:/p",
        "sslmode": "require",
        "port": 5432,
        "enabled": True,
    }


def test_distributions_catalog_database_is_none_of_its_registrys_business() -> None:
    databases = {"d": Database.model_validate(EXTERNAL)}
    assert connection(databases, "main", registry(DistributionRegistry, database="d")) == {}
    assert connection(databases, "main", registry()) == {}


def test_the_embedded_database_is_refused() -> None:
    databases = {"d": Database(embedded=True)}
    with pytest.raises(ConfigError, match="no registry can log in"):
        connection(databases, "main", registry(database="d"))


@pytest.mark.parametrize(
    "config", [{}, {"database": {"pool": None}}, {"database": {"pool": {"maxidle": None}}}]
)
def test_a_rendered_database_always_has_its_pool(config: dict[str, Any]) -> None:
    pool = rendered(registry(config=config), {})["database"]["pool"]
    assert (pool["maxidle"], pool["maxopen"]) == (25, 25)
    given = {"database": {"pool": {"maxidle": 3, "maxopen": 4}}}
    assert rendered(registry(config=given), {})["database"]["pool"]["maxidle"] == 3


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.sampled_from([True, False, "prefer"]),
        "host": st.sampled_from(["db", "pooler"]),
        "port": st.sampled_from([5432, 6432]),
        "user": st.just("u"),
        "dbname": st.just("registry"),
        "password": st.just("file:/p"),
        "sslmode": st.sampled_from(["disable", "verify-full"]),
        "pool": st.fixed_dictionaries({}, optional={"maxidle": st.just(5), "maxlifetime": st.just("1h")}),
        "draintimeout": st.just("1m"),
    },
)


@given(st.none() | SECTIONS, st.booleans(), SECTIONS)
def test_what_was_adopted_renders_what_was_there(
    section: dict[str, Any] | None, named: bool, earlier: dict[str, Any]
) -> None:
    """Whatever the site said before, and whether it names the database or not."""
    found: dict[str, Any] = {"version": "0.1", "storage": {"filesystem": {"rootdirectory": "/srv"}}}
    found["http"] = {"addr": "127.0.0.1:5000", "secret": REFERENCE, "draintimeout": "5s"}
    if section is not None:
        found["database"] = section
    databases = {"d": Database.model_validate(EXTERNAL)}
    more: dict[str, Any] = {"database": "d"} if named else {}
    before = registry(config={"database": earlier}, **more)
    login = connection(databases, "main", before)
    over = config_for(before, before.nodes[0], DEFAULTS, found, login)
    merged = {**before.config, **over}
    merged["database"] = _laid(before.config["database"], over.get("database", {}))
    after = before.model_copy(update={"config": merged})
    result = compose(after, after.nodes[0], DEFAULTS, REFERENCE, login)
    assert is_contained(found, result), (found, over, result.get("database"))
    assert len(POOL) == 2


def _laid(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: _laid(base.get(key), value) for key, value in over.items()}}


def test_a_file_that_names_no_database_describes_none() -> None:
    assert described({}, "file:/p") is None
    assert described({"enabled": False, "host": "db"}, "file:/p") is None


def test_what_the_file_leaves_out_is_said_as_the_program_takes_it() -> None:
    section = {"host": "db", "dbname": "registry", "user": "u"}
    assert described(section, "file:/p") == {**section, "port": 5432, "sslmode": "prefer"}
    full = {**section, "port": 6432, "password": "word", "sslmode": "verify-ca", "sslrootcert": "/ca.pem"}
    assert described(full, "file:/p") == {**full, "password": "file:/p"}
    Database.model_validate(described(full, "file:/p"))
