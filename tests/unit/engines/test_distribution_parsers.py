"""Version lines, durations, and collectors' output recorded from real binaries."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.base import CollectionOutput
from ctl.engines.distribution import Distribution
from ctl.engines.distribution_parsers import CollectionParser, duration_of, parse_duration, parse_version_line
from ctl.errors import ConfigError
from tests.support.collections import CASES, Transcript
from tests.support.images import image, multi_arch

DOOMED = frozenset(image("doomed", layers=1).everything())
UNTAGGED = image("first", layers=1)
INDEX = multi_arch("multi")

DEBIAN = "/usr/bin/docker-registry github.com/docker/distribution 2.8.2+ds1\n"
THREE = "registry github.com/distribution/distribution/v3 v3.1.1+unknown\n"


def parse(name: str) -> CollectionOutput:
    transcript = Transcript.read(CASES / f"{name}.txt")
    version = Version(name.split("-")[0])
    return Distribution().parse_collection(
        transcript.stdout, transcript.stderr, transcript.exit_code, version
    )


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (DEBIAN, "2.8.2+ds1"),
        (THREE, "3.1.1+unknown"),
        ("registry github.com/docker/distribution v2.8.3", "2.8.3"),
        ("registry github.com/distribution/distribution/v3 v3.0.0-rc.1.m+unknown", "3.0.0rc1"),
        ("registry github.com/docker/distribution v2.8.1-12-gabcdef1.m", "2.8.1"),
    ],
)
def test_version_lines(line: str, version: str) -> None:
    build = parse_version_line(line)
    assert (build.version, build.note) == (Version(version), "")


@pytest.mark.parametrize(
    ("line", "major"),
    [
        ("registry github.com/distribution/distribution/v3 (devel)", 3),
        ("registry github.com/distribution/distribution/v3", 3),
        ("registry github.com/docker/distribution abcdef1", 2),
    ],
)
def test_a_build_without_a_version_is_placed_by_its_module_and_says_so(line: str, major: int) -> None:
    build = parse_version_line(line)
    assert build.version.major == major
    assert "module path" in build.note
    assert Distribution().version_note(line) == build.note


@pytest.mark.parametrize("line", ["", "nginx version: nginx/1.22\n", "registry", "a b c"])
def test_other_programs_are_not_taken_for_a_registry(line: str) -> None:
    with pytest.raises(ConfigError, match="not a distribution registry"):
        parse_version_line(line)


def test_gitlabs_registry_has_the_same_module_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="GitLab"):
        parse_version_line("registry github.com/docker/distribution v4.32.0-gitlab")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("168h", 604800), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("0", 0), ("-3s", -3), (".5s", 0.5)],
)
def test_durations_of_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["7d", "", "5", "5 s", "s", "1h-5m", "1,5s", "5S", "99999999h"])
def test_no_durations_of_go(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1m", 60), (5_000_000_000, 5), (1.5e9, 1.5), (0, 0), (-1_000_000_000, -1)],
)
def test_durations_of_a_file(value: object, seconds: float) -> None:
    assert duration_of(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, True, "7d", 2**63, -(2**70), float("inf"), float("nan")])
def test_no_durations_of_a_file(value: object) -> None:
    assert duration_of(value) is None


@pytest.mark.parametrize("version", ["2.8.2", "3.1.1"])
@pytest.mark.parametrize("kind", ["dry-run", "run"])
def test_eligible_blobs_are_exactly_those_of_the_deleted_image(version: str, kind: str) -> None:
    output = parse(f"{version}-{kind}")
    assert output.complete
    assert output.eligible_blobs == DOOMED
    assert (output.marked_blobs, output.eligible_manifests, output.failure) == (17, frozenset(), "")
    assert output.summary.startswith("17 blobs marked")


@pytest.mark.parametrize("kind", ["untagged-dry-run", "untagged-run"])
def test_untagged_manifests_come_with_their_repository(kind: str) -> None:
    untagged = ("moved", UNTAGGED.digest)
    three = parse(f"3.1.1-{kind}")
    assert three.eligible_manifests == {untagged}
    # 2.8 takes the children of a tagged index for untagged, and does not print the repository itself
    two = parse(f"2.8.2-{kind}")
    assert two.eligible_manifests == {untagged} | {("multi", child.digest) for child in INDEX.children}
    assert two.complete
    assert three.complete
    assert three.eligible_blobs == DOOMED | set(UNTAGGED.everything())
    lost = {blob.digest for child in INDEX.children for blob in child.blobs}
    assert two.eligible_blobs == three.eligible_blobs | lost


@pytest.mark.parametrize("version", ["2.8.2", "3.1.1"])
def test_a_line_with_every_tag_of_a_repository_is_read(version: str) -> None:
    assert parse(f"{version}-many-tags").eligible_manifests == {("moved", UNTAGGED.digest)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2.8.2-unknown-option", "unknown flag: --not-an-option"),
        ("3.1.1-unknown-option", "unknown flag: --not-an-option"),
        ("2.8.2-quiet", "unknown flag: --quiet"),
        ("3.1.1-quiet", "without its summary line"),
        ("2.8.2-empty", "Path not found: /docker/registry/v2/repositories"),
        ("3.1.1-empty", "Path not found: /docker/registry/v2/repositories"),
        ("2.8.2-empty-link", "failed to garbage collect: failed to mark"),
        ("3.1.1-empty-link", "failed to garbage collect: failed to mark"),
    ],
)
def test_what_did_not_collect_is_not_complete_whatever_its_exit_code(name: str, words: str) -> None:
    output = parse(name)
    assert not output.complete
    assert words in output.failure


@pytest.mark.parametrize("version", ["2.8.2", "3.1.1"])
def test_every_shortened_output_is_incomplete(version: str) -> None:
    lines = Transcript.read(CASES / f"{version}-dry-run.txt").stdout.rstrip("\n").splitlines()
    links = sum("layer link eligible" in line for line in lines)
    for kept in range(len(lines) - links):
        parser = CollectionParser()
        parser.feed("".join(f"{line}\n" for line in lines[:kept]))
        assert not parser.finish("", 0).complete


@pytest.mark.parametrize("code", [1, 2, -9, -13, None])
def test_a_summary_line_does_not_excuse_the_exit_code(code: int | None) -> None:
    transcript = Transcript.read(CASES / "2.8.2-run.txt")
    parser = CollectionParser()
    parser.feed(transcript.stdout)
    output = parser.finish("", code)
    assert not output.complete
    assert output.failure


@given(st.lists(st.integers(1, 400)), st.sampled_from(["2.8.2-untagged-run", "3.1.1-untagged-run"]))
def test_it_does_not_matter_how_the_output_is_cut(sizes: list[int], name: str) -> None:
    data = Transcript.read(CASES / f"{name}.txt").stdout.encode()
    parser, rest = CollectionParser(), data
    for size in sizes:
        parser.feed(rest[:size])
        rest = rest[size:]
    parser.feed(rest)
    assert parser.finish("", 0) == parse(name)


def test_a_repository_is_not_taken_for_a_summary() -> None:
    parser = CollectionParser()
    parser.feed("a\na: marking manifest sha256:" + "0" * 64 + " \n1 blobs marked, 0 blobs and 0 manifests")
    parser.feed(" eligible for deletion\n")  # the real one follows an empty line
    assert not parser.finish("", 0).complete


def test_long_output_needs_little_memory() -> None:
    marking = "".join(f"r: marking blob sha256:{n:064x}\n" for n in range(10_000)).encode()
    tags = " ".join(f"tag-{n}" for n in range(5000))
    manifest = f"manifest eligible for deletion: {{r sha256:{1:064x} [{tags}]}}\n".encode()
    summary = b"\n1 blobs marked, 0 blobs and 100 manifests eligible for deletion\n"
    tracemalloc.start()
    parser = CollectionParser()
    parser.feed(b"r\n")
    for start in range(0, len(marking), 8192):
        parser.feed(marking[start : start + 8192])
    for _ in range(100):
        for start in range(0, len(manifest), 8192):
            parser.feed(manifest[start : start + 8192])
    parser.feed(summary)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parser.finish("", 0).complete
    assert peak < 1_000_000


def test_transcripts_of_both_versions_are_there() -> None:
    names = {path.stem.split("-", 1)[1] for path in Path(CASES).glob("2.8.2-*.txt")}
    assert names == {path.stem.split("-", 1)[1] for path in Path(CASES).glob("3.1.1-*.txt")}
    assert len(names) == 9
