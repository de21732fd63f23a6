"""Which blobs and manifests of a registry nothing needs any more: a pure function of what it holds.

The rule errs towards keeping. A manifest that is linked in a repository keeps everything below it, also
index children that lost their own link (the 2.8 collector drops those and their layers). A repository
with an entry that could not be read is opaque: whatever is linked there stays. With `delete_untagged`
only tagged manifests are roots, and an index's children, the referrers of what stays and their layers
stay with them, in each repository by itself (the 2.8 collector takes the children: distribution 3178).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from ctl.catalog.model import Manifest, Role

NO_REPOSITORY = ""  # garbage that no repository links


@dataclass(frozen=True)
class Holdings:
    """What a registry holds, as far as garbage is concerned. Digests in text form, sizes in bytes."""

    blobs: Mapping[str, int]  # every stored blob and its size, manifests' payloads included
    revisions: Mapping[str, Set[str]]  # repository -> digests of the manifests linked there
    tags: Mapping[str, Set[str]]  # repository -> digests that its tags point at
    layers: Mapping[str, Set[str]]  # repository -> digests of the blobs linked there
    manifests: Mapping[str, Manifest]  # parsed, by digest; must hold every stored index child too
    opaque: Set[str] = field(default_factory=frozenset)  # repositories where nothing linked may go
    hidden: Set[str] = field(default_factory=frozenset)  # paths behind which more may be in use


@dataclass(frozen=True)
class RepositoryGarbage:
    """What would go of one repository; a shared blob counts fully in each repository that links it."""

    repository: str
    blobs: int
    unique_bytes: int
    shared_bytes: int
    manifests: int


@dataclass(frozen=True)
class GarbagePlan:
    """What may go. `blobs` maps digest to bytes; `manifests` are (repository, digest) links."""

    blobs: Mapping[str, int]
    manifests: frozenset[tuple[str, str]]
    repositories: tuple[RepositoryGarbage, ...]  # most bytes first
    kept_blobs: int
    kept_bytes: int
    opaque: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()  # with one of these nobody knows what is in use: nothing may be collected
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)  # garbage -> repositories, sorted

    def went(
        self, blobs: Iterable[str], manifests: Iterable[tuple[str, str]]
    ) -> tuple[RepositoryGarbage, ...]:
        """Add up per repository what really went of the plan."""
        return by_repository({digest: self.blobs[digest] for digest in blobs}, self.links, manifests)

    @property
    def bytes(self) -> int:
        """How many bytes would go from the storage."""
        return sum(self.blobs.values())


def plan_garbage(holdings: Holdings, *, delete_untagged: bool = False) -> GarbagePlan:
    """Return what nothing needs.

    Without `delete_untagged` every linked manifest is needed and only blobs go. Raises nothing: what is
    missing from `holdings` is simply not there to be deleted.
    """
    doomed = _untagged(holdings) if delete_untagged else frozenset()
    live = _live(holdings, doomed)
    garbage = {digest: size for digest, size in holdings.blobs.items() if digest not in live}
    kept_bytes = sum(holdings.blobs.values()) - sum(garbage.values())
    links = links_of(garbage, holdings)
    return GarbagePlan(
        blobs=garbage,
        manifests=doomed,
        repositories=by_repository(garbage, links, doomed),
        kept_blobs=len(holdings.blobs) - len(garbage),
        kept_bytes=kept_bytes,
        opaque=tuple(sorted(holdings.opaque)),
        hidden=tuple(sorted(holdings.hidden)),
        links=links,
    )


def _live(holdings: Holdings, doomed: Set[tuple[str, str]]) -> set[str]:
    """Every digest that some kept manifest needs, the manifests themselves included."""
    roots: set[str] = set()
    for repository, digests in holdings.revisions.items():
        roots.update(d for d in digests if (repository, d) not in doomed)
    for repository in holdings.opaque:
        roots.update(holdings.layers.get(repository, ()))
    for digests in holdings.tags.values():
        roots.update(digests)
    return _closure(roots, holdings.manifests, roles=frozenset(Role) - {Role.SUBJECT})


def _closure(roots: Iterable[str], manifests: Mapping[str, Manifest], roles: Set[Role]) -> set[str]:
    """The roots and all that they reach through references of those roles; cycles are harmless."""
    seen = set(roots)
    todo = list(seen)
    while todo:
        manifest = manifests.get(todo.pop())
        if manifest is None:
            continue
        for reference in manifest.references:
            if reference.role in roles and reference.digest not in seen:
                seen.add(reference.digest)
                todo.append(reference.digest)
    return seen


def _untagged(holdings: Holdings) -> frozenset[tuple[str, str]]:
    """The (repository, digest) links that no tag of that repository needs."""
    doomed: set[tuple[str, str]] = set()
    for repository, linked in holdings.revisions.items():
        if repository in holdings.opaque:
            continue
        kept = _kept_in(linked, holdings.tags.get(repository, frozenset()), holdings.manifests)
        doomed.update((repository, digest) for digest in linked - kept)
    return frozenset(doomed)


def _kept_in(linked: Set[str], tagged: Set[str], manifests: Mapping[str, Manifest]) -> set[str]:
    """Tagged manifests of one repository, their children, and the referrers of any of those."""
    about: dict[str, list[str]] = defaultdict(list)
    for digest in linked:
        manifest = manifests.get(digest)
        for reference in manifest.references if manifest else ():
            if reference.role is Role.SUBJECT:
                about[reference.digest].append(digest)
    kept: set[str] = set()
    todo = set(tagged)
    while todo:
        kept |= _closure(todo, manifests, roles={Role.MANIFEST})
        todo = {r for digest in kept for r in about.get(digest, ())} - kept
    return kept


def links_of(garbage: Mapping[str, int], holdings: Holdings) -> dict[str, list[str]]:
    """Map each garbage blob to the repositories that link it, as a layer or as a manifest."""
    linked: dict[str, set[str]] = defaultdict(set)
    for source in (holdings.layers, holdings.revisions):
        for repository, digests in source.items():
            for digest in digests & garbage.keys():
                linked[digest].add(repository)
    return {digest: sorted(names) for digest, names in linked.items()}


def by_repository(
    garbage: Mapping[str, int],
    links: Mapping[str, Iterable[str]],
    doomed: Iterable[tuple[str, str]],
) -> tuple[RepositoryGarbage, ...]:
    """Add the garbage up per repository; what no repository links stands under `NO_REPOSITORY`."""
    blobs: dict[str, int] = defaultdict(int)
    unique: dict[str, int] = defaultdict(int)
    shared: dict[str, int] = defaultdict(int)
    manifests: dict[str, int] = defaultdict(int)
    for digest, size in garbage.items():
        names = list(links.get(digest, ())) or [NO_REPOSITORY]
        kind = unique if len(names) == 1 else shared
        for name in names:
            blobs[name] += 1
            kind[name] += size
    for repository, _digest in doomed:
        manifests[repository] += 1
    names_seen = blobs.keys() | manifests.keys()
    rows = [RepositoryGarbage(n, blobs[n], unique[n], shared[n], manifests[n]) for n in names_seen]
    return tuple(sorted(rows, key=lambda r: (-(r.unique_bytes + r.shared_bytes), r.repository)))
