"""What works by itself on a host, paused and woken: systemd timers, files of cron, programs of the operator.

Three verbs for every kind: look (reads only), pause, wake. Each write is proved by a look after it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ctl.config.models import CommandTimer, CronFile, SystemdTimer
from ctl.errors import CommandFailedError, RefusedError, RegctlError
from ctl.hosts.base import Command

if TYPE_CHECKING:
    from ctl.config.models import Site
    from ctl.hosts.base import Host

AnyTimer = SystemdTimer | CronFile | CommandTimer
Standing = Literal["running", "stopped", "absent", "twice", "unknown"]
PATIENCE = timedelta(seconds=120)  # that a timer's program may take
STOPPED_CODE = 3  # of a status program, as of `systemctl is-active`


@dataclass(frozen=True)
class TimerState:
    """How a timer stands. `busy` names the work that it has started and that still goes on."""

    standing: Standing
    detail: str = ""
    busy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # of a file: what must come back


def key_of(timer: AnyTimer) -> str:
    """Return what names a timer in the whole site."""
    return f"{timer.host}/{timer.kind}/{timer.label}"


def timers_of(site: Site, registry: str) -> list[AnyTimer]:
    """Return what maintenance of a registry (or a Pulp) pauses: the site's timers and its own, each once."""
    own = site.pulps[registry] if registry in site.pulps else site.registries[registry]
    named = (*site.maintenance.timers, *own.maintenance.timers)
    return list({key_of(timer): timer for timer in named}.values())


def paused_path(path: str) -> str:
    """Return what a cron file is called while it is paused: cron passes over names that begin with a dot."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.regctl-paused")


def look(host: Host, timer: AnyTimer) -> TimerState:
    """Say how a timer stands; only reads."""
    if isinstance(timer, SystemdTimer):
        return _look_systemd(host, timer.unit)
    if isinstance(timer, CronFile):
        return _look_cron(host, timer.path)
    return _look_command(host, timer)


def pause(host: Host, timer: AnyTimer) -> TimerState:
    """Keep a running timer from starting anything, and prove it; return how it stands then."""
    if isinstance(timer, SystemdTimer):
        _do(host, ("systemctl", "stop", "--no-ask-password", "--", timer.unit))
    elif isinstance(timer, CronFile):
        _do(host, ("mv", "--", timer.path, paused_path(timer.path)))
    else:
        _do(host, timer.stop)
    return _proved(host, timer, "stopped")


def wake(host: Host, timer: AnyTimer) -> TimerState:
    """Let a paused timer work again, and prove it."""
    if isinstance(timer, SystemdTimer):
        _do(host, ("systemctl", "start", "--no-ask-password", "--", timer.unit))
    elif isinstance(timer, CronFile):
        _do(host, ("mv", "--", paused_path(timer.path), timer.path))
    else:
        _do(host, timer.start)
    return _proved(host, timer, "running")


def _proved(host: Host, timer: AnyTimer, wanted: Standing) -> TimerState:
    found = look(host, timer)
    if found.standing != wanted:
        raise RegctlError(
            f"{timer.label} on {timer.host} is not proved {wanted}: it is {found.standing} ({found.detail})",
            hint="look at it by hand; nothing may rely on it",
        )
    return found


def _do(host: Host, argv: tuple[str, ...]) -> None:
    result = host.run(Command(argv, timeout=PATIENCE))
    if result.exit_code != 0 or result.timed_out:
        how = "took too long" if result.timed_out else f"ended with exit code {result.exit_code}"
        raise CommandFailedError(
            f"{argv[0]} on {host.name} {how}",
            details=tuple(result.stderr.decode(errors="replace").splitlines()[-5:]),
        )


# -- systemd -------------------------------------------------------------------------------------


def _look_systemd(host: Host, unit: str) -> TimerState:
    shown = _show(host, unit, "LoadState,ActiveState,SubState,Triggers")
    if shown.get("LoadState") == "not-found":
        return TimerState("absent", f"systemd knows no {unit}")
    active = shown.get("ActiveState", "")
    detail = f"{active} ({shown.get('SubState', '')})"
    if active not in ("active", "inactive", "failed"):
        return TimerState("unknown", detail)
    return TimerState("running" if active == "active" else "stopped", detail, _busy(host, shown))


def _busy(host: Host, shown: Mapping[str, str]) -> str:
    for started in shown.get("Triggers", "").split():
        if _show(host, started, "ActiveState").get("ActiveState") in ("active", "activating"):
            return started
    return ""


def _show(host: Host, unit: str, properties: str) -> dict[str, str]:
    result = host.run(
        Command(("systemctl", "show", "--no-pager", "-p", properties, "--", unit), timeout=PATIENCE)
    )
    if result.exit_code != 0:
        raise CommandFailedError(
            f"systemd on {host.name} does not answer about {unit}",
            details=tuple(result.stderr.decode(errors="replace").splitlines()[-5:]),
        )
    pairs = (line.partition("=") for line in result.stdout.decode(errors="replace").splitlines())
    return {name: value for name, _, value in pairs}


# -- cron ----------------------------------------------------------------------------------------


def _look_cron(host: Host, path: str) -> TimerState:
    there, aside = host.stat(path), host.stat(paused_path(path))
    if there is not None and aside is not None:
        return TimerState("twice", f"both {path} and {paused_path(path)} are there")
    if there is None and aside is None:
        return TimerState("absent", f"{path} is not there")
    found = there or aside
    if found is None or found.kind != "file":
        return TimerState("unknown", f"{path} is not a file")
    where = path if there is not None else paused_path(path)
    facts = {
        "sha256": sha256(host.read(where)).hexdigest(),
        "mtime": found.mtime,
        "mode": found.mode,
        "owner": found.owner,
        "group": found.group,
    }
    if there is not None:
        return TimerState("running", "cron reads it", facts=facts)
    return TimerState("stopped", f"it lies as {paused_path(path)}", facts=facts)


def refuse_changed(timer: AnyTimer, before: Mapping[str, Any], now: TimerState) -> None:
    """Raise RefusedError where a paused cron file is not the one that was paused."""
    if before and now.facts and before.get("sha256") != now.facts.get("sha256"):
        raise RefusedError(
            f"{timer.label} on {timer.host} was changed while it was paused",
            hint=f"read {paused_path(timer.label)}; if it is right, move it to {timer.label} by hand and "
            "run this again",
        )


# -- programs ------------------------------------------------------------------------------------


def _look_command(host: Host, timer: CommandTimer) -> TimerState:
    result = host.run(Command(timer.status, timeout=PATIENCE))
    words = (result.stdout + result.stderr).decode(errors="replace").strip().splitlines()
    said = words[-1][:200] if words else ""
    if result.timed_out:
        return TimerState("unknown", f"{timer.status[0]} took too long")
    if result.exit_code == 0:
        return TimerState("running", said)
    if result.exit_code == STOPPED_CODE:
        return TimerState("stopped", said)
    return TimerState("unknown", f"{timer.status[0]} ended with exit code {result.exit_code}: {said}")
