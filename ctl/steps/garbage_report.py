"""A garbage plan for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping

from ctl.plans.garbage import NO_REPOSITORY, RepositoryGarbage
from ctl.report.model import Block, Json, Table, Text
from ctl.report.units import size_text
from ctl.steps.plan_file import PlannedCollection

SHOWN_REPOSITORIES = 20


def preview_blocks(plan: PlannedCollection, window: float) -> tuple[Block, ...]:
    """Say what would go, of which repositories, and how long pushes would be refused."""
    garbage = plan.garbage
    source = "the catalog and what changed since" if plan.source == "catalog" else "the storage tree"
    sentences = [
        f"{len(garbage.blobs):,} of {len(garbage.blobs) + garbage.kept_blobs:,} blobs would go:"
        f" {size_text(garbage.bytes)} ({garbage.bytes:,} bytes).",
        f"Planned from {source} in {plan.seconds:.2f} s; not yet cross-checked with the collector.",
        f"Pushes would be refused for about {window:.1f} s.",
    ]
    if plan.delete_untagged:
        sentences.insert(1, f"{len(garbage.manifests):,} manifests that no tag needs would go.")
    if garbage.opaque:
        sentences.append(
            f"{len(garbage.opaque)} repositories hold entries that cannot be read; nothing of them goes:"
            f" {', '.join(garbage.opaque[:5])}"
        )
    blocks: list[Block] = [Text("\n".join(sentences))]
    if garbage.repositories:
        blocks.append(_table(garbage.repositories))
    return tuple(blocks)


def preview_data(plan: PlannedCollection, window: float) -> Mapping[str, Json]:
    """The same as figures, under the names that scripts rely on."""
    return {
        "blobs": len(plan.garbage.blobs),
        "bytes": plan.garbage.bytes,
        "manifests": len(plan.garbage.manifests),
        "repositories": sum(1 for r in plan.garbage.repositories if r.repository != NO_REPOSITORY),
        "window_seconds": round(window, 3),
        "plan_seconds": round(plan.seconds, 3),
        "plan_source": plan.source,
        "cross_checked": False,
        "kept_blobs": plan.garbage.kept_blobs,
        "kept_bytes": plan.garbage.kept_bytes,
        "opaque_repositories": list(plan.garbage.opaque),
        "per_repository": per_repository(plan.garbage.repositories),
    }


def per_repository(rows: tuple[RepositoryGarbage, ...]) -> list[Json]:
    """One object a repository, most bytes first; "" is what no repository links."""
    return [
        {
            "repository": r.repository,
            "blobs": r.blobs,
            "unique_bytes": r.unique_bytes,
            "shared_bytes": r.shared_bytes,
            "manifests": r.manifests,
        }
        for r in rows
    ]


def _table(rows: tuple[RepositoryGarbage, ...]) -> Table:
    shown = rows[:SHOWN_REPOSITORIES]
    title = (
        f"the {len(shown)} repositories with most garbage of {len(rows)}" if len(rows) > len(shown) else ""
    )
    return Table(
        ("repository", "blobs", "only here", "shared", "manifests"),
        tuple(
            (
                r.repository or "(in no repository)",
                f"{r.blobs:,}",
                size_text(r.unique_bytes),
                size_text(r.shared_bytes),
                f"{r.manifests:,}",
            )
            for r in shown
        ),
        title=title,
        right=frozenset({"blobs", "only here", "shared", "manifests"}),
    )
