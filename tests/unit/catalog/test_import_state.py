"""How far an import has come and which step is right, from every combination of facts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.catalog.backend import BackendEvidence, ImportRun
from ctl.catalog.import_state import ImportContent, Standing, refusal, standing
from ctl.catalog.lockfiles import LockFiles
from ctl.engines.metadata import ImportStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = ImportRun(1, NOW, NOW, ("one",))
BROKEN_ONE = ImportRun(1, NOW, NOW, ("one",), {"one": "died"})
TWO = ImportRun(2, NOW, NOW, ("two",))
BROKEN_TWO = ImportRun(2, NOW, NOW, ("two",), {"two": "died"})
NONE, FILESYSTEM, DATABASE = LockFiles(), LockFiles(False, True), LockFiles(True, False)


def evidence(
    locks: LockFiles | None = NONE, imports: tuple[ImportRun, ...] = (), **more: object
) -> BackendEvidence:
    return BackendEvidence(locks=locks, imports=imports, **more)  # type: ignore[arg-type]


CASES = [
    (evidence(), ImportContent(), Standing.EMPTY),
    (evidence(), ImportContent(5, 2), Standing.PREPARING),
    (evidence(imports=(BROKEN_ONE,)), ImportContent(5, 2), Standing.PREPARING),
    (evidence(imports=(ONE,)), ImportContent(5, 4), Standing.PREPARED),
    (evidence(), ImportContent(5, 5), Standing.PREPARED),
    (evidence(FILESYSTEM, (BROKEN_TWO, ONE)), ImportContent(5, 5, tags=True), Standing.PARTLY),
    (evidence(FILESYSTEM, (ONE,)), ImportContent(5, 5, tags=True), Standing.PARTLY),
    (evidence(FILESYSTEM, (TWO, ONE)), ImportContent(5, 5, tags=True), Standing.REHEARSED),
    (evidence(DATABASE, (TWO, ONE)), ImportContent(5, 5, tags=True), Standing.IMPORTED),
    (evidence(DATABASE), ImportContent(), Standing.IMPORTED),
]
RIGHT = {
    Standing.EMPTY: {ImportStep.ALL, ImportStep.ONE},
    Standing.PREPARING: {ImportStep.ALL, ImportStep.ONE},
    Standing.PREPARED: {ImportStep.ALL, ImportStep.ONE, ImportStep.TWO},
    Standing.PARTLY: set(),
    Standing.REHEARSED: set(),
    Standing.IMPORTED: {ImportStep.THREE},
}


@pytest.mark.parametrize(("found", "content", "expected"), CASES)
def test_each_step_is_right_in_its_standing_and_refused_in_all_others(
    found: BackendEvidence, content: ImportContent, expected: Standing
) -> None:
    assert standing(found, content) is expected
    allowed = {step for step in ImportStep if refusal(found, content, step) is None}
    assert allowed == RIGHT[expected]
    for step in set(ImportStep) - allowed:
        refused = refusal(found, content, step)
        assert refused is not None
        assert "`regctl " in refused.hint or "--retry" in refused.hint


@pytest.mark.parametrize("now", [Standing.PARTLY, Standing.REHEARSED])
def test_retry_is_right_only_where_nobody_ever_used_the_tags(now: Standing) -> None:
    found, content, _ = next(case for case in CASES if case[2] is now)
    for step in (ImportStep.ALL, ImportStep.ONE, ImportStep.TWO):
        assert refusal(found, content, step, retry=True) is None
    assert refusal(found, content, ImportStep.THREE, retry=True) is not None
    traced = ImportContent(5, 5, tags=True, traces=("a tag was pushed",))
    refused = refusal(found, traced, ImportStep.TWO, retry=True)
    assert refused is not None
    assert "a tag was pushed" in refused.message


@pytest.mark.parametrize(
    "more",
    [
        {"asked": {"reg1": "database"}},
        {"asked": {"reg1": "prefer"}},
        {"header": {"reg1": True}},
        {"unknown": {"header reg1": "no answer"}},
        {"locks": None, "unknown": {"locks": "not mounted"}},
    ],
)
def test_retry_is_refused_while_anything_says_that_the_database_is_in_use(more: dict[str, object]) -> None:
    found = evidence(**{"locks": FILESYSTEM, "imports": (TWO,), **more})  # type: ignore[arg-type]
    refused = refusal(found, ImportContent(5, 5, tags=True), ImportStep.TWO, retry=True)
    assert refused is not None
    assert "not taken out" in refused.message


@given(
    st.sampled_from([NONE, FILESYSTEM, DATABASE, LockFiles(True, True)]),
    st.lists(st.sampled_from([ONE, BROKEN_ONE, TWO, BROKEN_TWO]), max_size=3),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(ImportStep)),
)
def test_tags_are_never_written_over_a_database_that_is_in_use(
    locks: LockFiles,
    imports: list[ImportRun],
    repositories: int,
    marked: int,
    tags: bool,
    retry: bool,
    step: ImportStep,
) -> None:
    found = evidence(locks, tuple(imports))
    content = ImportContent(max(repositories, marked), marked, tags=tags)
    if step is not ImportStep.THREE and (locks.database_in_use or (tags and not retry)):
        assert refusal(found, content, step, retry=retry) is not None
