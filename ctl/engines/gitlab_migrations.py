"""GitLab's `database migrate` and `background-migrate`: the calls, and what they print. Pure.

Module-level functions with the names of `ctl.engines.metadata.MetadataPrograms`, which delegates here. Every
format was seen on 4.32.0; transcripts lie in tests/cases/gitlab/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ctl.engines.metadata import MigrationLimits, MigrationsDone, PendingMigrations, ProgramFailure
from ctl.hosts.base import Command

BackgroundVerb = Literal["run", "pause", "resume", "status"]

_ID = re.compile(r"\d{14}_\w+")
_HEADER = re.compile(r"(?P<kind>pre|post)-deployment:?")
_UP_DONE = re.compile(
    r"^OK: applied (?P<pre>\d+) pre-deployment migration\(s\), (?P<post>\d+) post-deployment migration\(s\)"
    r"(?: and (?P<background>\d+) background migration\(s\))? in (?P<seconds>[\d.]+)s\s*$",
    re.MULTILINE,
)
# `down` asks before each kind, without a line break: its OK may stand behind the question.
_DOWN_DONE = re.compile(
    r"OK: applied (?P<count>\d+) (?P<kind>pre|post)-deployment migration\(s\) in (?P<seconds>[\d.]+)s\s*$",
    re.MULTILINE,
)
_BORDER = re.compile(r"[│|]")
_VERSION = re.compile(r"^(?P<kind>pre|post)-deployment:(?P<id>\S+)\s*$", re.MULTILINE)
_UNKNOWN_MARK = " (unknown)"


@dataclass(frozen=True)
class KnownMigration:
    """One row of the program's status table. `applied_at` is its own text, "" while pending."""

    id: str
    post: bool
    applied_at: str
    unknown: bool  # applied, but this program does not know it: a newer one did that


@dataclass(frozen=True)
class BackgroundStatus:
    """One row of `background-migrate status`."""

    name: str
    status: str  # paused active running finished failed


def migrate_up_command(
    binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
) -> Command:
    """The call that applies pending migrations; dry, it prints their ids and nothing else."""
    flags = _flags(limits, dry_run)
    if limits.skip_post:
        flags = (*flags, "--skip-post-deployment")
    return _migrate(binary, "up", flags, config_file)


def migrate_down_command(
    binary: str, config_file: str, limits: MigrationLimits, *, dry_run: bool = False
) -> Command:
    """The call that takes migrations back, without asking; post-deployment ones first."""
    flags = _flags(limits, dry_run) if dry_run else ("--force", *_flags(limits, dry_run))
    return _migrate(binary, "down", flags, config_file)


def status_command(binary: str, config_file: str) -> Command:
    """The call that prints both tables. Its `-u` is never used: it judges half of them."""
    return _migrate(binary, "status", (), config_file)


def version_command(binary: str, config_file: str) -> Command:
    """The call that prints the newest applied id of each kind."""
    return _migrate(binary, "version", (), config_file)


def background_command(
    binary: str, config_file: str, verb: BackgroundVerb, *, retries: int | None = None
) -> Command:
    """The call that looks after background migrations. Its `run` may never end: supervise it."""
    flags = ("--max-job-retry", str(retries)) if verb == "run" and retries is not None else ()
    return Command((binary, "background-migrate", verb, *flags, config_file))


def _migrate(binary: str, verb: str, flags: tuple[str, ...], config_file: str) -> Command:
    # The variable would skip post-deployment migrations behind our back; the flag alone decides.
    return Command(
        (binary, "database", "migrate", verb, *flags, config_file),
        env={"SKIP_POST_DEPLOYMENT_MIGRATIONS": "false"} if verb in ("up", "status") else {},
    )


def _flags(limits: MigrationLimits, dry_run: bool) -> tuple[str, ...]:
    for name, limit in (("pre", limits.pre), ("post", limits.post)):
        if limit is not None and limit < 1:  # the program takes 0 and less for "all"
            raise ValueError(f"the {name}-deployment limit must be 1 or more, not {limit}")
    found: tuple[str, ...] = ("--dry-run",) if dry_run else ()
    if limits.pre is not None:
        found += ("--limit", str(limits.pre))
    if limits.post is not None:
        found += ("--post-deploy-limit", str(limits.post))
    return found


def parse_plan(stdout: str) -> PendingMigrations:
    """Read the ids that `up` or `down` prints before it does anything: the plan, not the deed."""
    found: dict[str, list[str]] = {"pre": [], "post": []}
    kind = ""
    for line in stdout.splitlines():
        text = line.strip()
        if header := _HEADER.fullmatch(text):
            kind = header["kind"]
        elif kind and _ID.fullmatch(text):
            found[kind].append(text)
    return PendingMigrations(tuple(found["pre"]), tuple(found["post"]))


def parse_done(stdout: str) -> MigrationsDone | None:
    """Read the `OK:` line of `up`, or the lines of `down`; None where it is missing.

    A `down` of both kinds prints one line for each: with fewer lines than kinds it did not finish.
    """
    if up := _UP_DONE.search(stdout):
        return MigrationsDone(
            int(up["pre"]), int(up["post"]), int(up["background"] or 0), float(up["seconds"])
        )
    lines = list(_DOWN_DONE.finditer(stdout))
    plan = parse_plan(stdout)
    done = {line["kind"]: int(line["count"]) for line in lines}
    planned = {kind for kind, ids in (("pre", plan.pre), ("post", plan.post)) if ids}
    if not lines or planned - set(done):
        return None
    seconds = sum(float(line["seconds"]) for line in lines)
    return MigrationsDone(done.get("pre", 0), done.get("post", 0), 0, seconds)


def parse_status(stdout: str) -> tuple[KnownMigration, ...]:
    """Read the two status tables, whether they are drawn with box characters or with `|` and `+`."""
    found: list[KnownMigration] = []
    post = False
    for line in stdout.splitlines():
        if header := _HEADER.fullmatch(line.strip()):
            post = header["kind"] == "post"
            continue
        cells = [cell.strip() for cell in _BORDER.split(line)]
        if len(cells) < 4 or not _ID.fullmatch(cells[1].removesuffix(_UNKNOWN_MARK)):
            continue
        unknown = cells[1].endswith(_UNKNOWN_MARK)
        found.append(KnownMigration(cells[1].removesuffix(_UNKNOWN_MARK), post, cells[2], unknown))
    return tuple(found)


def parse_version(stdout: str) -> Mapping[str, str]:
    """Return {"pre": id, "post": id}, "" where nothing is applied; {} if this is not that output."""
    found = {match["kind"]: match["id"] for match in _VERSION.finditer(stdout)}
    return {kind: "" if one == "Unknown" else one for kind, one in found.items()}


def parse_background(stdout: str) -> tuple[BackgroundStatus, ...]:
    """Read the table of `background-migrate status`."""
    found = []
    for line in stdout.splitlines():
        cells = [cell.strip() for cell in _BORDER.split(line)]
        if len(cells) >= 4 and cells[1] and cells[2].islower():
            found.append(BackgroundStatus(cells[1], cells[2]))
    return tuple(found)


def explain(stderr: str) -> ProgramFailure:
    """Say why a call failed, from what it printed on stderr; the cause is in the last line."""
    from ctl.engines.gitlab_failures import explain as explained

    return explained(stderr)
