"""What the engine says about configurations and collectors, compared with the real binaries."""

from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctl.engines.distribution import Distribution
from tests.support import programs
from tests.support.collections import collect, fill, untag
from tests.support.configs import CONFIGS, VERSIONS, found
from tests.support.registry import RegistryServer
from tests.support.waiting import clean_environment, free_port, stop_process

ENGINE = Distribution()
BINARIES = [
    pytest.param("debian", marks=pytest.mark.registry),
    pytest.param("3", marks=pytest.mark.distribution3),
]


def binary(name: str) -> str:
    return programs.registry3() if name == "3" else programs.docker_registry()


def starts(program: str, folder: Path, text: str) -> bool:
    """Say whether the registry stays up with a configuration."""
    port = free_port()
    (folder / "root").mkdir(parents=True)
    config = folder / "config.yml"
    config.write_text(text.replace("ROOT", str(folder / "root")).replace("PORT", str(port)))
    process = subprocess.Popen(
        [program, "serve", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=clean_environment(OTEL_TRACES_EXPORTER="none"),
    )
    try:
        deadline = time.monotonic() + 1.5  # one without http.addr listens somewhere else
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.03)
        time.sleep(0.05)
        return process.poll() is None
    finally:
        stop_process(process, 2.0)


@pytest.mark.parametrize("name", BINARIES)
def test_fatal_mistakes_are_exactly_those_that_the_binary_dies_of(name: str, tmp_path: Path) -> None:
    program, version = binary(name), VERSIONS[name]
    texts = {path.stem: path.read_text() for path in CONFIGS.glob("*.yml")}
    texts = {stem: text for stem, text in texts.items() if not text.startswith("# oracle: needs")}

    def disagrees(stem: str) -> str:
        kinds = found(texts[stem].replace("ROOT", "/srv").encode(), version)
        fatal = any(kind.startswith(("fatal", "unreadable")) for kind in kinds)
        real = not starts(program, tmp_path / stem, texts[stem])
        return "" if fatal == real else f"{stem}: we say fatal={fatal}, the binary dies={real}"

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(disagrees, sorted(texts)))
    assert len(answers) > 40
    assert [answer for answer in answers if answer] == []


@pytest.mark.parametrize("name", BINARIES)
def test_what_the_collector_lists_is_what_it_takes(name: str, tmp_path: Path) -> None:
    program = binary(name)
    version = ENGINE.parse_version(
        subprocess.run([program, "--version"], capture_output=True, check=True).stdout.decode()
    )
    assert version.major == VERSIONS[name].major
    with RegistryServer(tmp_path / "registry", program) as server:
        fill(server)
        untag(server)

    def blobs() -> set[str]:
        return {f"sha256:{path.parent.name}" for path in (server.tree / "blobs").rglob("data")}

    def call(*, dry_run: bool) -> frozenset[str]:
        command = ENGINE.collect_command(
            program, str(server.config_file), version, dry_run=dry_run, delete_untagged=True
        )
        said = collect(program, server.config_file, *command.argv[2:-1])
        output = ENGINE.parse_collection(said.stdout, said.stderr, said.exit_code, version)
        assert output.complete, output.failure
        return output.eligible_blobs

    before = blobs()
    planned = call(dry_run=True)
    assert blobs() == before
    assert call(dry_run=False) == planned
    assert before - blobs() == planned
    assert planned


@pytest.mark.parametrize("name", BINARIES)
def test_a_killed_collector_is_not_complete(name: str, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry", binary(name)) as server:
        fill(server)
    said = collect(binary(name), server.config_file)
    output = ENGINE.parse_collection(said.stdout, said.stderr, -9, VERSIONS[name])
    assert not output.complete
    assert "signal 9" in output.failure
