"""Every example that ships is a site that regctl takes as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctl.config.load import load_site

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*/site.yml"))


def test_there_are_examples() -> None:
    assert {"debian-registry", "two-nodes-shared-storage"} <= {p.parent.name for p in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_valid_and_explained(path: Path) -> None:
    site = load_site(str(path)).site
    assert site.registries or site.pulps
    assert (path.parent / "README.md").read_text().startswith("# ")
