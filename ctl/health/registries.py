"""Checks of the registries themselves: nodes, versions, backend, storage, configuration, collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctl.errors import RegctlError
from ctl.health.model import Looker, Seen
from ctl.report.units import size_text

if TYPE_CHECKING:
    from ctl.views import NodeView, RegistryView

LITTLE, VERY_LITTLE = 0.10, 0.02  # of the space
LITTLE_INODES = 10_000
_VERSION = "version: "


def node_listening(looker: Looker) -> Iterator[Seen]:
    """Every node's service runs, listens, loads the file that the site names, and its API answers."""
    for registry in looker.view.registries:
        for node in registry.nodes:
            where = f"{registry.name}/{node.host}"
            wrong = [text for text in node.problems if not text.startswith(_VERSION)]
            if node.listening is None and not wrong:
                wrong = ["whether it listens is not known"]
            for text in wrong:
                verb = "start" if node.state == "stopped" else "tail"
                yield Seen(where, "failed", text, f"regctl service {verb} {where}")
            if not wrong:
                yield Seen(where, "ok", f"it runs and answers at {node.url}")


def version_known(looker: Looker) -> Iterator[Seen]:
    """Every node's program tells its version, and the nodes of a registry have the same."""
    for registry in looker.view.registries:
        for node in registry.nodes:
            where = f"{registry.name}/{node.host}"
            if node.version is None:
                why = [text.removeprefix(_VERSION) for text in node.problems if text.startswith(_VERSION)]
                message = why[0] if why else "its version is not known"
                yield Seen(where, "failed", message, "correct `binary` of the node in the site")
            else:
                yield Seen(where, "ok", f"version {node.version}")
        versions = sorted({node.version for node in registry.nodes if node.version})
        if len(versions) > 1:
            message = f"its nodes have several versions: {', '.join(versions)}"
            yield Seen(registry.name, "warned", message, "regctl upgrade plan")


def backend(looker: Looker) -> Iterator[Seen]:
    """Config, lock files, header and database agree on what keeps a registry's content."""
    for registry in looker.view.registries:
        if registry.metadata is None:
            yield Seen(registry.name, "not-applicable", "its engine keeps its content in the storage only")
            continue
        verdict = registry.metadata.verdict
        if verdict.mode == "contradictory":
            remedy = f"regctl lockfiles show {registry.name}"
            yield Seen(registry.name, "failed", "; ".join(verdict.reasons) or "contradictory", remedy)
        elif verdict.mode in ("database", "filesystem"):
            yield Seen(registry.name, "ok", f"it serves from its {verdict.mode}")
        else:
            message = f"which backend it serves from is {verdict.mode}"
            yield Seen(registry.name, "warned", message, f"regctl lockfiles show {registry.name}")


def storage_reachable(looker: Looker) -> Iterator[Seen]:
    """Each registry's storage is there and can be read."""
    for registry in looker.view.registries:
        if registry.space is not None:
            yield Seen(registry.name, "ok", f"{registry.place or registry.storage} is there")
            continue
        why = [text for text in registry.problems if text.startswith("its storage")]
        message = why[0] if why else "its storage cannot be read"
        yield Seen(registry.name, "failed", message, "mount it, or correct `storage` in the site")


def storage_space(looker: Looker) -> Iterator[Seen]:
    """Each registry's storage has room: 10 % of its bytes, and 10,000 inodes."""
    for registry in looker.view.registries:
        if registry.space is None:
            yield Seen(registry.name, "not-applicable", "its storage cannot be read; see storage-reachable")
        else:
            yield _space(registry)


