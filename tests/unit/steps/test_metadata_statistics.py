"""Figures for a service ping: whatever part is missing, the rest is there, and nothing private."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import combinations

from ctl.catalog.backend import BackendEvidence, Count, ImportRun
from ctl.catalog.lockfiles import LockFiles
from ctl.probing import NoAnswer
from ctl.steps.metadata_statistics import Migrations, Rows, statistics, statistics_data

WHEN = datetime(2026, 11, 22, 5, 0, 1, 999, tzinfo=UTC)
EVIDENCE = BackendEvidence(
    asked={"a": "database"},
    locks=LockFiles(True, False),
    header={"a": True},
    schema=True,
    repositories=Count(4),
    tags=Count(5),
    imports=(ImportRun(3, WHEN, WHEN, ("one", "two"), {"two": "db.example.com: lost"}, 4, 5, 6, 7, 8, "s3"),),
    tree=False,
)
ANSWERS = {
    "evidence": EVIDENCE,
    "rows": Rows({"repositories": Count(4), "tags": Count(200_000, exact=False)}, 3),
    "migrations": Migrations("20250101_pre", "20250102_post", 0, 2),
}


def test_all_of_it() -> None:
    found = statistics(ANSWERS)
    assert found.problems == ()
    assert statistics_data(found) == {
        "mode": "database",
        "uses_database": True,
        "asked": {"a": "database"},
        "served": {"a": "database"},
        "lock_files": {"database_in_use": True, "filesystem_in_use": False},
        "schema": True,
        "rows": {
            "repositories": {"rows": 4, "exact": True},
            "tags": {"rows": 200_000, "exact": False},
            "manifests": None,
            "blobs": None,
        },
        "last_import": {
            "id": 3,
            "started_at": "2026-11-22T05:00:01Z",
            "finished_at": "2026-11-22T05:00:01Z",
            "steps": ["one", "two"],
            "failed_steps": ["two"],
            "repositories": 4,
            "tags": 5,
            "manifests": 6,
            "blobs": 7,
            "blobs_bytes": 8,
            "storage_driver": "s3",
        },
        "migrations": {
            "pre": "20250101_pre",
            "post": "20250102_post",
            "pending_pre": 0,
            "pending_post": 2,
            "background_unfinished": 3,
        },
        "silent": [],
    }


def test_every_part_may_be_missing_and_no_reason_is_sent_along() -> None:
    keys = set(statistics_data(statistics(ANSWERS)))
    for number in range(1, 4):
        for missing in combinations(ANSWERS, number):
            private = NoAnswer("database x at registry@db.example.com:5432/registry: refused")
            answers = {part: private if part in missing else ANSWERS[part] for part in ANSWERS}
            found = statistics(answers)
            data = statistics_data(found)
            assert set(data) == keys
            assert data["silent"] == list(missing)
            assert "db.example.com" not in json.dumps(data)
            assert len(found.problems) == len(missing)
            assert (data["uses_database"] is None) == ("evidence" in missing)


def test_reasons_of_unknown_evidence_stay_too() -> None:
    evidence = BackendEvidence(asked={"a": None}, unknown={"database": "db.example.com: refused"})
    data = statistics_data(statistics({**ANSWERS, "evidence": evidence}))
    assert data["silent"] == ["database"]
    assert "db.example.com" not in json.dumps(data)


def test_pending_migrations_that_keep_it_from_starting_are_a_problem() -> None:
    found = statistics({**ANSWERS, "migrations": Migrations("1", "2", 3, 0)})
    assert "3 pre-deployment migrations are pending" in found.problems[0]
    later = statistics({**ANSWERS, "migrations": Migrations("1", "2", 0, 3)})
    assert later.problems == ()  # post-deployment ones never keep it from starting


def test_contradictory_evidence_is_a_problem() -> None:
    both = BackendEvidence(asked={"a": "filesystem"}, locks=LockFiles(True, True), header={"a": False})
    found = statistics({**ANSWERS, "evidence": both})
    assert "both lock files are there" in found.problems[0]
    assert found.uses_database is None
