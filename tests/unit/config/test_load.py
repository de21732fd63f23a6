"""Many files in, one checked site out, or every mistake at its line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.config.document import Origin
from ctl.config.dump import to_yaml
from ctl.config.load import load_site, site_path
from ctl.config.models import Model, Registry, StorageChoice, site_model
from ctl.errors import ConfigError

CASES = Path(__file__).resolve().parents[2] / "cases" / "sites" / "malformed"
GOOD = """\
version: 1
control_database: metadata
hosts:
  reg1: {connection: local}
databases:
  metadata: {embedded: true}
registries:
  main:
    engine: distribution
    database: metadata
    storage: {filesystem: {rootdirectory: /var/lib/registry/}}
    nodes:
      - host: reg1
        binary: /usr/bin/docker-registry
        config_file: /etc/docker/registry/config.yml
        url: http://127.0.0.1:5000
        service: {kind: systemd, name: docker-registry}
"""


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.yml"
    path.write_text(GOOD)
    return path


def drop_in(site_file: Path, name: str, text: str) -> Path:
    folder = site_file.parent / "site.d"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yml")), ids=lambda case: case.stem)
def test_a_malformed_site_gives_all_its_mistakes_at_their_lines(
    case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(ConfigError) as caught:
        load_site(case.name)
    assert list(caught.value.details) == case.with_suffix(".expected").read_text().splitlines()
    assert "hunter2" not in str(vars(caught.value))


def test_there_are_enough_malformed_sites() -> None:
    assert len(list(CASES.glob("*.yml"))) >= 20


def test_a_good_site_is_read_with_defaults(site_file: Path) -> None:
    loaded = load_site(str(site_file))
    registry = loaded.site.registries["main"]
    assert loaded.site.state_dir == "/var/lib/regctl"
    assert registry.storage.filesystem.rootdirectory == "/var/lib/registry"
    assert registry.nodes[0].service.kind == "systemd"
    assert loaded.site.databases["metadata"].sslmode == "verify-full"
    assert loaded.files == (str(site_file),)


def test_the_documented_example_is_a_site() -> None:
    examples = Path(__file__).resolve().parents[3] / "examples"
    for path in sorted(examples.glob("*/site.yml")):
        assert load_site(str(path)).site.version == 1, path


def test_drop_ins_merge_in_name_order_and_every_value_knows_its_place(site_file: Path) -> None:
    first = drop_in(site_file, "10-a.yml", "state_dir: /srv/a\nhosts:\n  reg2:\n    labels: {rack: a}\n")
    second = drop_in(site_file, "20-b.yml", "# only this\nstate_dir: /srv/b\n")
    drop_in(site_file, "30-comment.yml", "# nothing yet\n")
    drop_in(site_file, ".hidden.yml", "version: 7\n")
    drop_in(site_file, "notes.txt", "version: 7\n")
    loaded = load_site(str(site_file))
    assert loaded.site.state_dir == "/srv/b"
    assert set(loaded.site.hosts) == {"reg1", "reg2"}
    assert loaded.origins[("state_dir",)] == Origin(str(second), 2, 1)
    assert loaded.origins[("hosts", "reg2", "labels", "rack")] == Origin(str(first), 4, 14)
    assert loaded.origins[("hosts", "reg1")] == Origin(str(site_file), 4, 3)


def test_lists_replace_and_their_old_places_go(site_file: Path) -> None:
    node = (
        "{host: reg1, binary: /b, config_file: /c, url: 'http://[::1]:1', service: {kind: process, name: x}}"
    )
    path = drop_in(site_file, "10-a.yml", f"registries:\n  main:\n    nodes:\n      - {node}\n")
    loaded = load_site(str(site_file))
    assert len(loaded.site.registries["main"].nodes) == 1
    places = {p: o for p, o in loaded.origins.items() if p[:3] == ("registries", "main", "nodes")}
    assert {origin.file for origin in places.values()} == {str(path)}


def test_mistakes_of_all_files_come_together_in_file_order(site_file: Path) -> None:
    site_file.write_text(GOOD.replace("version: 1", "version: 3"))
    drop = drop_in(site_file, "10-a.yml", "state_dir: var\nhosts: {reg1: {labels: {a: 1}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_site(str(site_file))
    assert caught.value.details == (
        f"{site_file}:1:10: version: must be 1",
        f"{drop}:1:12: state_dir: must be an absolute path, starting with /",
        f'{drop}:2:28: hosts.reg1.labels.a: must be text: write it in quotes, as in "123"',
    )
    assert "3 mistakes" in caught.value.message


def test_a_missing_site_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(str(tmp_path / "site.yml"))
    assert "regctl init" in caught.value.hint


@pytest.mark.parametrize(
    ("given_path", "environment", "expected"),
    [
        ("/a/b.yml", {"REGCTL_SITE": "/c.yml"}, "/a/b.yml"),
        (None, {"REGCTL_SITE": "/c.yml"}, "/c.yml"),
        (None, {"REGCTL_CONFIG": "/other-program.yml"}, "/etc/regctl/site.yml"),
    ],
)
def test_the_site_file_is_the_option_the_variable_or_the_default(
    given_path: str | None, environment: dict[str, str], expected: str
) -> None:
    assert site_path(given_path, environment) == expected


class BucketStorage(Model):
    bucket: str


class TapeRegistry(Registry):
    engine: Literal["tape"]
    reels: int = 1


def test_a_plugin_adds_an_engine_and_a_storage_driver(site_file: Path) -> None:
    from ctl.config.models import DRIVERS, ENGINES

    model = site_model({**ENGINES, "tape": TapeRegistry}, {**DRIVERS, "bucket": BucketStorage})
    text = GOOD.replace("engine: distribution", "engine: tape\n    reels: 3")
    site_file.write_text(
        text.replace("filesystem: {rootdirectory: /var/lib/registry/}", "bucket: {bucket: x}")
    )
    registry = load_site(str(site_file), model).site.registries["main"]
    assert isinstance(registry, TapeRegistry)
    assert registry.reels == 3
    assert isinstance(registry.storage, StorageChoice)
    assert (registry.storage.driver, registry.storage.model_dump()["bucket"]) == ("bucket", {"bucket": "x"})
    site_file.write_text(
        GOOD.replace("engine: distribution", "engine: tap").replace("filesystem:", "bukket:")
    )
    with pytest.raises(ConfigError) as caught:
        load_site(str(site_file), model)
    told = "\n".join(caught.value.details)
    assert (
        "registries.main.engine: must be distribution or gitlab or tape or pulp, not 'tap'; "
        'did you mean "tape"?' in told
    )
    site_file.write_text(GOOD.replace("rootdirectory:", "rotdirectory:"))
    with pytest.raises(ConfigError) as caught:
        load_site(str(site_file), model)
    told = "\n".join(caught.value.details)
    assert 'storage.filesystem.rotdirectory: is not a known key; did you mean "rootdirectory"?' in told


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, st.dictionaries(WORDS, WORDS, max_size=3), min_size=1, max_size=3), WORDS)
def test_what_is_dumped_as_a_site_loads_as_the_same_site(
    tmp_path_factory: pytest.TempPathFactory, hosts: dict[str, dict[str, str]], word: str
) -> None:
    site = {
        "version": 1,
        "state_dir": "/srv/" + word.replace("/", "_").replace("..", "_").strip() + "x",
        "hosts": {name: {"connection": "local", "labels": labels} for name, labels in hosts.items()},
        "registries": {},
    }
    path = tmp_path_factory.mktemp("site") / "site.yml"
    path.write_text(to_yaml(site), encoding="utf-8")
    loaded = load_site(str(path)).site
    assert loaded.state_dir == site["state_dir"]
    assert {name: host.labels for name, host in loaded.hosts.items()} == hosts
