"""Scope around a whole collection: every file that the plan keeps has a second name while it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from pydantic import PrivateAttr

from ctl.hosts.base import Command
from ctl.plans.collection_time import collector_seconds, window_seconds
from ctl.recipes.model import Before, ProbeAnswer, Problem, Scope, StepReport, Target
from ctl.steps.collection import collector_of, node_config
from ctl.steps.collector_job import forget_jobs
from ctl.steps.kept_paths import kept_paths
from ctl.steps.plan_file import PlannedCollection, forget_plan, plan_path, save_plan
from ctl.steps.read_garbage import read_plan
from ctl.steps.storage_gate import metadata_in_use
from ctl.storage.aside import Aside
from ctl.storage.base import directory_of

if TYPE_CHECKING:
    from packaging.version import Version

    from ctl.storage.aside import Kept
    from ctl.storage.base import Storage
    from ctl.storage.far_acting import FarAside
    from ctl.world import World

DRAIN_SECONDS = 1.0  # what a restart usually waits for uploads; the real wait ends with the last one


class KeepAside(Scope):
    """Plan the collection and hard-link all that the plan keeps; at the end remove the links again.

    Entered before the window opens, so that the window itself only has to link what came since.
    """

    registry: str
    delete_untagged: bool = False

    _only_planning: bool = PrivateAttr(False)

    def only_planning(self, yes: bool) -> Self:
        """Say that no window follows: a plan needs nothing but a reader over there; in no journal."""
        self._only_planning = yes
        return self

    def title(self) -> str:
        return f"plan the collection of {self.registry} and keep what is live aside"

    def check(self, here: Target) -> Iterator[Problem]:
        yield from storage_problems(here.world, self.registry)
        for node in here.world.registry(self.registry).nodes:
            yield from _config_problems(here.world, self.registry, node.host)
        yield from _version_problems(here.world, self.registry)
        aside = aside_of(here, self.registry)
        for reason in aside.problems():
            yield Problem(
                reason,
                hint="a collection is refused where live files cannot be kept aside",
                blocking=isinstance(aside, Aside) or not self._only_planning,
            )
        for run in aside.others():
            yield Problem(
                f"{os.path.dirname(aside.folder)}/{run}: links that another run left; they hold space",
                hint=f"look at `regctl run show {run}`; when nothing of it is missing, remove the folder",
                blocking=False,
            )

    def apply(self, here: Target, before: Before) -> StepReport:
        plan = plan_now(here.world, self.registry, self.delete_untagged)
        here.run.guard()
        save_plan(plan_path(here.world.state_dir, here.run.id), plan)
        kept = keep_live(here, self.registry, plan)
        return StepReport(
            {
                "plan_seconds": round(plan.seconds, 3),
                "plan_source": plan.source,
                "opaque_repositories": list(plan.garbage.opaque),
                "prepared_files": kept.made + kept.already,
            },
            changed=False,
        )

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "partial"

    def leave(self, here: Target, before: Before) -> StepReport:
        removed = aside_of(here, self.registry).discard()
        forget_jobs(here, self.registry, "CompareCollector", "CollectGarbage")
        forget_plan(plan_path(here.world.state_dir, here.run.id))
        return StepReport({"links_removed": removed}, changed=False)


def aside_of(here: Target, registry: str) -> Aside | FarAside:
    """The files that this run keeps aside in the storage of a registry."""
    from ctl.storage.far_acting import open_aside

    return open_aside(here.world.storage(registry), here.run.id or "preview")


def plan_now(world: World, registry: str, delete_untagged: bool) -> PlannedCollection:
    """Read what the registry holds at this moment and plan from it."""
    return read_plan(world, registry, delete_untagged=delete_untagged)


def keep_live(here: Target, registry: str, plan: PlannedCollection, *, only: bool = False) -> Kept:
    """Link aside what the plan keeps and a collector could take; with `only` let all else go."""
    collector = collector_of(here.world, registry)
    links = collector.engine.features(collector.version).get("removes-layer-links", False)
    storage = here.world.storage(registry)
    paths = kept_paths(storage, plan.garbage, manifests=plan.delete_untagged, layer_links=links)
    return aside_of(here, registry).keep(paths, only=only)


def estimate_window(world: World, registry: str, plan: PlannedCollection, version: Version) -> float:
    """Estimate for how many seconds pushes are refused, from the storage's latency measured now."""
    one_pass = collector_seconds(
        plan.workload,
        latency=plan.latency,
        major=version.major,
        delete_untagged=plan.delete_untagged,
    )
    return plan.seconds + window_seconds(  # the plan is made once more inside it
        one_pass,
        nodes=len(world.registry(registry).nodes),
        drain_seconds=DRAIN_SECONDS,
        kept_files=plan.garbage.kept_blobs,
        deleted_blobs=len(plan.garbage.blobs),
    )


def storage_problems(world: World, registry: str) -> Iterator[Problem]:
    """A storage that is not there, and one whose truth lies in a metadata database."""
    storage = world.storage(registry)
    tree = "docker/registry/v2"
    if not storage.exists():
        yield Problem(
            f"{storage.root} is not there",
            hint="is the disk mounted, and is storage.filesystem.rootdirectory the registry's own? A registry"
            " makes it with the first push",
        )
        return
    try:
        folders, _files = storage.list_directory(tree)
    except FileNotFoundError:
        folders = []  # nothing was ever pushed
    except OSError as error:
        yield Problem(f"{os.path.join(storage.root, tree)}: {error.strerror}")
        return
    if "blobs" in folders and "repositories" not in folders:
        yield Problem(
            f"{os.path.join(storage.root, tree)} holds blobs, but no repositories: all would be garbage",
            hint="is part of the storage not mounted, or moved away?",
        )
    yield from metadata_in_use(world, registry)


def _config_problems(world: World, registry: str, host: str) -> Iterator[Problem]:
    node = world.node(registry, host)
    config = node_config(world, registry, node)
    engine = world.engine(registry)
    settings = engine.storage_settings(config)
    root = str(settings.get("filesystem", {}).get("rootdirectory", "elsewhere"))
    storage = world.storage(registry)
    ours = directory_of(storage)
    if "filesystem" not in settings or not _same(world, host, storage, root):
        yield Problem(
            f"{registry}/{host}: {node.config_file} stores in {root}, the site says {ours}",
            hint="the collector works on what that file says; make the two agree",
        )
    if engine.cache_kind(config) == "redis":
        yield Problem(
            f"{registry}/{host}: a Redis cache would go on saying that deleted blobs exist, so the next"
            " push of one is lost",
            hint="collecting with a Redis cache is not supported yet; see docs/reference/gc.md",
        )


def _same(world: World, host: str, storage: Storage, root: str) -> bool:
    """Say whether a node's folder is the storage's root; symbolic links are followed where they are."""
    ours = directory_of(storage)
    if ours == storage.root:
        return os.path.realpath(root) == os.path.realpath(ours)
    asked = Command(("readlink", "-f", "--", root, ours), timeout=timedelta(seconds=30))
    places = world.host(host).run(asked).stdout.split(b"\n")
    return os.path.normpath(root) == os.path.normpath(ours) or (len(places) == 3 and places[0] == places[1])


def _version_problems(world: World, registry: str) -> Iterator[Problem]:
    collector = collector_of(world, registry)
    if not collector.engine.features(collector.version).get("collects", False):
        yield Problem(f"{collector.engine.name} {collector.version} has no offline garbage collection")
