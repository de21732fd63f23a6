"""The copies of rows that a Pulp's host keeps: asked for, listed, shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ctl.engines.pulp import answer, answers, explained, question
from ctl.errors import Outcome, RefusedError
from ctl.report.events import Progress
from ctl.report.model import Json, Report, Table, Text
from ctl.report.units import size_text
from ctl.steps.pulp_doors import pulp_node

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from ctl.recipes.model import Target
    from ctl.world import World

    Program = Literal["keep", "restore"]

ROOM = 64 * 1024 * 1024  # bytes that must stay free where a copy is written
LONGEST = timedelta(hours=6)  # that writing or restoring a copy may take
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def copy_name(run: str) -> str:
    """Return what the copy of a run is called."""
    return _UNSAFE.sub("_", run)[:120]


def ask_copies(
    world: World,
    registry: str,
    host: str,
    program: Program,
    request: Mapping[str, Any],
    on_line: Callable[[Literal["stdout", "stderr"], str], None] | None = None,
) -> dict[str, Any]:
    """Put a question about copies to a node's Pulp; RefusedError where it says why it does not do it."""
    node = pulp_node(world, registry, host)
    asked = {"folder": world.pulp(registry).content.keep_folder or "", **request}
    result = world.host(host).run(question(node, program, asked, LONGEST), on_line)
    refused = answer(result.stdout, "refused")
    if refused is not None:
        raise RefusedError(f"{registry} on {host}: {refused['message']}", hint=refused["hint"])
    found = answer(result.stdout, program)
    if result.exit_code != 0 or found is None:
        raise explained(f"{registry} on {host}", result.exit_code, result.stdout, result.stderr)
    return found


def progress_of(here: Target, task: str) -> Callable[[Literal["stdout", "stderr"], str], None]:
    """Return what tells the operator how far a program over there is, from the lines that it prints."""

    def told(stream: Literal["stdout", "stderr"], line: str) -> None:
        if stream == "stdout":
            for one in answers(line.encode()):
                if one["regctl"] == "progress":
                    seconds = float(one["seconds"])
                    rate = one["done"] / seconds if seconds else 0.0
                    eta = one["left"] / rate if rate else None
                    here.run.emit(
                        Progress(task, one["done"], one["done"] + one["left"], "manifests", rate, eta)
                    )

    return told


def copies_report(registry: str, found: Sequence[tuple[str, Mapping[str, Any] | str]]) -> Report:
    """Show the copies of each host; a text instead of an answer says why a host has none."""
    hosts: list[Json] = []
    rows: list[tuple[str, ...]] = []
    away, damaged = False, False
    for host, answer_ in found:
        if isinstance(answer_, str):
            away = True
            hosts.append({"host": host, "result": "unreachable", "reason": answer_, "copies": []})
            rows.append((host, "-", "-", "-", "-", "-", answer_))
            continue
        copies = [dict(one) for one in answer_["copies"]]
        hosts.append({"host": host, "result": "ok", "folder": answer_["folder"], "copies": copies})
        for one in copies:
            damaged = damaged or bool(one["damaged"])
            rows.append(_row(host, one))
    outcome = Outcome.UNREACHABLE if away else Outcome.WARNING if damaged else Outcome.OK
    columns = ("host", "copy", "made", "manifests", "size", "container", "state")
    table = Table(columns, tuple(rows), right=frozenset({"manifests", "size"}))
    block = table if rows else Text(f"no copy of rows of {registry} is kept anywhere")
    return Report("content-copies", outcome, {"registry": registry, "hosts": hosts}, (block,))


def _row(host: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    if one["damaged"]:
        return (host, one["name"], "-", "-", size_text(one["bytes"]), "-", "damaged")
    version = one["versions"].get("container", "-")
    size = size_text(one["bytes"])
    return (host, one["name"], one["made_at"], f"{one['rows']:,}", size, version, "whole")
