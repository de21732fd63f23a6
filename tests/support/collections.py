"""Record what the registries' own collectors print, as test cases: `python -m tests.support.collections`.

Each transcript in tests/cases/distribution/ is one call: its arguments, exit code, stdout and stderr as they
came, with the temporary folder's name replaced.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support import programs
from tests.support.images import image, multi_arch
from tests.support.registry import RegistryServer
from tests.support.transfer import Client
from tests.support.waiting import clean_environment

CASES = Path(__file__).resolve().parents[1] / "cases" / "distribution"


@dataclass(frozen=True)
class Transcript:
    """One recorded call of a collector."""

    arguments: str
    exit_code: int
    stdout: str
    stderr: str

    def text(self) -> str:
        """How it is stored."""
        head = f"# arguments: {self.arguments}\n# exit code: {self.exit_code}\n"
        return f"{head}===stdout\n{self.stdout}\n===stderr\n{self.stderr}\n===end\n"

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Read a stored one."""
        text = path.read_text()
        head, _, rest = text.partition("===stdout\n")
        stdout, _, rest = rest.partition("\n===stderr\n")
        stderr, _, _ = rest.partition("\n===end\n")
        lines = dict(line.removeprefix("# ").split(": ", 1) for line in head.splitlines())
        return cls(lines["arguments"], int(lines["exit code"]), stdout, stderr)


def collect(binary: str, config: Path, *options: str) -> Transcript:
    """Run a collector to its end."""
    done = subprocess.run(
        [binary, "garbage-collect", *options, str(config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=clean_environment(OTEL_TRACES_EXPORTER="none"),
        timeout=60,
    )
    arguments = " ".join(("garbage-collect", *options, "config.yml"))
    return Transcript(arguments, done.returncode, done.stdout.decode(), done.stderr.decode())


def fill(server: RegistryServer) -> set[str]:
    """Push two images and an index that stay, and one image that goes; return the digests that go."""
    doomed = image("doomed", layers=1)
    with Client(server.url) as client:
        client.push("team/app", "one", image("one"))
        client.push("team/app", "two", image("two"))
        client.push("multi", "latest", multi_arch("multi"))
        client.push("team/app", "doomed", doomed)
        client.delete_manifest("team/app", doomed.digest)
    return set(doomed.everything())


def untag(server: RegistryServer, tags: int = 0) -> str:
    """Push an image, then another to the same tag; return the digest that has no tag any more."""
    first = image("first", layers=1)
    with Client(server.url) as client:
        client.push("moved", "latest", first)
        client.push("moved", "latest", image("second", layers=1))
        for number in range(tags):
            client.push("moved", f"tag-{number:03d}-of-a-repository-with-many", image("second", layers=1))
    return first.digest


def fill_and_damage(server: RegistryServer) -> None:
    """Fill it, then empty one revision link, as a crash of 2.8 in the middle of a push does."""
    fill(server)
    link = next((server.tree / "repositories" / "team" / "app" / "_manifests" / "revisions").rglob("link"))
    link.write_bytes(b"")


def record(version: str, binary: str, folder: Path) -> None:
    """Record every case of one binary."""

    def case(name: str, prepare: Callable[[RegistryServer], object], *options: str) -> None:
        server = RegistryServer(folder / f"{version}-{name}", binary)
        with server:
            prepare(server)
        transcript = collect(binary, server.config_file, *options)
        text = transcript.text().replace(str(server.folder), "/srv/registry")
        (CASES / f"{version}-{name}.txt").write_text(text)

    def more(server: RegistryServer) -> None:
        fill(server)
        untag(server)

    case("empty", lambda server: None, "--dry-run")
    case("dry-run", fill, "--dry-run")
    case("run", fill)
    case("untagged-dry-run", more, "--dry-run", "--delete-untagged")
    case("untagged-run", more, "--delete-untagged")
    case("many-tags", lambda server: untag(server, 60), "--dry-run", "--delete-untagged")
    case("empty-link", fill_and_damage, "--dry-run")
    case("unknown-option", fill, "--not-an-option")
    case("quiet", fill, "--quiet", "--dry-run")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        record("2.8.2", programs.docker_registry(), Path(temporary))
        record("3.1.1", programs.registry3(), Path(temporary))
    sys.stdout.write("".join(f"{path.name}\n" for path in sorted(CASES.glob("*.txt"))))
