"""Which backend it is: every combination of what configuration, lock files, header and tables can say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from ctl.catalog.backend import (
    BackendEvidence,
    Count,
    ImportRun,
    Mode,
    asked_backend,
    hindrances,
    judge,
    names_database,
    propose,
)
from ctl.catalog.lockfiles import LockFiles

NONE, FS, DB, BOTH = LockFiles(), LockFiles(False, True), LockFiles(True, False), LockFiles(True, True)
STOPPED = "stopped"
TABLES: dict[str, tuple[bool | None, Count | None, Count | None]] = {
    "unknown": (None, None, None),
    "no schema": (False, None, None),
    "empty": (True, Count(0), Count(0)),
    "repositories": (True, Count(3), Count(0)),
    "tags": (True, Count(3), Count(7)),
}


@dataclass(frozen=True)
class Case:
    """One combination, and the evidence that it makes."""

    asked: Any
    locks: LockFiles | None
    header: Any  # True, False, None (does not answer) or STOPPED
    tables: str
    tree: bool | None

    def evidence(self) -> BackendEvidence:
        schema, repositories, tags = TABLES[self.tables]
        unknown = {}
        if self.asked is None:
            unknown["config a"] = "it cannot be read"
        if self.locks is None:
            unknown["locks"] = "the disk is not there"
        if self.header is None:
            unknown["header a"] = "it does not answer"
        if self.tables == "unknown":
            unknown["database"] = "it does not answer"
        if self.tree is None:
            unknown["tree"] = "too large"
        return BackendEvidence(
            asked={"a": self.asked},
            locks=self.locks,
            header={} if self.header == STOPPED else {"a": self.header},
            schema=schema,
            repositories=repositories,
            tags=tags,
            tree=self.tree,
            unknown=unknown,
        )


def cases() -> Iterator[Case]:
    for values in product(
        ("filesystem", "database", "prefer", None),
        (NONE, FS, DB, BOTH, None),
        (True, False, None, STOPPED),
        tuple(TABLES),
        (True, False, None),
    ):
        yield Case(*values)


def test_the_tree_may_be_changed_only_where_everything_is_known_and_nothing_says_database() -> None:
    for case in cases():
        allowed = (
            case.asked == "filesystem"
            and case.locks in (NONE, FS)
            and case.header in (False, STOPPED)
            and case.tables in ("no schema", "empty")
        )
        assert (not list(hindrances(case.evidence()))) == allowed, case


def test_an_import_may_find_rows_that_nothing_says_are_in_use() -> None:
    for case in cases():
        allowed = case.asked == "filesystem" and case.locks in (NONE, FS) and case.header in (False, STOPPED)
        assert (not list(hindrances(case.evidence(), importing=True))) == allowed, case


def test_a_verdict_never_goes_against_a_piece_of_evidence() -> None:
    seen: set[Mode] = set()
    for case in cases():
        mode = judge(case.evidence()).mode
        seen.add(mode)
        if case.locks == BOTH:
            assert mode == "contradictory", case
        if mode == "database":
            assert case.locks in (NONE, DB, None), case
            assert case.header is not False, case
            assert case.asked != "filesystem", case
            assert case.tables != "no schema", case
        if mode == "filesystem":
            assert case.locks in (NONE, FS, None), case
            assert case.header is not True, case
            assert case.asked != "database", case
            assert case.tables != "tags" or case.locks == FS, case
    assert seen == {"filesystem", "database", "undecided", "contradictory"}


def test_a_contradiction_is_named_first_and_everything_unknown_is_said() -> None:
    for case in cases():
        evidence = case.evidence()
        verdict = judge(evidence)
        if verdict.mode == "contradictory":
            assert not verdict.reasons[0].startswith(("the lock file database-in-use is", "not known")), case
        said = [reason for reason in verdict.reasons if reason.startswith("not known: ")]
        assert len(said) == len(evidence.unknown), case


def test_a_proposal_never_contradicts_what_a_registry_serves() -> None:
    for case in cases():
        evidence = case.evidence()
        wanted = propose(evidence, judge(evidence).mode)
        if case.locks is None:
            assert wanted is None, case
        if wanted is None:
            continue
        assert not (wanted.database_in_use and wanted.filesystem_in_use), case
        assert not (case.header is True and not wanted.database_in_use), case
        assert not (case.header is False and wanted.database_in_use), case
        assert not (wanted.database_in_use and case.tables == "no schema"), case
        assert not (not wanted.database_in_use and case.tables == "tags" and case.locks != FS), case


SITUATIONS: list[tuple[str, Case, Mode, LockFiles | None, str]] = [
    (
        "a registry of old, never on a database",
        Case("filesystem", NONE, False, "no schema", True),
        "filesystem",
        FS,
        "serves from the tree",
    ),
    (
        "a new installation that nothing was pushed to: no lock, so that it may still be enabled",
        Case("filesystem", NONE, False, "no schema", False),
        "filesystem",
        NONE,
        "links no repository",
    ),
    (
        "a database registry as it should be",
        Case("database", DB, True, "tags", True),
        "database",
        DB,
        "serves from the database",
    ),
    (
        "a database registry that was started without the feature flag: no lock",
        Case("database", NONE, True, "tags", False),
        "database",
        DB,
        "there is no lock file",
    ),
    (
        "the same, stopped and put to enabled: false by mistake: everything would be garbage",
        Case("filesystem", NONE, STOPPED, "tags", True),
        "contradictory",
        None,
        "no lock file says whose it is",
    ),
    (
        "imported, not switched yet",
        Case("filesystem", DB, False, "tags", True),
        "contradictory",
        None,
        "imported, not switched",
    ),
    (
        "a second import was refused and turned the lock files round",
        Case("database", FS, True, "tags", True),
        "contradictory",
        DB,
        "turns them round",
    ),
    (
        "between step one and step two",
        Case("filesystem", FS, False, "repositories", True),
        "filesystem",
        FS,
        "holds 0 tags in 3 repositories",
    ),
    (
        "back on the tree, the database kept",
        Case("filesystem", FS, False, "tags", True),
        "filesystem",
        FS,
        "holds 7 tags",
    ),
    (
        "enabled on a storage that was never imported: everything pushed before is hidden",
        Case("database", NONE, True, "empty", True),
        "contradictory",
        None,
        "they are hidden",
    ),
    (
        "prefer, fell back to the tree when it started",
        Case("prefer", FS, False, "empty", True),
        "filesystem",
        FS,
        "says prefer",
    ),
    (
        "prefer, stopped, nothing pushed",
        Case("prefer", NONE, STOPPED, "empty", False),
        "undecided",
        None,
        "says prefer",
    ),
    (
        "asked for, but never migrated: it does not start",
        Case("database", NONE, STOPPED, "no schema", True),
        "undecided",
        None,
        "asks for the database",
    ),
    (
        "both lock files",
        Case("filesystem", BOTH, False, "empty", True),
        "contradictory",
        FS,
        "both lock files",
    ),
    (
        "switched in the file, not restarted",
        Case("database", DB, False, "tags", True),
        "contradictory",
        None,
        "serves from the tree",
    ),
]


@pytest.mark.parametrize(
    ("case", "mode", "wanted", "words"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_a_situation_is_judged_as_an_operator_would(
    case: Case, mode: Mode, wanted: LockFiles | None, words: str
) -> None:
    evidence = case.evidence()
    verdict = judge(evidence)
    assert verdict.mode == mode, verdict.reasons
    assert words in "\n".join(verdict.reasons)
    assert propose(evidence, verdict.mode) == wanted


def test_nodes_that_serve_different_backends_are_a_contradiction_that_nobody_repairs() -> None:
    evidence = BackendEvidence(
        asked={"a": "database", "b": "database"},
        locks=DB,
        header={"a": True, "b": False},
        schema=True,
        repositories=Count(1),
        tags=Count(1),
    )
    verdict = judge(evidence)
    assert verdict.mode == "contradictory"
    assert verdict.reasons[0] == "the nodes serve from different backends"
    assert propose(evidence, verdict.mode) is None


@pytest.mark.parametrize(
    ("config", "asked", "names"),
    [
        ({}, "filesystem", False),
        ({"database": None}, "filesystem", False),
        ({"database": {}}, "filesystem", False),
        ({"database": {"enabled": False, "host": "db"}}, "filesystem", True),
        ({"database": {"enabled": "false", "dbname": "r"}}, "filesystem", True),
        ({"database": {"enabled": True}}, "database", False),
        ({"database": {"enabled": "true"}}, "database", False),
        ({"database": {"enabled": "prefer"}}, "prefer", False),
        ({"database": {"enabled": "Prefer"}}, "prefer", False),
        ({"database": {"enabled": "maybe"}}, "database", False),  # nobody can read it as false
    ],
)
def test_what_a_configuration_asks_for(config: dict[str, Any], asked: str, names: bool) -> None:
    assert asked_backend(config) == asked
    assert names_database(config) is names


def test_only_an_import_that_came_through_its_step_two_wrote_the_tags() -> None:
    ended = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    assert ImportRun(1, ended, ended, ("one", "two", "three")).wrote_tags
    assert ImportRun(1, ended, ended, ("one", "two", "three"), {"three": "no room"}).wrote_tags
    assert not ImportRun(1, ended, ended, ("one", "two"), {"two": "tags already present"}).wrote_tags
    assert not ImportRun(1, ended, ended, ("one",)).wrote_tags


def test_a_failed_import_is_among_the_reasons() -> None:
    ended = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    evidence = BackendEvidence(
        asked={"a": "filesystem"},
        locks=FS,
        header={"a": False},
        schema=True,
        repositories=Count(1),
        tags=Count(0),
        imports=(ImportRun(1, ended, ended, ("one", "two"), {"two": "lost"}),),
    )
    text = "\n".join(judge(evidence).reasons)
    assert "the last import (step one, two) failed in step two, 2026-11-22 05:00:00" in text


def test_a_count_says_whether_it_is_an_estimate() -> None:
    assert str(Count(1200)) == "1,200"
    assert str(Count(1200, exact=False)) == "about 1,200"
