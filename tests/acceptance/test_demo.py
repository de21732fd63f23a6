"""The demo keeps its promise: every claim holds, nothing is left running, under five minutes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.site import REPOSITORY_ROOT
from tests.support.waiting import clean_environment


@pytest.mark.soak
@pytest.mark.registry
@pytest.mark.postgres
@pytest.mark.skopeo
def test_every_claim_of_the_demo_holds() -> None:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=REPOSITORY_ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "16 of 16 claims hold" in done.stdout
    assert "   NOT " not in done.stdout
    assert time.monotonic() - begin < 300
