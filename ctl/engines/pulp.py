"""Pulp with its container plugin, driven through its own manager: calls, questions and answers as values.

What is asked of a Pulp runs inside `pulpcore-manager shell` over there (templates/pulp/), so that only its
own models and its own commands touch its data. The program text goes in on standard input: no argument is
long, and none holds a value of the site. Facts of versions: see `ctl.engines.pulp_releases`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ctl.errors import CommandFailedError
from ctl.hosts.base import Command
from ctl.resources import read_resource

if TYPE_CHECKING:
    from ctl.config.pulp import PulpNode

_FUTURE = "from __future__ import annotations\n"
_READ = "import sys; exec(compile(sys.stdin.read(), 'regctl', 'exec'))"
_MARK = '{"regctl": '
_ALSO = {  # what some of the programs share, after `common`
    "survey": ("copies",),
    "keep": ("copies",),
    "restore": ("copies",),
    "prepare": ("holding", "ending"),
    "whole": ("holding", "ending"),
}


class Pulp:
    """The engine as the table of engines knows it; what it can do stands in this module's functions."""

    name = "pulp"


def manager_command(node: PulpNode, *words: str, timeout: timedelta | None = None) -> Command:
    """Return a call of a node's own manager, as its own user, with its own settings."""
    env = {"PULP_SETTINGS": node.settings_file}
    return Command((node.manager, *words), env=env, user=node.user, timeout=timeout)


def question(
    node: PulpNode, name: str, request: Mapping[str, Any], timeout: timedelta | None = None
) -> Command:
    """Return the call that runs templates/pulp/NAME.py inside a node's manager; `request` is JSON-able."""
    from dataclasses import replace

    asked = json.dumps(json.dumps(dict(request)))  # JSON's string is one of Python's, too
    named = ("common", *_ALSO.get(name, ()), name)
    parts = [read_resource("templates", f"pulp/{part}.py").replace(_FUTURE, "") for part in named]
    text = "\n".join((f"REQUEST = __import__('json').loads({asked})", *parts))
    command = manager_command(node, "shell", "-c", _READ, timeout=timeout)
    return replace(command, stdin=text.encode())


def answers(stdout: bytes) -> Iterator[dict[str, Any]]:
    """Yield the answers in a manager's output, in order; a line that is cut off at either end is none."""
    for line in stdout.decode(errors="replace").splitlines():
        if not line.startswith(_MARK):
            continue
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def answer(stdout: bytes, kind: str) -> dict[str, Any] | None:
    """Return the last answer of a kind; None where there is none."""
    found = [one for one in answers(stdout) if one["regctl"] == kind]
    return found[-1] if found else None


def explained(where: str, exit_code: int | None, stdout: bytes, stderr: bytes) -> CommandFailedError:
    """Return the error for a manager that did not answer: what happened, and what to do about it."""
    text = (stderr or stdout).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1][:400] if lines else f"exit code {exit_code}"
    hint = "run the manager by hand on that host, as the same user: `pulpcore-manager showmigrations`"
    for words, advice in _CAUSES:
        if words in text:
            hint = advice
            break
    return CommandFailedError(f"{where}: {last}", hint=hint, details=tuple(lines[-6:-1]))


_CAUSES = (
    ("No module named 'pulp_container'", "install Pulp's container plugin there, or correct `manager`"),
    ("database_fields.symmetric.key", "`settings_file` is not there, or cannot be read by `user`"),
    ("OperationalError", "its PostgreSQL does not answer: start it, or correct the settings of that Pulp"),
    ("ProgrammingError", "its database is older than its code: regctl database migrate plan --registry NAME"),
    ("PermissionError", "`user` may not read what Pulp's settings name"),
)
