"""The configurations in tests/cases/distribution/configs and the mistakes that their first lines expect.

A line `# expect 2: fatal http.addr` names a version ("*" both, "debian" Debian's build of 2.8), a kind
(fatal, error, warning, text for what is wrong with the YAML itself, unreadable) and a path.
"""

from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from ctl.engines.distribution import Distribution

CONFIGS = Path(__file__).resolve().parents[1] / "cases" / "distribution" / "configs"
VERSIONS = {"2": Version("2.8.2"), "debian": Version("2.8.2+ds1"), "3": Version("3.1.1")}


def expected(text: str, version: Version) -> set[str]:
    """Return the mistakes that the file's first lines expect at a version."""
    names = {"*", str(version.major)} | ({"debian"} if version.local == "ds1" else set())
    wanted = set()
    for line in text.splitlines():
        if line.startswith("# expect "):
            who, _, what = line.removeprefix("# expect ").partition(":")
            if who in names:
                wanted.add(what.strip())
    return wanted


def found(data: bytes, version: Version) -> set[str]:
    """Return the mistakes that the engine finds, written the same way."""
    engine = Distribution()
    parsed = engine.parse_config(data)
    if not parsed.readable:
        return {"unreadable"}
    kinds = {f"text {mistake.path}".strip() for mistake in parsed.mistakes}
    for mistake in engine.check_config(parsed.data, version):
        kinds.add(f"{'fatal' if mistake.fatal else mistake.severity} {mistake.path}")
    return kinds
