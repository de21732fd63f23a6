"""Folders in memory: thousands of flushes to a disk would only make the suite slow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recipes.children import folder
from tests.unit.recipes.toys import Box


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    made = folder()
    yield Path(made)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(str(tmp_path))
