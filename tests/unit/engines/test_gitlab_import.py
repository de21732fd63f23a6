"""The call of GitLab's import and its log, on transcripts of the real program (4.32.0)."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines.gitlab_import import (
    FLAGS,
    GitlabImportParser,
    go_duration,
    import_command,
    import_parser,
    parse_duration,
)
from ctl.engines.gitlab_import_failures import import_failure, is_transient
from ctl.engines.gitlab_import_skips import SKIPS, reason_of
from ctl.engines.metadata import ImportOptions, ImportOutput, ImportRecord, ImportStep

CASES = Path(__file__).parents[2] / "cases" / "gitlab"


def transcript(name: str) -> bytes:
    return (CASES / f"import-{name}-4.32.0.jsonl").read_bytes()


def errors(name: str) -> str:
    path = CASES / f"import-{name}-4.32.0.stderr.txt"
    return path.read_text() if path.exists() else ""


def read(name: str, exit_code: int | None = 0) -> tuple[list[ImportRecord], ImportOutput]:
    parser = import_parser()
    records = list(parser.feed(transcript(name)))
    return records, parser.finish(errors(name), exit_code)


def test_the_call_has_a_flag_for_every_option_and_the_configuration_last() -> None:
    options = ImportOptions(
        step=ImportStep.TWO,
        dry_run=True,
        row_count=True,
        skip_recent=timedelta(hours=1.5),
        statistics=False,
        dynamic_media_types=False,
        tag_concurrency=3,
        log_directory="/var/log/import",
        debug_server="127.0.0.1:6060",
    )
    command = import_command("/opt/registry", "/etc/registry.yml", options)
    assert command.argv == (
        "/opt/registry",
        "database",
        "import",
        "--log-to-stdout",
        "--step-two",
        "--dry-run",
        "--row-count",
        "--pre-import-skip-recent=5400s",
        "--import-statistics=false",
        "--dynamic-media-types=false",
        "--tag-concurrency=3",
        "--log-directory=/var/log/import",
        "--debug-server=127.0.0.1:6060",
        "/etc/registry.yml",
    )
    assert command.env == {"REGISTRY_LOG_FORMATTER": "json", "REGISTRY_LOG_LEVEL": "info"}
    assert set(FLAGS) >= {word.partition("=")[0] for word in command.argv if word.startswith("--")}


def test_without_options_the_call_is_the_import_in_one_step() -> None:
    assert import_command("r", "c", ImportOptions()).argv == (
        "r",
        "database",
        "import",
        "--log-to-stdout",
        "c",
    )


def test_an_import_in_one_step_is_told_by_its_phases() -> None:
    records, output = read("all")
    assert output.complete
    assert output.rows["tags"] == 4
    steps = [record.step for record in records if record.kind in ("repository", "blob")]
    assert steps[:2] == [ImportStep.ONE] * 2
    assert steps[2:4] == [ImportStep.TWO] * 2
    assert set(steps[4:]) == {ImportStep.THREE}
    assert records[0].kind == "started"
    assert records[0].step is None
    assert records[-1].kind == "done"
    assert sum(record.kind == "tag" and record.step is ImportStep.ONE for record in records) == 4
    assert all(record.time is not None for record in records)


@pytest.mark.parametrize(
    ("name", "step", "kinds"),
    [
        ("step-one", ImportStep.ONE, {"repository", "repository-done", "tags", "tag"}),
        ("step-one-again", ImportStep.ONE, {"repository", "repository-done"}),
        ("step-two", ImportStep.TWO, {"repository", "repository-done", "tags", "tag"}),
        ("step-three", ImportStep.THREE, {"blob"}),
    ],
)
def test_each_step_has_its_records(name: str, step: ImportStep, kinds: set[str]) -> None:
    records, output = read(name)
    assert output.complete
    assert {record.kind for record in records} - {"started", "done", "other"} == kinds
    assert {record.step for record in records if record.kind in kinds} == {step}
    assert records[0].step is step


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("tags-present", "tags-present", ""),
        ("abort-newline-tag-link", "link-length", "corrupt/newline-tag-link"),
        ("abort-tag-with-space", "tag-name", "corrupt/tag-with-space"),
        ("abort-stray-file-in-tags", "stray-in-tags", "corrupt/stray-file-in-tags"),
        ("abort-truncated-manifest", "manifest-unreadable", "corrupt/truncated-manifest"),
        ("abort-unknown-media-type", "manifest-type", "corrupt/unknown-media-type"),
        ("abort-illegal-repository-name", "repository-name", ""),
        ("abort-junk-in-blobs", "blob-path", ""),
        ("abort-no-repositories", "no-repositories", ""),
        ("wrong-password", "password", ""),
        ("refused", "transient", ""),
        ("database-gone", "transient", ""),
    ],
)
def test_a_failure_is_explained(name: str, kind: str, place: str) -> None:
    _, output = read(name, exit_code=1)
    assert not output.complete
    assert output.failure is not None
    assert output.failure.kind == kind
    assert place in output.failure.message
    assert output.failure.hint
    assert output.failure.last_line == errors(name).splitlines()[-1]
    assert is_transient(output.failure) is (kind == "transient")


def test_exit_code_and_closing_record_are_needed_together() -> None:
    whole = transcript("step-two")
    cut = b"\n".join(whole.splitlines()[:-1]) + b"\n"
    parser = GitlabImportParser()
    list(parser.feed(cut))
    found = parser.finish("", 0)
    assert not found.complete
    assert found.failure is not None
    assert found.failure.kind == "no-closing-record"
    for exit_code in (1, None, -9, 137):
        parser = GitlabImportParser()
        list(parser.feed(whole))
        assert not parser.finish("", exit_code).complete


def test_a_killed_import_says_so() -> None:
    parser = GitlabImportParser()
    list(parser.feed(transcript("step-one")[:2000]))
    failure = parser.finish("", -9).failure
    assert failure is not None
    assert failure.kind == "killed"
    assert "signal 9" in failure.message


@given(st.lists(st.integers(0, 15_000), max_size=12), st.binary(max_size=30))
def test_cut_anywhere_and_with_junk_between_the_records_are_the_same(cuts: list[int], junk: bytes) -> None:
    whole = transcript("all")
    expected = [(one.kind, one.step, one.repository, one.tag) for one in GitlabImportParser().feed(whole)]
    line = junk.replace(b"\n", b" ")
    noisy = b"\n".join((line, whole.rstrip(b"\n"), line, b""))
    parser, found = GitlabImportParser(), []
    edges = [0, *sorted(cuts), len(noisy)]
    for begin, end in itertools.pairwise(edges):
        found += [(one.kind, one.step, one.repository, one.tag) for one in parser.feed(noisy[begin:end])]
    assert found == expected
    assert parser.finish("", 0).complete


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    parser = GitlabImportParser()
    list(parser.feed(data))
    assert not parser.finish("", 0).complete


@given(
    st.dictionaries(
        st.sampled_from(
            ["msg", "level", "count", "total", "digest", "time", "repository", "error", "tag_name"]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=20)
        | st.lists(st.integers(), max_size=2),
    )
)
def test_no_record_makes_it_raise(fields: dict[str, object]) -> None:
    parser = GitlabImportParser()
    for record in parser.feed(json.dumps(fields).encode() + b"\n"):
        assert record.kind in ("other", "skipped", "error")


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    parser = GitlabImportParser()
    for _ in range(40):
        assert list(parser.feed(b"x" * 100_000)) == []
    assert len(parser._rest) <= 1 << 20
    assert [one.kind for one in parser.feed(b"\n" + transcript("step-three"))][-1] == "done"


def test_every_reason_is_known_by_its_word() -> None:
    records, _ = read("skips")
    skipped = [record for record in records if record.kind == "skipped"]
    assert len(skipped) == 39
    assert "other" not in {record.reason for record in skipped}
    assert {record.reason for record in skipped} <= set(SKIPS)
    assert reason_of("a sentence of a later version") == "other"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("72h", 259200.0),
        ("0", 0.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("72", None),
        ("-1h", None),
        ("", None),
    ],
)
def test_durations_are_read_as_the_program_reads_them(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@given(st.timedeltas(timedelta(0), timedelta(days=100)))
def test_a_written_duration_is_read_back(value: timedelta) -> None:
    found = parse_duration(go_duration(value))
    assert found is not None
    assert abs(found - value.total_seconds()) < 1e-5


def test_an_unknown_failure_keeps_the_programs_last_words() -> None:
    found = import_failure("first line\nsomething new went wrong\n")
    assert (found.kind, found.last_line) == ("unknown", "something new went wrong")
