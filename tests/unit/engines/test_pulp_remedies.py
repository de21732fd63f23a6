"""Each manifest that cannot be done has the remedy of its case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ctl.engines.pulp_releases import repairs_by_sync
from ctl.engines.pulp_remedies import REASONS, Broken, Shown, remedy

OLD, NEW = Version("2.24.15"), Version("2.27.14")
PUSHED = (Shown("apps", "pushed"),)
SYNCED = (Shown("mirror", "synced"),)
LOCAL = (Shown("copies", "local"),)
KINDS = st.builds(
    Shown,
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from(["pushed", "synced", "local"]),
    st.booleans(),
)


def action(reason: str, repositories: tuple[Shown, ...], version: Version | None = OLD, **more: bool) -> str:
    one = Broken("sha256:1", reason, repositories, ("apps:1",), file="artifact/1", **more)  # type: ignore[arg-type]
    return remedy(one, version, "katello", "proxy1").action


@pytest.mark.parametrize(
    ("reason", "repositories", "version", "wanted"),
    [
        ("unlinked", PUSHED, OLD, "relink"),
        ("unlinked", (), OLD, "relink"),
        ("lost", (), OLD, "cleanup"),
        ("lost", (Shown("old", "pushed", current=False),), OLD, "cleanup"),
        ("lost", PUSHED, OLD, "push-again"),
        ("lost", PUSHED, NEW, "push-again"),
        ("lost", SYNCED, OLD, "sync"),
        ("lost", SYNCED, NEW, "sync"),
        ("lost", (*PUSHED, *SYNCED), NEW, "sync"),  # the row is one: a sync mends it for both
        ("lost", LOCAL, NEW, "push-again"),
        ("manifest-unreadable", LOCAL, NEW, "copy-again"),
        ("not-stored", PUSHED, NEW, "push-again"),
        ("not-stored", SYNCED, NEW, "sync"),
        ("config-not-stored", SYNCED, OLD, "sync-immediate"),
        ("config-not-stored", SYNCED, NEW, "sync"),
        ("config-not-stored", PUSHED, OLD, "push-again"),
        ("manifest-file-missing", SYNCED, OLD, "fetch-files"),
        ("manifest-file-missing", SYNCED, NEW, "sync"),
        ("manifest-file-missing", PUSHED, NEW, "restore-file"),
        ("config-file-missing", PUSHED, OLD, "restore-file"),
        ("manifest-unreadable", SYNCED, OLD, "fetch-files"),
        ("odd-shape", SYNCED, OLD, "sync"),
    ],
)
def test_the_remedy_of_each_case(
    reason: str, repositories: tuple[Shown, ...], version: Version, wanted: str
) -> None:
    assert action(reason, repositories, version) == wanted


def test_a_sync_does_not_fetch_what_has_its_text_already() -> None:
    assert action("config-not-stored", SYNCED, NEW, has_text=True) == "sync-immediate"


def test_before_a_release_that_fetches_lost_text_it_says_which_ones_do() -> None:
    found = remedy(Broken("sha256:1", "lost", SYNCED), OLD, "katello", "proxy1")
    assert "2.26.15" in found.text
    assert "2.27.10" in found.text
    assert "2.28.1" in found.text


@pytest.mark.parametrize(
    ("version", "repairs"),
    [
        ("2.24.15", False),
        ("2.26.14", False),
        ("2.26.15", True),
        ("2.27.9", False),
        ("2.27.10", True),
        ("2.28.0", False),
        ("2.28.1", True),
        ("2.30.0", True),
    ],
)
def test_which_releases_fetch_lost_text(version: str, repairs: bool) -> None:
    assert repairs_by_sync(Version(version)) is repairs


@pytest.mark.parametrize(
    ("reason", "has_text", "version", "served"),
    [
        ("config-not-stored", False, OLD, True),
        ("config-not-stored", False, NEW, False),
        ("config-not-stored", True, NEW, True),
        ("lost", False, OLD, False),
        ("unlinked", False, OLD, False),
        ("manifest-unreadable", False, None, False),
    ],
)
def test_whether_a_release_hands_it_out(
    reason: str, has_text: bool, version: Version | None, served: bool
) -> None:
    assert Broken("sha256:1", reason, has_text=has_text).served(version) is served


@given(
    st.sampled_from(sorted(REASONS)),
    st.lists(KINDS, max_size=4),
    st.none() | st.sampled_from([OLD, NEW, Version("2.19.0")]),
    st.booleans(),
)
def test_there_is_a_remedy_for_everything_and_none_lets_a_cleanup_come_first(
    reason: str, repositories: list[Shown], version: Version | None, has_text: bool
) -> None:
    one = Broken("sha256:1", reason, tuple(repositories), has_text=has_text)
    found = remedy(one, version, "katello", "proxy1")
    assert found.text
    if "orphans" in found.text:
        assert "after everything else" in found.text or "when all else is done" in found.text
