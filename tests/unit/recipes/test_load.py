"""Recipes in YAML: every mistake at its line, and the folders where recipes are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.errors import ConfigError, UsageError
from ctl.recipes.load import RecipeFile, find_recipe, own_folder, read_file, read_recipe, recipe_files
from tests.unit.recipes.words import Words

CASES = Path(__file__).resolve().parents[2] / "cases" / "recipes" / "malformed"
GOOD = """\
version: 1
name: good
summary: Put a few things
why: to see them put
parameters:
  registry: {type: registry, help: which one}
  much: {type: integer, default: 3, help: how much}
items:
  - check: roll
    with: {registry: $registry, node: here}
    because: looking is cheap
    remedy: mend it
  - within:
      - for_each: node
        do:
          - step: shut
            with: {registry: $registry, node: $node}
    because: nobody may push
    do:
      - step: put
        with: {name: "$registry-a", value: $much}
        because: it is what we came for
"""


def text_of(name: str, data: str) -> bytes:
    return data.replace("name: good\n", f"name: {name}\n", 1).encode()


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yml")), ids=lambda case: case.stem)
def test_a_malformed_recipe_gives_all_its_mistakes_at_their_lines(
    case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(ConfigError) as caught:
        read_file(RecipeFile(case.stem, case.name, "site"), Words())
    assert list(caught.value.details) == case.with_suffix(".expected").read_text().splitlines()


def test_there_are_enough_malformed_recipes() -> None:
    assert len(list(CASES.glob("*.yml"))) >= 15


def test_a_good_recipe_is_read_with_the_places_of_its_values() -> None:
    text = read_recipe(GOOD.encode(), RecipeFile("good", "good.yml", "site"), Words())
    assert text.name == "good"
    assert text.model.parameters["much"].default == 3
    assert text.model.registries() == ["registry"]
    places = {path: str(node.origin) for path, node in text.root.walk()}
    assert places["items", 1, "do", 0, "step"] == "good.yml:20:15"


@pytest.mark.parametrize("line", GOOD.splitlines()[5:], ids=range(6, len(GOOD.splitlines()) + 1))
def test_a_slip_in_any_line_is_a_mistake_in_that_line(line: str) -> None:
    """The positive control of strictness: no line of a recipe is read past."""
    stripped = line.lstrip(" -")
    key = stripped.partition(":")[0]
    slipped = GOOD.replace(line, line.replace(key, f"{key}x", 1), 1)
    with pytest.raises(ConfigError) as caught:
        read_recipe(slipped.encode(), RecipeFile("good", "good.yml", "site"), Words())
    number = GOOD.splitlines().index(line) + 1
    # a parameter's own name is no mistake by itself: what uses it is
    used = [at for at, one in enumerate(GOOD.splitlines(), 1) if f"${key}" in one]
    lines = [int(detail.split(":")[1]) for detail in caught.value.details]
    assert number in lines or set(used) <= set(lines) != set()


@given(st.text(alphabet="abc:-{}[]$\"'\n #", max_size=80))
@settings(max_examples=150, deadline=None)
def test_no_text_is_a_traceback(tail: str) -> None:
    head = "version: 1\nname: any\nsummary: s\nwhy: w\nitems:\n  - step: put\n    with: {name: "
    details: tuple[str, ...] = ("any.yml:",)
    try:
        read_recipe((head + tail).encode(), RecipeFile("any", "any.yml", "site"), Words())
    except ConfigError as error:
        details = error.details
    assert details
    assert all(detail.startswith("any.yml:") for detail in details)


def test_folders_are_listed_and_a_name_is_found(tmp_path: Path) -> None:
    shipped, plugin = tmp_path / "shipped", tmp_path / "plugin"
    own = Path(own_folder(str(tmp_path / "site.yml")))
    assert own == tmp_path / "recipes.d"
    for folder, name in ((shipped, "one"), (plugin, "two"), (own, "three")):
        folder.mkdir()
        (folder / f"{name}.yml").write_bytes(text_of(name, GOOD))
    (own / "notes.txt").write_text("no recipe")
    (own / ".hidden.yml").write_text("no recipe")
    files = recipe_files([str(shipped)], [str(plugin)], str(own))
    assert [(one.name, one.source) for one in files] == [
        ("one", "shipped"),
        ("three", "site"),
        ("two", "plugin"),
    ]
    assert read_file(find_recipe(files, "three"), Words()).name == "three"
    with pytest.raises(UsageError, match='did you mean "three"'):
        find_recipe(files, "tree")
    assert recipe_files([], [], str(tmp_path / "nowhere")) == []


def test_no_recipe_takes_the_place_of_another(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped, own):
        folder.mkdir()
        (folder / "good.yml").write_text(GOOD)
    with pytest.raises(ConfigError, match="2 recipes are called good") as caught:
        find_recipe(recipe_files([str(shipped)], [], str(own)), "good")
    assert caught.value.details == (str(shipped / "good.yml"), str(own / "good.yml"))


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_recipe_that_everybody_may_write_is_not_read(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "recipes.d"
    folder.mkdir(mode=0o755)
    path = folder / "good.yml"
    path.write_text(GOOD)
    file = RecipeFile("good", str(path), "site")
    assert read_file(file, Words()).name == "good"
    (path if what == "file" else folder).chmod(0o777)
    with pytest.raises(ConfigError, match="everybody may write") as caught:
        read_file(file, Words())
    assert caught.value.hint.startswith("chmod o-w ")
