"""Parameters that name a Pulp: taken where a Pulp is meant, and never mixed up with a registry."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ctl.errors import UsageError
from ctl.recipes.across import targets_of
from ctl.recipes.text import Parameter, RecipeModel, Targets
from ctl.recipes.values import given_values, hosts_of, settle


def site(*, pulps: tuple[str, ...] = ("katello",), registries: tuple[str, ...] = ("main",)) -> Any:
    def nodes(*hosts: str) -> Any:
        return SimpleNamespace(nodes=[SimpleNamespace(host=host) for host in hosts], engine="distribution")

    return cast(
        Any,
        SimpleNamespace(
            pulps={name: nodes("server", "proxy") for name in pulps},
            registries={name: nodes("reg1") for name in registries},
            hosts=dict.fromkeys(("reg1", "server", "other", "proxy")),
            databases={},
        ),
    )


def model(**types: str) -> RecipeModel:
    text = {
        "version": 1,
        "name": "toy",
        "summary": "toy",
        "why": "toy",
        "parameters": {name: {"type": kind, "help": "which"} for name, kind in types.items()},
        "items": [{"step": "put"}],
    }
    return RecipeModel.model_validate(text)


def test_the_only_one_is_meant_where_none_is_named() -> None:
    assert given_values(model(pulp="pulp", registry="registry"), {}, site()) == {
        "pulp": "katello",
        "registry": "main",
    }
    assert given_values(model(pulp="pulp"), {"pulp": "b"}, site(pulps=("a", "b"))) == {"pulp": "b"}


@pytest.mark.parametrize(
    ("kind", "given", "pulps", "words"),
    [
        ("pulp", "main", ("katello",), "must be a Pulp of the site: main is run by the engine distribution"),
        ("registry", "katello", ("katello",), "must be a registry of the site: katello is a Pulp"),
        ("pulp", "katelo", ("katello",), "there is no 'katelo'; did you mean \"katello\"?"),
        ("pulp", None, (), "needs --set which=VALUE"),
        ("pulp", None, ("a", "b"), "needs --set which=VALUE"),
    ],
)
def test_what_is_none_is_told_in_one_line(
    kind: str, given: str | None, pulps: tuple[str, ...], words: str
) -> None:
    values = {} if given is None else {"which": given}
    with pytest.raises(UsageError) as caught:
        given_values(model(which=kind), values, site(pulps=pulps))
    assert words in caught.value.message
    if given is None:
        assert caught.value.hint == (
            "the site has a, b" if pulps else "the site has no Pulp: describe one with `engine: pulp`"
        )


def test_a_pulp_always_has_a_value() -> None:
    parameter = Parameter(type="pulp", help="which", required=False)
    assert (parameter.may_be_absent, parameter.sort) == (False, "a Pulp of the site")


def test_its_nodes_are_nodes() -> None:
    assert hosts_of(site(), "katello") == ["server", "proxy"]
    assert targets_of(Targets(nodes="$pulp"), site(), {"pulp": "katello"}) == ["server", "proxy"]
    found = given_values(model(pulp="pulp", node="node"), {"node": "proxy"}, site())
    assert found == {"pulp": "katello", "node": "proxy"}
    assert list(settle(model(pulp="pulp", node="node"), "node", Parameter(type="node", help="w"))) == []
    with pytest.raises(UsageError, match="there is no 'reg1'"):
        given_values(model(pulp="pulp", node="node"), {"node": "reg1"}, site())
