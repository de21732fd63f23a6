"""The health checks there are, and how some of them are evaluated together."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial

from ctl.config.mistakes import did_you_mean
from ctl.errors import UsageError
from ctl.health import pulps, registries, surroundings
from ctl.health.model import Checked, HealthCheck, Looker, Seen, worst
from ctl.probing import NoAnswer, ask

SECONDS = 40.0  # that a check may take; all work side by side


def _check(name: str, look: object) -> HealthCheck:
    help_ = (getattr(look, "__doc__", "") or "").split("\n")[0].rstrip(".")
    return HealthCheck(name, help_, look)  # type: ignore[arg-type]


CHECKS: tuple[HealthCheck, ...] = (
    _check("node-listening", registries.node_listening),
    _check("version-known", registries.version_known),
    _check("backend", registries.backend),
    _check("storage-reachable", registries.storage_reachable),
    _check("storage-space", registries.storage_space),
    _check("database-reachable", surroundings.database_reachable),
    _check("database-migrations", surroundings.database_migrations),
    _check("open-runs", surroundings.open_runs),
    _check("maintenance", registries.maintenance),
    _check("config-drift", registries.config_drift),
    _check("online-gc", registries.online_gc),
    _check("pulp-services", pulps.pulp_services),
    _check("pulp-content", pulps.pulp_content),
    _check("pulp-migrations", pulps.pulp_migrations),
    _check("clock", surroundings.clock),
    _check("certificates", surroundings.certificates),
    _check("controller", surroundings.controller),
)
NAMES: tuple[str, ...] = tuple(check.name for check in CHECKS)


def named(names: Iterable[str], what: str = "health check") -> list[HealthCheck]:
    """Return the checks by their names, in the order of the list; all where none is named.

    UsageError for a name that no check has.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in NAMES:
            raise UsageError(
                f"there is no {what} {name!r}{did_you_mean(name, NAMES)}",
                hint="`regctl check --list` shows them",
            )
    return [check for check in CHECKS if not wanted or check.name in wanted]


def evaluate(
    looker: Looker,
    checks: Sequence[HealthCheck],
    skip: Collection[str] = (),
    reason: str = "",
    seconds: float = SECONDS,
) -> list[Checked]:
    """Look by every check, side by side. One that breaks, or takes too long, is one failed check.

    A skipped one is evaluated all the same, and counts for nothing.
    """
    answers = ask({check.name: partial(_timed, looker, check) for check in checks}, seconds)
    found = []
    for check in checks:
        answer = answers[check.name]
        errored = isinstance(answer, NoAnswer)
        if isinstance(answer, NoAnswer):
            seen: tuple[Seen, ...] = (Seen("check", "failed", f"the check itself failed: {answer.why}"),)
            took = seconds
        else:
            seen, took = answer
        word = worst(seen)
        skipped = check.name in skip
        found.append(
            Checked(
                check.name,
                "skipped" if skipped else word,
                seen,
                word,
                errored,
                reason if skipped else "",
                round(took, 3),
            )
        )
    return found


def _timed(looker: Looker, check: HealthCheck) -> tuple[tuple[Seen, ...], float]:
    began = time.monotonic()
    seen = tuple(check.look(looker))
    return seen, time.monotonic() - began
