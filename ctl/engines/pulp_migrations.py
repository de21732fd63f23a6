"""What a Pulp's migrations say, and what `pulpcore-manager migrate` says when it fails. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from ctl.engines.pulp_releases import CORE, goes_with, left_by, skipped, version_of

INCONSISTENT = "InconsistentMigrationHistory"
# Pulp's own defaults (API_APP_TTL, CONTENT_APP_TTL, WORKER_TTL): how long a crashed one is counted as alive.
EXPIRES = "crashed ones are forgotten after 30 s (worker, content app) or 120 s (API)"
# What Pulp's schema brings that its content must be prepared for afterwards.
CONTENT_MIGRATIONS = ("0038_", "0039_", "0042_", "0043_")
_APPLYING = re.compile(r"^\s*Applying (?P<id>[\w.]+)\.\.\.(?P<end>.*)$", re.M)


@dataclass(frozen=True)
class LiveService:
    """A process of Pulp that gave a sign of life lately. `expires` in seconds: when it stops to count."""

    kind: str  # api, content, worker
    name: str  # PID@HOST
    versions: Mapping[str, str]
    expires: float = 0.0

    def others(self, installed: Mapping[str, str]) -> dict[str, str]:
        """Return the parts that it runs in another version than what is installed."""
        return {
            part: version
            for part, version in self.versions.items()
            if part in installed and not _same(version, installed[part])
        }


@dataclass(frozen=True)
class Failure:
    """Why `migrate` failed. `refused`: it says itself that it must not be done now."""

    message: str
    hint: str
    refused: bool = False


def migrate_words() -> tuple[str, ...]:
    """Return the words of the call that brings a schema up to date."""
    return ("migrate", "--noinput", "--no-color")


def explained_history(why: str, newest: Mapping[str, str], versions: Mapping[str, str]) -> Failure:
    """Explain that the installed code does not know the history of the database.

    `newest` are the last applied migrations by part, `versions` what is installed.
    """
    detail = why.partition(": ")[2] or why
    core = version_of(versions.get(CORE, ""))
    left = left_by(newest.get(CORE, ""))
    through = skipped(left or Version("0"), core) if INCONSISTENT in why and core is not None else ""
    if not through:
        return Failure(f"its migrations contradict each other: {detail}", _SUPPORT)
    lines = goes_with(left) if left is not None else ""
    was = f"pulpcore {left}" + (f" (pulp-container {lines})" if lines else "") if left else "an old pulpcore"
    return Failure(
        f"its database was left by {was}, and pulpcore {core} does not know that history: a release was "
        f"skipped ({detail})",
        f"nothing was applied. Install {through}. Migrate with that one, and then come to {core}",
        refused=True,
    )


def explained_failure(stdout: str, stderr: str, exit_code: int) -> Failure:
    """Explain why `migrate` ended with an error."""
    text = f"{stdout}\n{stderr}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if "Incompatible versions detected" in text:
        which = ", ".join(line.lstrip("- ") for line in lines if line.startswith("- '"))
        return Failure(
            f"processes of an older Pulp are counted as alive: {which}",
            f"stop them; {EXPIRES}. What was applied before that stays; then run it again",
            refused=True,
        )
    last = lines[-1][:400] if lines else f"exit code {exit_code}"
    if INCONSISTENT in text:
        return Failure(last, "a release was skipped: regctl database migrate plan --registry NAME says which")
    if "OperationalError" in text or "InterfaceError" in text:
        return Failure(
            last, "its PostgreSQL went away or refused: what was applied stays; run it again when it is back"
        )
    if "DuplicateTable" in text or "DuplicateColumn" in text or "already exists" in text:
        return Failure(last, f"its tables are not what its list of migrations says. {_SUPPORT}")
    at = last_applying(stdout)
    where = f"{at}: {last}" if at else last
    return Failure(where, f"what was applied before it stays, the failed one was taken back. {_SUPPORT}")


_SUPPORT = (
    "Look with `pulpcore-manager showmigrations` there, and do not start Pulp's services before it is clear"
)


def last_applying(stdout: str) -> str:
    """Return the migration that was begun and not ended, "" for none."""
    found = [match for match in _APPLYING.finditer(stdout) if "OK" not in match["end"]]
    return found[-1]["id"] if found else ""


def content_follows(pending: Sequence[str]) -> bool:
    """Say whether these migrations bring fields that old content must be prepared for afterwards."""
    return any(
        one.startswith(tuple(f"container.{number}" for number in CONTENT_MIGRATIONS)) for one in pending
    )


def _same(one: str, other: str) -> bool:
    first, second = version_of(one), version_of(other)
    return first == second if first is not None and second is not None else one == other
