"""Options that every command with GitLab's import has, read in one way."""

from __future__ import annotations


def skip_recent_seconds(text: str | None) -> float | None:
    """Read --pre-import-skip-recent, in seconds; None where it was not given. UsageError for no duration."""
    from ctl.engines.gitlab_import import parse_duration
    from ctl.errors import UsageError

    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(
            f"--pre-import-skip-recent: {text!r} is no duration",
            hint="write 72h, 90m or 1h30m; 0 imports every repository again",
        )
    return seconds
