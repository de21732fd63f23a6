"""What `regctl host list` and `host check` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.errors import Outcome
from ctl.fleet.reach import NEEDED
from ctl.fleet.select import select
from ctl.report.model import Block, Json, Report, Table, Text
from ctl.report.units import size_text

if TYPE_CHECKING:
    from ctl.config.models import Host, Site
    from ctl.fleet.reach import Reached


@dataclass(frozen=True)
class Limits:
    """Beyond them something is a finding."""

    skew_seconds: float
    free_bytes: int


def list_report(site: Site, pattern: str) -> Report:
    """Show hosts as the site describes them."""
    names = select(site, pattern)
    hosts = [_described(site, name) for name in names]
    rows = tuple(
        (
            str(one["host"]),
            str(one["connection"]),
            _address(site.hosts[name]),
            ", ".join(f"{key}={value}" for key, value in site.hosts[name].labels.items()),
            ", ".join(_nodes(site, name)),
        )
        for name, one in zip(names, hosts, strict=True)
    )
    table = Table(("host", "connection", "address", "labels", "registries"), rows)
    return Report("host-list", Outcome.OK, {"hosts": hosts}, (table,))


def _described(site: Site, name: str) -> dict[str, Json]:
    host = site.hosts[name]
    far = host.connection == "ssh"
    return {
        "host": name,
        "connection": host.connection,
        "address": host.address,
        "port": host.port if far else None,
        "user": host.user,
        "become": host.become,
        "jump": host.jump,
        "labels": dict(host.labels),
        "registries": list(_nodes(site, name)),
    }


def _address(host: Host) -> str:
    if host.connection == "local":
        return "this machine"
    user = f"{host.user}@" if host.user else ""
    return f"{user}{host.address}" + (f":{host.port}" if host.port != 22 else "")


def _nodes(site: Site, name: str) -> tuple[str, ...]:
    hosts = {registry: [node.host for node in one.nodes] for registry, one in site.registries.items()}
    hosts |= {pulp: [node.host for node in one.nodes] for pulp, one in site.pulps.items()}
    return tuple(registry for registry, found in hosts.items() if name in found)


def check_report(site: Site, found: Sequence[Reached], limits: Limits) -> Report:
    """Show what hosts answered, and what is wrong with them."""
    hosts = [_checked(site, one, limits) for one in found]
    rows = tuple(
        (
            one.host,
            str(host["result"]),
            _who(one),
            one.host_name,
            one.system,
            "-" if one.clock_skew_seconds is None else f"{one.clock_skew_seconds:+.1f} s",
            "-" if one.free_bytes is None else size_text(one.free_bytes),
            f"{one.milliseconds} ms",
        )
        for one, host in zip(found, hosts, strict=True)
    )
    columns = ("host", "result", "as", "calls itself", "system", "clock", "free", "took")
    blocks: list[Block] = [Table(columns, rows, right=frozenset({"clock", "free", "took"}))]
    for one, host in zip(found, hosts, strict=True):
        findings = host["findings"]
        lines = [one.reason, *one.details] if one.reason else []
        lines += [str(text) for text in findings] if isinstance(findings, list) else []
        lines += [f"    {one.hint}"] if one.hint else []
        blocks += [Text(f"{one.host}: " + "\n".join(lines))] if lines else []
    return Report("host-check", _outcome(found, hosts), {"hosts": hosts}, tuple(blocks))


def _who(one: Reached) -> str:
    return one.user or "-"


def _checked(site: Site, one: Reached, limits: Limits) -> dict[str, Json]:
    findings = _findings(one, limits) if one.ok else []
    result = one.outcome if findings == [] else Outcome.WARNING
    described = site.hosts[one.host]
    return {
        "host": one.host,
        "result": result.value,
        "reason": one.reason,
        "hint": one.hint,
        "connection": described.connection,
        "address": described.address,
        "user": one.user,
        "uid": one.uid if one.uid >= 0 else None,
        "host_name": one.host_name,
        "system": one.system,
        "tools": {tool: tool not in one.missing for tool in NEEDED} if one.system else {},
        "state_dir": one.state_dir,
        "free_bytes": one.free_bytes,
        "clock_skew_seconds": one.clock_skew_seconds,
        "milliseconds": one.milliseconds,
        "findings": list(findings),
    }


def _findings(one: Reached, limits: Limits) -> list[str]:
    found = []
    skew, free = one.clock_skew_seconds, one.free_bytes
    if skew is None:
        found.append("its clock cannot be read")
    elif abs(skew) > limits.skew_seconds:
        found.append(
            f"its clock is off by {skew:+.1f} s: tokens and certificates may be refused; set it by NTP"
        )
    if free is None:
        found.append(f"df does not tell how much room there is in {one.state_dir}")
    elif free < limits.free_bytes:
        found.append(f"only {size_text(free)} are free for {one.state_dir}")
    return found


def _outcome(found: Sequence[Reached], hosts: Sequence[dict[str, Json]]) -> Outcome:
    outcomes = {one.outcome for one in found}
    for outcome in (Outcome.UNREACHABLE, Outcome.REFUSED):
        if outcome in outcomes:
            return outcome
    return Outcome.WARNING if any(host["findings"] for host in hosts) else Outcome.OK
