"""`across` in a recipe's text: which hosts it means, what each gets, and every mistake at its place."""

from __future__ import annotations

from typing import Any

import pytest

from ctl.config.models import Host as HostModel
from ctl.config.models import Site
from ctl.errors import ConfigError, RefusedError, UsageError
from ctl.recipes.codec import acrosses, dump, load, places
from ctl.recipes.describe import show_report
from ctl.recipes.expand import Built, Surroundings, build
from ctl.recipes.load import RecipeFile, RecipeText, read_recipe
from ctl.recipes.model import Across, Within
from ctl.recipes.schema import recipe_schema
from tests.unit.recipes.toys import Box
from tests.unit.recipes.words import Words

HEAD = """\
version: 1
name: any
summary: Try it
why: to see
parameters:
  registry: {type: registry, help: which one}
  some: {type: host, default: p1, help: a host}
  side: {type: integer, default: 3, help: how many at once}
  word: {type: string, default: x, help: a word}
  perhaps: {type: integer, required: false, help: may be absent}
"""


class Proxies(Box):
    """A site of two registry hosts and four others with labels."""

    @property
    def site(self) -> Site:
        found = super().site
        labels = {
            "p1": {"role": "proxy", "site": "north"},
            "p2": {"role": "proxy", "site": "south"},
            "p3": {"role": "proxy", "site": "south"},
            "db": {"role": "database"},
        }
        more = {name: HostModel(connection="ssh", address=name, labels=its) for name, its in labels.items()}
        return found.model_copy(update={"hosts": {**found.hosts, **more}})


@pytest.fixture
def world(tmp_path: Any) -> Proxies:
    box = Proxies(str(tmp_path))
    box.add_registry("main", "reg1", "reg2")
    return box


def read(items: str, head: str = HEAD) -> RecipeText:
    return read_recipe((head + items).encode(), RecipeFile("any", "any.yml", "site"), Words())


def built(world: Any, items: str, head: str = HEAD, **given: Any) -> Built:
    around = Surroundings(world, "/etc/regctl/site.yml", "/etc/regctl/secrets", "1.2")
    return build(read(items, head), Words(), around, given)


def across(found: Built) -> Across:
    return next(iter(acrosses(found.recipe.items)))[1]


def mistakes(items: str, head: str = HEAD) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(items, head)
    return caught.value.details


PUT = "\n    do: [{step: put, with: {name: $host}}]\n"


@pytest.mark.parametrize(
    ("targets", "hosts"),
    [
        ("{hosts: [p1, p3]}", ["p1", "p3"]),
        ("{hosts: [p*]}", ["p1", "p2", "p3"]),
        ("{hosts: ['all&!role=proxy']}", ["reg1", "reg2", "db"]),
        ("{hosts: [$some, db]}", ["p1", "db"]),
        ("{roles: [proxy]}", ["p1", "p2", "p3"]),
        ("{roles: [database, proxy], hosts: ['p*', db]}", ["p1", "p2", "p3", "db"]),
        ("{roles: [proxy], labels: {site: south}}", ["p2", "p3"]),
        ("{nodes: $registry}", ["reg1", "reg2"]),
    ],
)
def test_hosts_are_those_that_all_keys_mean(world: Proxies, targets: str, hosts: list[str]) -> None:
    found = across(built(world, f"items:\n  - across: {targets}{PUT}"))
    assert [row.host for row in found.rows] == hosts
    assert (found.canary, found.at_once, found.max_fail) == (0, 10, 0)


