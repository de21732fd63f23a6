"""Why an import of GitLab's registry failed, and whether trying again may help. Pure.

The program says the cause in the last line on stderr; what it knows of the place (repository, tag) is in
the last error record of its log. Source: each failure made with 4.32.0 and recorded in tests/cases/gitlab.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ctl.engines.metadata import ImportRecord, ProgramFailure

_LOOK = "`regctl registry import --dry-run` names every such entry; mend or quarantine it, then import again"
_Known = tuple[str, str, str, str]  # pattern, kind, message, hint
_KNOWN: tuple[_Known, ...] = (
    (
        r"halting import to protect data|tags already present in database",
        "tags-present",
        "the metadata database holds tags already: it is imported, or a step two got part of the way",
        "`regctl lockfiles show` says which; after a broken step two: `regctl registry import --retry`",
    ),
    (
        r"could not restore lockfiles: database-in-use",
        "already-imported",
        "the storage is marked as managed by the metadata database",
        "it is imported already: `regctl lockfiles show`",
    ),
    (
        r"there are pending database migrations",
        "pending-migrations",
        "the metadata database lacks migrations",
        "run `regctl database migrate up` first",
    ),
    (
        r'relation "[^"]*" does not exist',
        "no-schema",
        "the metadata database has no tables of the registry, or not all of them",
        "run `regctl database migrate up` first",
    ),
    (
        r"Path not found: /docker/registry/v2/repositories",
        "no-repositories",
        "the storage holds no repository",
        "an empty registry needs no import; is storage.filesystem.rootdirectory right?",
    ),
    (
        r"invalid checksum digest length",
        "link-length",
        "a link has more or fewer characters than a digest (often a newline at its end)",
        _LOOK,
    ),
    (r"current/link: not a directory", "stray-in-tags", "a file lies where only tags may be", _LOOK),
    (r"filesystem: invalid path", "tag-name", "a tag has a name that the registry does not allow", _LOOK),
    (
        r"failed to unmarshal manifest payload|unexpected end of JSON input|invalid character",
        "manifest-unreadable",
        "a manifest is no JSON, or cut short",
        _LOOK,
    ),
    (
        r"unrecognized manifest content type",
        "manifest-type",
        "a manifest is of a media type that the registry does not know",
        _LOOK,
    ),
    (r"unknown manifest class", "nested-index", "an index lies within an index", _LOOK),
    (
        r"parsing repository name: invalid reference format",
        "repository-name",
        "a repository has a name that the registry does not allow",
        _LOOK,
    ),
    (
        r"failed to parse digest from path",
        "blob-path",
        "something below blobs/ has a path that is no digest",
        _LOOK,
    ),
    (
        r"unknown media type",
        "media-type",
        "an image's configuration is of a media type that the database does not know",
        "import with media types recorded (without --no-dynamic-media-types)",
    ),
    (
        r"duplicate key value",
        "second-importer",
        "another import works on the same database",
        "let it end first",
    ),
    (
        r"permission denied",
        "permission",
        "the program may not read or write what it needs",
        "see the last line",
    ),
    (r"no space left on device|disk full|could not extend file", "disk-full", "a disk is full", "make room"),
    (r"address already in use", "debug-server", "the debug server's address is taken", "choose another one"),
)
_TRANSIENT = re.compile(
    r"SQLSTATE (08\w{3}|57P0[123]|53300|40001|40P01|55P03)|connection reset|broken pipe|unexpected EOF"
    r"|connection refused|i/o timeout|conn closed|bad connection|context deadline exceeded"
    r"|server closed the connection|terminating connection|the database system is (starting|shutting)"
    r"|no route to host|network is unreachable|TLS handshake timeout|EOF$",
    re.IGNORECASE | re.MULTILINE,
)


def is_transient(failure: ProgramFailure | None) -> bool:
    """Say whether a failure may pass by itself: a database that restarts, a network that breaks."""
    return failure is not None and failure.kind == "transient"


def import_failure(
    stderr: str,
    error: ImportRecord | None = None,
    explain: Callable[[str], ProgramFailure] | None = None,
) -> ProgramFailure:
    """Say why an import failed: by its own words first, then as any call of the program that fails."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    said = f"{error.fields.get('error', '')} {error.message}" if error is not None else ""
    place = _place(error)
    if _TRANSIENT.search(last) or (not last and _TRANSIENT.search(said)):
        return ProgramFailure(
            "transient",
            f"the connection to the database or the storage broke{place}",
            "the import can be tried again as soon as it is back",
            last,
        )
    for pattern, kind, message, hint in _KNOWN:
        if re.search(pattern, last) or re.search(pattern, said):
            return ProgramFailure(kind, f"{message}{place}", hint, last)
    if explain is not None:
        return explain(stderr)
    return ProgramFailure("unknown", f"the import failed{place}", "see the program's last line", last)


def _place(error: ImportRecord | None) -> str:
    if error is None or not error.repository:
        return ""
    tag = f":{error.tag}" if error.tag else ""
    return f" (in {error.repository}{tag})"
