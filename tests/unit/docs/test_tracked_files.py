"""What is tracked names no machine that it was written on, and no package registry's host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# spelled in parts, so that this file passes its own test
WORDS = [
    "/" + "work/",
    "/" + "root/",
    "py" + "pi.org",
    "python" + "hosted",
    "proxy.golang" + ".org",
    "deb.debian" + ".org",
    "registry.npm" + "js",
]
PATTERN = re.compile("|".join(re.escape(word) for word in WORDS))


def findings(path: Path, text: str) -> list[str]:
    return [
        f"{path.name}:{number}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), 1)
        if PATTERN.search(line)
    ]


def test_no_machine_and_no_host_is_named() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path.name != "LICENSE":
            found += findings(path, path.read_text(errors="replace"))
    assert found == []


def test_a_machine_path_would_be_noticed() -> None:
    assert findings(Path("x"), "fine\nsee " + WORDS[0] + "main\n") == ["x:2: see " + WORDS[0] + "main"]