def _space(registry: RegistryView) -> Seen:
    space, remedy = (
        registry.space,
        f"regctl gc --registry {registry.name} --dry-run says what a collection frees",
    )
    assert space is not None  # noqa: S101 - the caller has looked
    free = f"{size_text(space.free_bytes)} of {size_text(space.total_bytes)} are free"
    share = space.free_bytes / space.total_bytes if space.total_bytes else 1.0
    if share < VERY_LITTLE:
        return Seen(registry.name, "failed", f"{free}: pushes will soon fail", remedy)
    # A file system that makes inodes as it needs them (btrfs, overlays) says 0.
    if 0 < space.free_inodes < LITTLE_INODES:
        return Seen(registry.name, "warned", f"only {space.free_inodes} inodes are free", remedy)
    if share < LITTLE:
        return Seen(registry.name, "warned", free, remedy)
    return Seen(registry.name, "ok", free)


def config_drift(looker: Looker) -> Iterator[Seen]:
    """Files that regctl manages are as it wrote them, and say what the site says."""
    from ctl.steps.config_plan import GeneratedPlan, plan_config, secrets_folder

    for registry in looker.view.registries:
        for node in registry.nodes:
            where = f"{registry.name}/{node.host}"
            if _closed_by_us(looker, registry, node):
                yield Seen(where, "ok", "it is read-only by regctl; the file before that comes back")
                continue
            try:
                plan = plan_config(looker.world, registry.name, node.host, secrets_folder(looker.site_file))
            except RegctlError as error:
                yield Seen(where, "failed", error.message, error.hint)
                continue
            state = plan.before.ownership.state
            diff = f"regctl config diff {registry.name}"
            if state == "drifted":
                yield Seen(where, "warned", f"{plan.before.path} was edited by hand", diff)
            elif state == "managed" and plan.changes:
                yield Seen(where, "warned", f"the site says more than {plan.before.path}", diff)
            elif isinstance(plan, GeneratedPlan) and plan.changes:
                yield Seen(where, "warned", "gitlab.rb does not say what the site says", diff)
            elif state == "adopted":
                yield Seen(where, "not-applicable", f"{plan.before.path} is not regctl's")
            else:
                yield Seen(where, "ok", f"{plan.before.path} is as it should be")


def _closed_by_us(looker: Looker, registry: RegistryView, node: NodeView) -> bool:
    from hashlib import sha256

    from ctl.steps.read_only_record import read_record

    record = read_record(looker.world.state_dir, registry.name, node.host)
    if record is None:
        return False
    try:
        data = looker.world.host(node.host).read(looker.world.node(registry.name, node.host).config_file)
    except FileNotFoundError:
        return False
    return sha256(data).hexdigest() == record.before.get("ours")


def online_gc(looker: Looker) -> Iterator[Seen]:
    """Online garbage collection of a registry on its metadata database is on and keeps up."""
    from ctl.steps.online_gc import look_at_gc
    from ctl.steps.online_gc_report import online_report

    for registry in looker.view.registries:
        if registry.metadata is None or not registry.metadata.uses_database:
            yield Seen(registry.name, "not-applicable", "it has no online collection")
            continue
        report = online_report(registry.name, look_at_gc(looker.world, registry.name, seconds=10.0))
        problems = report.data["problems"]
        assert isinstance(problems, list)  # noqa: S101 - of the report's own making
        remedy = report.hints[0] if report.hints else f"regctl gc status {registry.name}"
        for text in problems:
            yield Seen(registry.name, "warned", str(text), remedy)
        if report.data["disabled"] and not problems:
            yield Seen(registry.name, "warned", "its online collection is off", remedy)
        elif not problems:
            yield Seen(registry.name, "ok", "its queues are worked off")


def maintenance(looker: Looker) -> Iterator[Seen]:
    """Maintenance is wholly on or wholly off, on every node and every timer."""
    from ctl.recipes.live import CheckRun
    from ctl.recipes.model import Target
    from ctl.steps.maintenance_state import look

    here = Target(looker.world, CheckRun("check", lambda event: None))
    for name in looker.registries:
        state = look(here, name)
        for finding in state.findings:
            yield Seen(finding.where, "failed", finding.message, finding.repair)
        if not state.findings:
            since = f" since {state.record.since}" if state.record else ""
            yield Seen(name, "ok", f"maintenance is {state.state}{since}")
