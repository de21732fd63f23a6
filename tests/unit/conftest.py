"""What several unit tests need."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ctl import cli


@dataclass(frozen=True)
class Said:
    """How a command line that was run in this process ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Call = Callable[..., Said]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command line in this process, with no site but what the test names."""
    monkeypatch.setenv("REGCTL_SITE", "/nowhere/site.yml")
    monkeypatch.delenv("REGCTL_STATE_DIR", raising=False)

    def run(*argv: str) -> Said:
        capsys.readouterr()
        code = cli.run(list(argv))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
