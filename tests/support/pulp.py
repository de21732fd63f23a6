"""Real Pulps for the tests: one PostgreSQL for the session, a database and a folder of its own for each.

What takes long is done once and kept below the user's cache folder: the migrated database, and each seeded
one with its files, keyed by the pins of the release and the text of the seeder. After that a Pulp is there
in a second, and with nothing that another one could touch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from tests.support import programs
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.pulp_under_test import FIELDS, Counts, PulpUnderTest
from tests.support.waiting import clean_environment, free_port

__all__ = ["FIELDS", "Counts", "PulpLab", "PulpUnderTest", "Seed"]

SEEDER = Path(__file__).with_name("pulp_seed.py")
_KEEP = 14 * 86400  # seconds that a seeded database is kept after its last use


@dataclass(frozen=True)
class Seed:
    """What a Pulp holds. Damaged images come on top, each with a config of its own."""

    images: int = 0
    lists: int = 0  # indexes over two or three of the images
    varied: bool = True  # every kind there is (pulp_seed.KINDS), one after the other; else all alike
    # that the manifests are spread over: each of them served, each manifest with a tag t0, t1, ...
    repositories: int = 0
    prepared: int = 0  # so many are done already
    release: Literal["2.18", "2.20"] = "2.18"  # 2.20: only what 2.22 brought is left to do
    # manifest_file_missing, config_file_missing, config_not_stored, corrupt_json, lost, relinkable: how many
    damage: Mapping[str, int] = field(default_factory=dict)
    seed: int = 1  # another number makes other digests


class PulpLab:
    """Makes Pulps of one release, on a PostgreSQL that is there."""

    def __init__(self, server: PostgresServer, folder: Path, line: str = "24") -> None:
        self.server, self.folder, self.line = server, folder, line
        environment = Path(programs.pulp(line))
        self.programs = environment / "bin"
        version = Path(programs.postgres_bin()).parent.name
        self._kept = environment.parent / "data" / f"{environment.name}-pg{version}"
        self._count = 0

    def clone(self, seed: Seed | None = None, **settings: object) -> PulpUnderTest:
        """Make a Pulp with a database and files of its own; `settings` are laid over the usual ones."""
        kept = self._seeded(seed) if seed else self._migrated()
        pulp = self._pulp(self.server.create_database(template=self._template(kept), prefix="pulp"), settings)
        if (kept / "media.tar").exists():
            subprocess.run(["tar", "-xf", str(kept / "media.tar"), "-C", str(pulp.media)], check=True)
        made = json.loads((kept / "facts.json").read_text())
        return replace(pulp, made=made)

    def empty(self, **settings: object) -> PulpUnderTest:
        """Make a Pulp whose database has no table yet."""
        return self._pulp(self.server.create_database(prefix="pulp"), settings)

    def drop(self, pulp: PulpUnderTest) -> None:
        """Forget a Pulp; nothing of it may run any more."""
        self.server.drop_database(pulp.database.name)
        shutil.rmtree(pulp.folder, ignore_errors=True)

    def _pulp(self, database: DatabaseAddress, settings: Mapping[str, object]) -> PulpUnderTest:
        self._count += 1
        folder = self.folder / f"pulp{self.line}-{self._count}"
        folder.mkdir(parents=True)
        pulp = PulpUnderTest(self.programs, folder, database, {}, free_port(), free_port())
        pulp.write_settings(settings)
        return pulp

    def _template(self, kept: Path) -> str:
        """Return the name of a database in this server that others are cloned from."""

        def fill(address: DatabaseAddress) -> None:
            self._postgres("pg_restore", address, "--no-owner", "--exit-on-error", str(kept / "dump"))

        return self.server.template(fill, f"pulp_{self.line}_{kept.name}".replace("-", "_"))

    def _migrated(self) -> Path:
        return self._once("migrated", lambda folder: self._keep(self._migrate(), folder))

    def _migrate(self) -> PulpUnderTest:
        pulp = self.empty()
        pulp.migrate()
        return pulp

    def _seeded(self, seed: Seed) -> Path:
        asked = {**asdict(seed), "damage": dict(seed.damage)}
        text = SEEDER.read_text()
        key = hashlib.sha256((text + json.dumps(asked, sort_keys=True)).encode()).hexdigest()[:16]

        def make(folder: Path) -> None:
            pulp = self.clone()
            facts = pulp.run(text, **asked)
            self._keep(pulp, folder, facts)

        return self._once(f"seed-{key}", make)

    def _keep(self, pulp: PulpUnderTest, folder: Path, facts: Mapping[str, object] | None = None) -> None:
        self._postgres("pg_dump", pulp.database, "--format=custom", f"--file={folder / 'dump'}")
        if facts is not None:
            media = ["tar", "-cf", str(folder / "media.tar"), "-C", str(pulp.media), "."]
            subprocess.run(media, check=True)
        (folder / "facts.json").write_text(json.dumps(facts or {}))
        self.drop(pulp)

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return a kept folder; the first one who asks makes it, and others who ask meanwhile wait."""
        place = self._kept / name
        if not place.exists():
            self._kept.mkdir(parents=True, exist_ok=True)
            with _alone(self._kept / f".{name}.lock"):
                if not place.exists():
                    making = self._kept / f".{name}.{os.getpid()}"
                    shutil.rmtree(making, ignore_errors=True)
                    making.mkdir()
                    make(making)
                    making.rename(place)
            self._forget_old()
        os.utime(place)
        return place

    def _forget_old(self) -> None:
        for place in self._kept.glob("seed-*"):
            if time.time() - place.stat().st_mtime > _KEEP:
                shutil.rmtree(place, ignore_errors=True)

    def _postgres(self, program: str, address: DatabaseAddress, *words: str) -> None:
        where = [f"--host={address.socket_folder}", f"--port={address.port}", f"--username={address.user}"]
        argv = [str(self.server.bin / program), *where, f"--dbname={address.name}", *words]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=clean_environment())
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