def test_each_row_has_its_host_and_its_own_steps(world: Proxies) -> None:
    found = built(
        world,
        """\
items:
  - step: put
    with: {name: first}
  - within: [{step: switch, with: {name: outer}}]
    do:
      - across: {nodes: $registry}
        canary: 1
        at_once: $side
        max_fail: 2
        because: nodes wait for each other
        do:
          - within: [{step: switch, with: {name: "s-$host"}}]
            do: [{step: roll, with: {registry: $registry, node: $node}}]
            because: $host must not be asked meanwhile
""",
    )
    rows = across(found)
    assert (rows.canary, rows.at_once, rows.max_fail, rows.because) == (1, 3, 2, "nodes wait for each other")
    assert [place.path for place in places(found.recipe.items)] == [
        "1",
        "2.s1",
        "2.1.r1.1.s1",
        "2.1.r1.1.1",
        "2.1.r2.1.s1",
        "2.1.r2.1.1",
    ]
    inner = rows.rows[1].body[0]
    assert isinstance(inner, Within)
    assert (inner.because, inner.scopes[0].title()) == (
        "reg2 must not be asked meanwhile",
        "switch s-reg2 off",
    )
    assert found.recipe.resources == ("registry/main", "host/reg1", "host/reg2")
    assert load(dump(found.recipe)).items == found.recipe.items


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ("{hosts: [p9]}", "the site has no host 'p9'"),
        ("{roles: [prxy]}", "no host of the site has the label role=prxy"),
        ("{labels: {sight: south}}", "no host of the site has a label 'sight'"),
    ],
)
def test_what_names_nothing_is_an_error(world: Proxies, targets: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        built(world, f"items:\n  - across: {targets}{PUT}")


def test_no_host_left_is_refused_rather_than_run_nowhere(world: Proxies) -> None:
    with pytest.raises(RefusedError, match="hosts db, roles proxy"):
        built(world, f"items:\n  - across: {{hosts: [db], roles: [proxy]}}{PUT}")


@pytest.mark.parametrize(
    ("items", "line"),
    [
        (
            f"items:\n  - across: {{host: [p1]}}{PUT}",
            "any.yml:12:14: items[0].across.host: is not a known key",
        ),
        (f"items:\n  - across: {{}}{PUT}", "any.yml:12:13: items[0].across: needs one of hosts, roles"),
        (f"items:\n  - across: {{hosts: []}}{PUT}", "any.yml:12:21: items[0].across.hosts"),
        (f"items:\n  - acros: {{hosts: [p1]}}{PUT}", 'did you mean "across"?'),
        (
            f"items:\n  - across: {{hosts: ['a,,b']}}{PUT}",
            "any.yml:12:22: items[0].across.hosts[0]: a part of",
        ),
        (f"items:\n  - across: {{hosts: [$what]}}{PUT}", "uses $what, which is no parameter"),
        (f"items:\n  - across: {{nodes: $some}}{PUT}", "must be a parameter of the type registry or pulp"),
        (
            f"items:\n  - across: {{hosts: [p1]}}\n    at_once: 0{PUT}",
            "any.yml:13:14: items[0].at_once: must be",
        ),
        (f"items:\n  - across: {{hosts: [p1]}}\n    canary: many{PUT}", "must be a whole number"),
        (f"items:\n  - across: {{hosts: [p1]}}\n    canary: -1{PUT}", "any.yml:13:13: items[0].canary"),
        (
            f"items:\n  - across: {{hosts: [p1]}}\n    max_fail: $word{PUT}",
            "takes no string, as $word is one",
        ),
        (f"items:\n  - across: {{hosts: [p1]}}\n    max_fail: $perhaps{PUT}", "may have none"),
        (f"items:\n  - across: {{hosts: [p1]}}\n    serial: 2{PUT}", "items[0].serial: is not a known key"),
        ("items:\n  - across: {hosts: [p1]}\n", "items[0].do: is missing"),
        (
            "items:\n  - across: {hosts: [p1]}\n    do: [{step: put, with: {name: $node}}]\n",
            "which has a value only within `for_each: node` or `across` with `nodes`",
        ),
        (
            "items:\n  - across: {hosts: [p1]}\n    do:\n      - across: {hosts: [p2]}"
            "\n        do: [{step: put, with: {name: a}}]\n",
            "stands within another across",
        ),
    ],
)
def test_every_mistake_has_its_place(items: str, line: str) -> None:
    assert any(line in one for one in mistakes(items)), mistakes(items)


def test_a_role_that_the_site_lacks_is_refused(world: Proxies) -> None:
    head = HEAD + "requires:\n  - {role: proxy, at_least: 4}\n"
    with pytest.raises(RefusedError, match="only 3 of the 4 hosts"):
        built(world, f"items:\n  - across: {{roles: [proxy]}}{PUT}", head)
    head = HEAD + "requires:\n  - {role: mirror}\n"
    with pytest.raises(RefusedError, match="the site has no host"):
        built(world, f"items:\n  - across: {{roles: [proxy]}}{PUT}", head)
    assert (
        "belongs to another entry"
        in mistakes(
            f"items:\n  - across: {{roles: [proxy]}}{PUT}", head.replace("mirror}", "mirror, engine: gitlab}")
        )[0]
    )


def test_a_parameter_may_pick_the_hosts(world: Proxies) -> None:
    found = built(world, f"items:\n  - across: {{hosts: [$some]}}{PUT}", some="db")
    assert [row.host for row in across(found).rows] == ["db"]


def test_it_is_shown_and_stands_in_the_schema() -> None:
    shown = show_report(read(f"items:\n  - across: {{roles: [proxy]}}\n    canary: 1{PUT}"))
    text = "\n".join(getattr(block, "text", "") for block in shown.blocks)
    assert "across roles proxy, 1 first, alone, 10 at once, at most 0 may fail" in text
    schema = recipe_schema(Words())
    assert set(schema["$defs"]["AcrossItem"]["required"]) == {"across", "do"}
    assert set(schema["$defs"]["Targets"]["properties"]) == {"hosts", "roles", "labels", "nodes"}
