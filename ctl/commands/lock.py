"""Show who keeps a registry from being changed; take, give back or break a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ctl.context import Context, pass_context

if TYPE_CHECKING:
    from ctl.recipes.lock import Locks, LockState
    from ctl.report.model import Block, Json

_REASON = click.option("--reason", required=True, help="Why, for whoever finds the lock.")


@click.group("lock", invoke_without_command=True)
@click.pass_context
def command(click_context: click.Context) -> None:
    """Show who keeps a registry from being changed; take, give back or break a lock.

    Without a subcommand: status. Every changing command locks what it changes, for as long as it works.
    """
    if click_context.invoked_subcommand is None:
        click_context.invoke(status)


@command.command("status")
@click.argument("registry", metavar="[REGISTRY]", required=False)
@pass_context
def status(context: Context, registry: str | None = None) -> None:
    """Show the locks: who, what, host, pid, since when, why, and whether the holder still lives.

    Also the claims on the nodes' hosts, and the lock files that the storage itself holds. Only reads.
    """
    from ctl.errors import Outcome
    from ctl.report.model import Report

    names = [context.registry_name(registry)] if registry else sorted(context.site.registries)
    locks = _locks(context)
    states = [locks.state(f"registry/{name}") for name in names]
    if not registry:
        known = {state.resource for state in states}
        states += [state for state in locks.states() if state.info and state.resource not in known]
    claims, claim_trouble = _claims(context, names)
    files, file_trouble = _storage_files(context, names)
    data: dict[str, Json] = {
        "locks": [_object(state) for state in states],
        "claims": claims,
        "storage_lock_files": files,
        "problems": [*claim_trouble, *file_trouble],
    }
    blocks = _status_blocks(states, claims, files, [*claim_trouble, *file_trouble])
    hints = tuple(_hint(state) for state in states if state.info is not None)
    context.show(Report("lock-status", Outcome.OK, data, blocks, hints))


@command.command("acquire")
@click.argument("registry", metavar="REGISTRY")
@_REASON
@pass_context
def acquire(context: Context, registry: str, reason: str) -> None:
    """Lock a registry by hand: no command changes it until the lock is released."""
    resource = f"registry/{context.registry_name(registry)}"
    locks = _locks(context)
    if context.options.dry_run:
        state = locks.state(resource)
        locks.refuse_held(state)
        _show(context, "acquire", state, dry_run=True)
        return
    _show(context, "acquire", locks.acquire_by_hand(resource, reason))


@command.command("release")
@click.argument("registry", metavar="REGISTRY")
@click.argument("lock_id", metavar="[ID]", required=False, default="")
@pass_context
def release(context: Context, registry: str, lock_id: str) -> None:
    """Give back a lock that was taken by hand."""
    resource = f"registry/{context.registry_name(registry)}"
    locks = _locks(context)
    if context.options.dry_run:
        _show(context, "release", locks.state(resource), dry_run=True)
        return
    locks.release_by_hand(resource, lock_id)
    _show(context, "release", locks.state(resource))


@command.command("break")
@click.argument("lock_id", metavar="ID")
@_REASON
@pass_context
def break_(context: Context, lock_id: str, reason: str) -> None:
    """Take a lock away from its holder, by the ID that `lock status` shows.

    If the holder still lives it can change nothing from then on. Settle its run afterwards: `regctl run
    list --open`. With the ID of another controller's run its claims are removed.
    """
    from ctl.recipes.claims import break_claims

    locks = _locks(context)
    found = [state for state in locks.states() if state.info is not None and state.info.id == lock_id]
    if not found and break_claims(context.world, locks, lock_id, reason, dry_run=True):
        count = break_claims(context.world, locks, lock_id, reason, dry_run=context.options.dry_run)
        _show_claims_broken(context, lock_id, count)
        return
    if context.options.dry_run and found:
        _show(context, "break", found[0], dry_run=True)
        return
    _show(context, "break", locks.break_(lock_id, reason))


def _locks(context: Context) -> Locks:
    return context.runner.locks


def _show(context: Context, verb: str, state: LockState, *, dry_run: bool = False) -> None:
    from ctl.errors import Outcome
    from ctl.report.model import Report

    outcome = Outcome.PENDING if dry_run else Outcome.CHANGED
    context.show(Report(f"lock-{verb}", outcome, _object(state), (_table([state]),)))


def _show_claims_broken(context: Context, run_id: str, count: int) -> None:
    from ctl.errors import Outcome
    from ctl.report.model import Report, Text

    outcome = Outcome.PENDING if context.options.dry_run else Outcome.CHANGED
    text = Text(f"claims of the run {run_id}: {count}")
    context.show(Report("lock-break", outcome, {"run": run_id, "claims": count}, (text,)))


def _object(state: LockState) -> dict[str, Json]:
    from datetime import UTC, datetime

    info = state.info
    beat = datetime.fromtimestamp(state.heartbeat, UTC) if state.heartbeat is not None else None
    return {
        "resource": state.resource,
        "state": "free" if info is None else "locked",
        "epoch": state.epoch,
        "verdict": state.verdict,
        "id": info.id if info else None,
        "kind": info.kind if info else None,
        "operator": info.holder.user if info else None,
        "host": info.holder.host if info else None,
        "pid": info.holder.pid if info and info.kind == "process" else None,
        "command": info.command if info else None,
        "reason": info.reason if info else None,
        "since": info.since if info else None,
        "run": info.run if info else None,
        "heartbeat": beat.isoformat(timespec="seconds").replace("+00:00", "Z") if beat else None,
    }


def _table(states: list[LockState]) -> Block:
    from ctl.report.model import Table

    rows = []
    for state in states:
        found = _object(state)
        words = ("state", "verdict", "operator", "host", "pid", "command", "since", "reason", "id")
        cells = tuple("" if found[word] is None else str(found[word]) for word in words)
        rows.append((state.resource, *cells))
    columns = ("resource", "state", "holder", "who", "host", "pid", "what", "since", "why", "id")
    return Table(columns, tuple(rows))


def _claims(context: Context, names: list[str]) -> tuple[list[dict[str, Json]], list[Json]]:
    from ctl.errors import RegctlError
    from ctl.recipes.claims import read_claim, spots
    from ctl.recipes.identity import controller_id

    own = controller_id(context.world.state_dir, create=False)
    found: list[dict[str, Json]] = []
    trouble: list[Json] = []
    for name in names:
        for spot in spots(context.world, [f"registry/{name}"]):
            try:
                claim = read_claim(context.world, spot)
            except RegctlError as error:
                trouble.append(error.message)
                continue
            if claim is not None:
                facts: dict[str, Json] = {"registry": name, "host": spot.host, "path": spot.path}
                facts |= {"run": claim.run, "epoch": claim.epoch, "since": claim.since}
                facts |= {"controller_host": claim.controller_host, "operator": claim.operator}
                found.append({**facts, "ours": claim.controller == own})
    return found, trouble


def _storage_files(context: Context, names: list[str]) -> tuple[list[dict[str, Json]], list[Json]]:
    from ctl.errors import RegctlError

    found: list[dict[str, Json]] = []
    trouble: list[Json] = []
    for name in names:
        folder = "docker/registry/lockfiles"
        try:
            _, files = context.world.storage(name).list_directory(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (RegctlError, OSError) as error:
            trouble.append(f"the storage of {name} cannot be looked at: {error}")
            continue
        found += [{"registry": name, "path": f"{folder}/{file}", "name": file} for file in files]
    return found, trouble


def _status_blocks(
    states: list[LockState], claims: list[dict[str, Json]], files: list[dict[str, Json]], trouble: list[Json]
) -> tuple[Block, ...]:
    from ctl.report.model import Table, Text

    blocks: list[Block] = [_table(states)]
    if claims:
        words = ("registry", "host", "run", "operator", "controller_host", "since")
        rows = tuple(tuple(str(claim[word]) for word in words) for claim in claims)
        blocks.append(Table(("registry", "host", "run", "who", "from", "since"), rows, "Claims"))
    if files:
        rows = tuple((str(file["registry"]), str(file["path"])) for file in files)
        blocks.append(Table(("registry", "file"), rows, "Lock files in the storage"))
    return (*blocks, *(Text(str(line)) for line in trouble))


def _hint(state: LockState) -> str:
    info = state.info
    if info is None:
        return ""
    if info.kind == "operator":
        return f"regctl lock release {state.resource.partition('/')[2]} {info.id}"
    if state.verdict in ("dead", "rebooted"):
        return f"the holder of {state.resource} is gone; the next command takes the lock over"
    return f"regctl lock break {info.id} --reason WHY"
