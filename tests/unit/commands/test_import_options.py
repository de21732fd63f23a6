"""The options of both commands with GitLab's import."""

from __future__ import annotations

import pytest

from ctl.commands.import_options import skip_recent_seconds
from ctl.errors import UsageError


def test_a_duration_is_seconds_and_none_stays_none() -> None:
    assert skip_recent_seconds("1h30m") == 5400.0
    assert skip_recent_seconds("0") == 0.0
    assert skip_recent_seconds(None) is None


@pytest.mark.parametrize("text", ["-1h", "72", "+5s", "soon"])
def test_what_the_program_would_not_take_is_refused_before(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        skip_recent_seconds(text)
