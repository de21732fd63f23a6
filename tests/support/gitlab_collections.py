"""Record what GitLab's own collector prints: `python -m tests.support.gitlab_collections`.

Each transcript in tests/cases/gitlab/garbage-collect-NAME-VERSION.txt is one call of the real program, edited
only in the name of its folder and the id of its process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import programs
from tests.support.collections import Transcript, fill, fill_and_damage, untag
from tests.support.gitlab import GitlabServer
from tests.support.images import image
from tests.support.registry import RegistryServer
from tests.support.waiting import clean_environment

CASES = Path(__file__).resolve().parents[1] / "cases" / "gitlab"
VERSION = "4.32.0"


def collect(server: GitlabServer, *options: str, **environment: str) -> Transcript:
    """Run the collector to its end on the file as it stands, its log told to be whole by the environment."""
    whole = {
        "REGISTRY_LOG_LEVEL": "info",
        "REGISTRY_LOG_FORMATTER": "json",
        "REGISTRY_LOG_OUTPUT": "stdout",
        **environment,
    }
    done = subprocess.run(
        [server.binary, "garbage-collect", *options, str(server.config_file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(**whole),
    )
    arguments = " ".join(("garbage-collect", *options, "config.yml"))
    return Transcript(arguments, done.returncode, done.stdout, done.stderr)


def case(name: str) -> Path:
    """Where a case is stored."""
    return CASES / f"garbage-collect-{name}-{VERSION}.txt"


def record(folder: Path) -> None:
    """Record every case."""

    def one(
        name: str,
        prepare: Callable[[RegistryServer], object],
        *options: str,
        overlay: dict[str, Any] | None = None,
        **environment: str,
    ) -> None:
        server = GitlabServer(folder / name)
        with server:
            prepare(server)
        server.overlay = overlay or {}
        server.write_config()
        text = collect(server, *options, **environment).text().replace(str(server.folder), "/srv/registry")
        text = re.sub(r'"instance_id":"[^"]*"', '"instance_id":"00000000-0000-0000-0000-000000000000"', text)
        case(name).write_text(text)

    def more(server: RegistryServer) -> None:
        fill(server)
        untag(server)

    def locked(server: RegistryServer) -> None:
        fill(server)
        place = server.storage / "docker" / "registry" / "lockfiles" / "database-in-use"
        place.parent.mkdir(parents=True)
        place.write_text('{"version":1}')

    def truncated(server: RegistryServer) -> None:
        fill(server)
        digest = image("one").digest.removeprefix("sha256:")
        (server.tree / "blobs" / "sha256" / digest[:2] / digest / "data").write_bytes(b"{")

    one("empty", lambda server: None, "--dry-run")
    one("dry-run", fill, "--dry-run")
    one("run", fill)
    one("untagged-dry-run", more, "--dry-run", "--delete-untagged")
    one("untagged-run", more, "--delete-untagged")
    one("empty-link", fill_and_damage, "--dry-run")
    one("unknown-option", fill, "--not-an-option")
    one("truncated-manifest", truncated, "--dry-run")
    one("locked", locked, "--dry-run")
    one("database-on", fill, "--dry-run", overlay={"database": {"enabled": True}})
    one("quiet", fill, "--dry-run", REGISTRY_LOG_LEVEL="error")


if __name__ == "__main__":
    assert programs.gitlab_registry()
    with tempfile.TemporaryDirectory() as temporary:
        record(Path(temporary))
    sys.stdout.write("".join(f"{path.name}\n" for path in sorted(CASES.glob("garbage-collect-*.txt"))))
