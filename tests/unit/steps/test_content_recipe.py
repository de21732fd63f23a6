"""The recipe of preparing: who gets which steps, in which order, and what is locked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from packaging.version import Version

from ctl.config.models import CronFile, Maintenance
from ctl.config.pulp import ContentWork, PulpNode, PulpService
from ctl.recipes.codec import places
from ctl.recipes.model import Across, Recipe
from ctl.steps.content_recipe import Asked, content_recipe, not_needed, without_idle
from ctl.steps.content_survey import HostSurvey
from ctl.steps.reindex_record import owe
from ctl.testing import MemoryWorld

LEFT = HostSurvey(
    "server", "server", Version("2.24.15"), mode="chunks", total=9, remaining=9, seconds_each=1000
)
DONE = HostSurvey("proxy", "proxy", Version("2.24.15"), mode="chunks", total=9, remaining=0)


def world(folder: Path) -> Any:
    program = {"manager": "/m", "settings_file": "/s"}
    server = PulpNode.model_validate(
        {
            **program,
            "host": "server",
            "role": "server",
            "reindex": ("work",),
            "services": [PulpService(name="pulp-api")],
            "database_service": PulpService(name="postgresql"),
        }
    )
    proxy = PulpNode.model_validate({**program, "host": "proxy", "role": "proxy"})
    timer = CronFile(host="server", kind="cron-file", path="/etc/cron.d/orphans")
    pulp = SimpleNamespace(
        nodes=(server, proxy), content=ContentWork(), maintenance=Maintenance(timers=(timer,))
    )
    site = SimpleNamespace(pulps={"katello": pulp}, registries={}, maintenance=Maintenance())
    return MemoryWorld(site, str(folder / "state"))


def rows(recipe: Recipe) -> dict[str, list[str]]:
    """The steps of each host, in order."""
    (across,) = recipe.items
    assert isinstance(across, Across)
    names = {f"1.r{number}": row.host for number, row in enumerate(across.rows, 1)}
    found: dict[str, list[str]] = {host: [] for host in names.values()}
    for place in places(recipe.items):
        found[names[place.row]].append(type(place.step).__name__)
    return found


def test_what_stands_around_the_work(tmp_path: Path) -> None:
    recipe = content_recipe(world(tmp_path), "katello", (LEFT, DONE), Asked())
    assert rows(recipe) == {
        "server": [
            "PackagesRest",
            "TimerRests",
            "ServicesAsBefore",
            "DatabaseRuns",
            "KeepContent",
            "OweReindex",
            "PrepareContent",
            "ReindexContent",
        ],
        "proxy": ["PrepareContent", "ReindexContent"],
    }
    assert recipe.resources == ("pulp/katello", "registry/katello", "host/server", "host/proxy")
    proxy = content_recipe(world(tmp_path), "katello", (replace(LEFT, host="proxy"),), Asked())
    assert rows(proxy) == {"proxy": ["PackagesRest", "KeepContent", "PrepareContent", "ReindexContent"]}


def test_a_reindex_that_is_owed_is_enough_to_do(tmp_path: Path) -> None:
    here = world(tmp_path)
    nothing = content_recipe(here, "katello", (replace(DONE, host="server", role="server"),), Asked())
    assert nothing.decided_by == "PrepareContent"
    owe(here.state_dir, "katello", "earlier")
    recipe = content_recipe(here, "katello", (replace(DONE, host="server", role="server"),), Asked())
    assert (recipe.decided_by, rows(recipe)) == (
        "ReindexContent",
        {"server": ["PrepareContent", "ReindexContent"]},
    )


def test_what_is_not_worth_it_says_so_and_does_nothing(tmp_path: Path) -> None:
    here, short = world(tmp_path), replace(LEFT, seconds_each=1.0)
    recipe = content_recipe(here, "katello", (short,), Asked())
    assert [type(place.step).__name__ for place in places(recipe.items)] == ["NotWorth"]
    assert not_needed(here, "katello", (short,), Asked()) == recipe.title
    for asked in (Asked(although_short=True), Asked(to=Version("2.27.14"))):
        assert "PrepareContent" in rows(content_recipe(here, "katello", (short,), asked))["server"]
        assert not_needed(here, "katello", (short,), asked) == ""
    owe(here.state_dir, "katello", "earlier")  # what an earlier run owes is done in any case
    assert "ReindexContent" in rows(content_recipe(here, "katello", (short,), Asked()))["server"]


def test_a_check_is_passed_over_only_where_it_is_made(tmp_path: Path) -> None:
    work = content_recipe(world(tmp_path), "katello", (LEFT,), Asked())
    idle = content_recipe(world(tmp_path), "katello", (DONE,), Asked())
    assert without_idle(work, ("package-manager", "x")) == ("package-manager", "x")
    assert without_idle(idle, ("package-manager", "x")) == ("x",)
