"""GitLab's collector, from output recorded from the real program."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.base import CollectionOutput
from ctl.engines.gitlab import Gitlab
from ctl.engines.gitlab_parsers import CollectionParser
from tests.support.collections import Transcript
from tests.support.gitlab_collections import case
from tests.support.images import image

VERSION = Version("4.32.0")
DOOMED = frozenset(image("doomed", layers=1).everything())
UNTAGGED = image("first", layers=1)
LIVE = frozenset(d for name in ("one", "two") for d in image(name).everything())


def parse(name: str, **changes: object) -> CollectionOutput:
    found = Transcript.read(case(name))
    stdout = str(changes.get("stdout", found.stdout))
    code = changes.get("exit_code", found.exit_code)
    assert code is None or isinstance(code, int)
    return Gitlab().parse_collection(stdout, found.stderr, code, VERSION)


@pytest.mark.parametrize("name", ["dry-run", "run"])
def test_what_is_eligible_is_named_and_counted(name: str) -> None:
    output = parse(name)
    assert output.complete
    assert not output.failure
    assert output.eligible_blobs == DOOMED
    assert output.eligible_manifests == frozenset()
    assert output.marked_blobs == 17
    assert "storage_use_estimate_bytes 2984" in output.summary


@pytest.mark.parametrize("name", ["untagged-dry-run", "untagged-run"])
def test_untagged_manifests_are_named_with_their_repository(name: str) -> None:
    output = parse(name)
    assert output.complete
    assert output.eligible_manifests == {("moved", UNTAGGED.digest)}
    assert output.eligible_blobs == DOOMED | set(UNTAGGED.everything())


def test_bytes_are_what_the_program_estimates() -> None:
    parser = CollectionParser()
    parser.feed(Transcript.read(case("run")).stdout)
    assert parser.bytes == 2984


def test_a_storage_without_repositories_is_complete_and_empty() -> None:
    output = parse("empty")
    assert (output.complete, output.summary, output.marked_blobs) == (True, "no repositories", 0)


def test_an_emptied_link_makes_live_blobs_eligible_and_is_named() -> None:
    parser = CollectionParser()
    parser.feed(Transcript.read(case("empty-link")).stdout)
    output = parser.finish("", 0)
    assert output.complete
    assert output.eligible_blobs & LIVE  # why its plan is compared with ours before anything goes
    (path,) = parser.invalid_links
    assert "/_manifests/revisions/" in path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unknown-option", "unknown flag: --not-an-option"),
        ("locked", "database managed filesystem, cannot continue"),
        ("database-on", "not compatible with database metadata"),
        ("truncated-manifest", "unexpected end of JSON input"),
        ("quiet", "without its record `mark stage complete`"),
    ],
)
def test_what_failed_is_said_in_the_programs_words(name: str, reason: str) -> None:
    output = parse(name)
    assert not output.complete
    assert reason in output.failure


def test_exit_code_0_without_the_sweep_is_not_complete() -> None:
    lines = Transcript.read(case("run")).stdout.splitlines()
    cut = [line for line in lines if "sweep stage complete" not in line]
    assert "sweep stage complete" in parse("run", stdout="\n".join(cut)).failure
    assert parse("dry-run").complete  # a dry run has none


def test_a_batch_deleted_in_part_is_a_failure_although_the_program_exits_0() -> None:
    stdout = Transcript.read(case("run")).stdout.replace('"blobs deleted"', '"blobs partially deleted"')
    output = parse("run", stdout=stdout)
    assert not output.complete
    assert "partially deleted" in output.failure


@pytest.mark.parametrize(
    ("code", "words"), [(None, "nobody knows how"), (-9, "signal 9"), (1, "exit code 1")]
)
def test_how_it_ended_counts(code: int | None, words: str) -> None:
    assert words in parse("run", exit_code=code).failure


def test_a_record_lost_on_the_way_is_noticed() -> None:
    lines = Transcript.read(case("run")).stdout.splitlines()
    lines.remove(next(line for line in lines if "blob eligible for deletion" in line))
    assert "not whole" in parse("run", stdout="\n".join(lines)).failure


@given(st.lists(st.integers(1, 400), max_size=40), st.sampled_from(["run", "untagged-run", "empty-link"]))
def test_output_may_be_cut_anywhere(cuts: list[int], name: str) -> None:
    stdout, parser, at = Transcript.read(case(name)).stdout.encode(), CollectionParser(), 0
    for cut in cuts:
        parser.feed(stdout[at : at + cut])
        at += cut
    parser.feed(stdout[at:])
    assert parser.finish("", 0) == parse(name)


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=5), st.none() | st.integers(), max_size=3))
def test_nothing_on_stdout_breaks_it(noise: str, record: dict[str, int | None]) -> None:
    parser = CollectionParser()
    parser.feed(f"{noise}\n{json.dumps(record)}\n[1]\n")
    assert not parser.finish("", 0).complete


def test_the_log_is_whole_whatever_the_file_says() -> None:
    command = Gitlab().collect_command("/r", "/c.yml", VERSION, dry_run=True, delete_untagged=True)
    assert command.argv == ("/r", "garbage-collect", "--dry-run", "--delete-untagged", "/c.yml")
    assert command.env == {
        "REGISTRY_LOG_LEVEL": "info",
        "REGISTRY_LOG_FORMATTER": "json",
        "REGISTRY_LOG_OUTPUT": "stdout",
    }
