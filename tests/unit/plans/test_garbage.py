"""The garbage plan: examples that lost data elsewhere, and properties over random registries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ctl.catalog.model import Descriptor, Manifest, Role
from ctl.plans.garbage import NO_REPOSITORY, Holdings, plan_garbage


def manifest(digest: str, *references: tuple[str, Role], kind: str = "image") -> Manifest:
    parts = tuple(Descriptor(d, role, "", 1) for d, role in references)
    return Manifest(digest, "", 1, kind, "", "", parts)


def holdings(
    manifests: Iterable[Manifest],
    *,
    revisions: dict[str, set[str]],
    tags: dict[str, set[str]] | None = None,
    layers: dict[str, set[str]] | None = None,
    extra: Iterable[str] = (),
    opaque: Iterable[str] = (),
) -> Holdings:
    parsed = {m.digest: m for m in manifests}
    stored = set(parsed) | {r.digest for m in parsed.values() for r in m.references} | set(extra)
    return Holdings(
        blobs={d: 10 for d in stored},
        revisions=revisions,
        tags=tags or {},
        layers=layers or {},
        manifests=parsed,
        opaque=frozenset(opaque),
    )


IMAGE = manifest("m1", ("c1", Role.CONFIG), ("l1", Role.LAYER))
OTHER = manifest("m2", ("c2", Role.CONFIG), ("l1", Role.LAYER))
INDEX = manifest("i1", ("m1", Role.MANIFEST), ("m2", Role.MANIFEST), kind="index")
SIGNATURE = manifest("s1", ("c3", Role.CONFIG), ("l3", Role.LAYER), ("m1", Role.SUBJECT))


def test_a_blob_that_nothing_links_goes_and_its_bytes_are_counted() -> None:
    plan = plan_garbage(holdings([IMAGE], revisions={"a": {"m1"}}, extra=["x", "y"]))
    assert plan.blobs == {"x": 10, "y": 10}
    assert plan.bytes == 20
    assert (plan.kept_blobs, plan.kept_bytes) == (3, 30)
    assert plan.repositories[0].repository == NO_REPOSITORY


def test_an_index_child_without_a_link_of_its_own_keeps_its_layers() -> None:
    plan = plan_garbage(holdings([INDEX, IMAGE, OTHER], revisions={"a": {"i1"}}))
    assert plan.blobs == {}


def test_untagged_mode_keeps_children_of_a_tagged_index_and_signatures_of_what_stays() -> None:
    held = holdings(
        [INDEX, IMAGE, OTHER, SIGNATURE],
        revisions={"a": {"i1", "m1", "m2", "s1"}},
        tags={"a": {"i1"}},
    )
    plan = plan_garbage(held, delete_untagged=True)
    assert plan.manifests == frozenset()
    assert plan.blobs == {}


def test_untagged_mode_decides_in_each_repository_by_itself() -> None:
    held = holdings([IMAGE], revisions={"a": {"m1"}, "b": {"m1"}}, tags={"a": {"m1"}})
    plan = plan_garbage(held, delete_untagged=True)
    assert plan.manifests == {("b", "m1")}
    assert plan.blobs == {}


def test_a_signature_of_a_deleted_image_goes_with_it() -> None:
    held = holdings([IMAGE, SIGNATURE], revisions={"a": {"m1", "s1"}}, tags={"a": set()})
    plan = plan_garbage(held, delete_untagged=True)
    assert plan.manifests == {("a", "m1"), ("a", "s1")}
    assert set(plan.blobs) == {"m1", "c1", "l1", "s1", "c3", "l3"}


def test_nothing_linked_in_an_opaque_repository_goes() -> None:
    held = holdings([], revisions={"a": {"m9"}}, layers={"a": {"l9"}}, extra=["m9", "l9", "x"], opaque=["a"])
    assert set(plan_garbage(held).blobs) == {"x"}
    assert set(plan_garbage(held, delete_untagged=True).blobs) == {"x"}


def test_a_blob_that_two_repositories_link_is_shared_and_one_that_one_links_is_unique() -> None:
    held = holdings(
        [IMAGE],
        revisions={"a": {"m1"}},
        layers={"a": {"x", "y"}, "b": {"x"}},
        extra=["x", "y"],
    )
    rows = {r.repository: (r.unique_bytes, r.shared_bytes) for r in plan_garbage(held).repositories}
    assert rows == {"a": (10, 10), "b": (0, 10)}


DIGESTS = [f"d{n}" for n in range(12)]
REPOSITORIES = ["a", "b", "a/c"]


@st.composite
def registries(draw: st.DrawFn) -> Holdings:
    digests = st.sampled_from(DIGESTS)
    sets = st.sets(digests, max_size=6)
    parsed = {}
    for digest in draw(sets):
        pairs = draw(st.lists(st.tuples(digests, st.sampled_from(list(Role))), max_size=5))
        parsed[digest] = manifest(digest, *pairs)
    revisions = {r: draw(sets) for r in REPOSITORIES}
    return Holdings(
        blobs={d: n + 1 for n, d in enumerate(draw(st.sets(digests)))},
        revisions=revisions,
        tags={r: draw(st.sets(st.sampled_from(sorted(v)))) if v else set() for r, v in revisions.items()},
        layers={r: draw(sets) for r in REPOSITORIES},
        manifests=parsed,
        opaque=frozenset(draw(st.sets(st.sampled_from(REPOSITORIES), max_size=1))),
    )


def reachable_slowly(held: Holdings, roots: set[str]) -> set[str]:
    """The closure by its definition, repeated until nothing changes."""
    live = set(roots)
    while True:
        more = {
            r.digest
            for d in live
            if d in held.manifests
            for r in held.manifests[d].references
            if r.role is not Role.SUBJECT
        }
        if more <= live:
            return live
        live |= more


@settings(max_examples=300)
@given(registries())
def test_without_untagged_mode_the_plan_is_stored_minus_reachable(held: Holdings) -> None:
    roots = {d for s in held.revisions.values() for d in s} | {d for s in held.tags.values() for d in s}
    roots |= {d for r in held.opaque for d in held.layers[r]}
    plan = plan_garbage(held)
    assert set(plan.blobs) == set(held.blobs) - reachable_slowly(held, roots)
    assert plan.manifests == frozenset()


@settings(max_examples=300)
@given(registries())
def test_everything_below_a_tag_stays_in_untagged_mode_and_no_deleted_link_is_tagged(
    held: Holdings,
) -> None:
    plan = plan_garbage(held, delete_untagged=True)
    for repository, tagged in held.tags.items():
        assert not reachable_slowly(held, set(tagged)) & set(plan.blobs)
        assert not {(repository, d) for d in tagged} & plan.manifests
    assert not {r for r, _ in plan.manifests} & set(held.opaque)


@settings(max_examples=300)
@given(registries(), st.sampled_from(REPOSITORIES), st.sampled_from(DIGESTS), st.booleans())
def test_adding_a_link_or_a_tag_never_adds_garbage(
    held: Holdings, repository: str, digest: str, delete_untagged: bool
) -> None:
    def with_(where: str) -> Holdings:
        old = getattr(held, where)
        return replace(held, **{where: {**old, repository: set(old[repository]) | {digest}}})  # type: ignore[arg-type]

    before = set(plan_garbage(held).blobs)
    assert set(plan_garbage(with_("revisions")).blobs) <= before
    tagged = replace(with_("revisions"), tags=with_("tags").tags)
    after = plan_garbage(tagged, delete_untagged=delete_untagged)
    assert set(after.blobs) <= set(plan_garbage(held, delete_untagged=delete_untagged).blobs)


@settings(max_examples=200)
@given(registries(), st.booleans())
def test_figures_add_up(held: Holdings, delete_untagged: bool) -> None:
    plan = plan_garbage(held, delete_untagged=delete_untagged)
    assert plan.bytes + plan.kept_bytes == sum(held.blobs.values())
    assert plan.kept_blobs + len(plan.blobs) == len(held.blobs)
    assert sum(r.manifests for r in plan.repositories) == len(plan.manifests)
    alone = sum(r.unique_bytes for r in plan.repositories)
    assert alone <= plan.bytes <= sum(r.unique_bytes + r.shared_bytes for r in plan.repositories)
