"""One real Pulp: its manager, its settings, its database and its files, each its own."""

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ctl.config.pulp import PulpNode
from ctl.engines.pulp import answers, manager_command, question
from tests.support import programs
from tests.support.postgres import DatabaseAddress
from tests.support.waiting import clean_environment

FIELDS = (
    "annotations",
    "labels",
    "is_bootable",
    "is_flatpak",
    "data",
    "type",
    "architecture",
    "os",
    "compressed_image_size",
)
_KEY = base64.urlsafe_b64encode(hashlib.sha256(b"of the tests").digest())  # all may read what one has written
_SETTINGS = {
    "SECRET_KEY": "x" * 50,
    "CACHE_ENABLED": False,
    "TOKEN_AUTH_DISABLED": True,
    "ANALYTICS": False,
    # the default one takes 0.6 s for a request
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}
_COUNT = """
SELECT count(*), count(*) FILTER (WHERE coalesce(data, '') = '' OR type IS NULL OR (media_type NOT IN
    ('application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.oci.image.index.v1+json')
    AND architecture IS NULL AND os IS NULL AND compressed_image_size IS NULL)),
  count(*) FILTER (WHERE coalesce(data, '') = '' AND NOT EXISTS (SELECT 1 FROM core_contentartifact c
    WHERE c.content_id = content_ptr_id AND c.artifact_id IS NOT NULL))
FROM container_manifest"""


@dataclass(frozen=True)
class Counts:
    """Manifests: all, those left to do, and those of them with neither text nor file."""

    total: int
    todo: int
    unreadable: int


@dataclass(frozen=True)
class PulpUnderTest:
    """One Pulp. Nothing of it runs unless asked for; its manager talks to PostgreSQL alone."""

    programs: Path  # the folder of pulpcore-manager, pulpcore-api, ...
    folder: Path
    database: DatabaseAddress
    made: Mapping[str, Any] = field(default_factory=dict)  # by the seeder: manifests, repositories, damaged
    api_port: int = 0
    content_port: int = 0

    @property
    def settings_file(self) -> Path:
        """What PULP_SETTINGS names."""
        return self.folder / "settings.py"

    @property
    def media(self) -> Path:
        """Where the files of its artifacts are."""
        return self.folder / "state" / "media"

    @property
    def manager(self) -> str:
        """The path of pulpcore-manager."""
        return str(self.programs / "pulpcore-manager")

    def damaged(self, how: str) -> list[str]:
        """Return the digests that the seeder damaged so."""
        return list(self.made.get("damaged", {}).get(how, ()))

    def described(self, host: str, role: str = "server", **more: object) -> dict[str, Any]:
        """Return the node as a site describes it."""
        return {
            "host": host,
            "role": role,
            "manager": self.manager,
            "settings_file": str(self.settings_file),
            "user": getpass.getuser(),
            **more,
        }

    def node(self, host: str = "here", role: str = "server") -> PulpNode:
        """Return the node as a value."""
        return PulpNode.model_validate(self.described(host, role))

    def environment(self) -> dict[str, str]:
        """Return what each of its programs is started with."""
        return clean_environment(PULP_SETTINGS=str(self.settings_file))

    def start_manager(self, *words: str, stdout: Any = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start its manager and return at once."""
        argv = manager_command(self.node(), *words).argv
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=self.environment(),
            cwd=self.folder,
        )

    def call(
        self, *words: str, stdin: bytes = b"", timeout: float = 300.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run its manager to the end, whatever comes of it."""
        argv = manager_command(self.node(), *words).argv
        return subprocess.run(
            argv, input=stdin, capture_output=True, env=self.environment(), cwd=self.folder, timeout=timeout
        )

    def stock(self) -> subprocess.CompletedProcess[bytes]:
        """Run Pulp's own command for old content."""
        return self.call("container-handle-image-data")

    def ask(self, name: str, /, **request: object) -> tuple[int, list[dict[str, Any]]]:
        """Put a question of templates/pulp to it by hand; return the exit code and all answers."""
        asked = question(self.node(), name, request)
        assert isinstance(asked.stdin, bytes)
        done = self.call(*asked.argv[1:], stdin=asked.stdin)
        found = list(answers(done.stdout))
        assert found or done.returncode, done.stderr.decode()
        return done.returncode, found

    def start(self, name: str, log: Path, /, **request: object) -> subprocess.Popen[bytes]:
        """Put a question and return at once; its answers come into the file `log`."""
        asked = question(self.node(), name, request)
        assert isinstance(asked.stdin, bytes)
        text = self.folder / f"{name}-{time.monotonic_ns()}.py"
        text.write_bytes(asked.stdin)
        with text.open("rb") as program, log.open("ab") as out:
            return subprocess.Popen(
                asked.argv,
                stdin=program,
                stdout=out,
                stderr=out,
                env=self.environment(),
                cwd=self.folder,
                start_new_session=True,
            )

    def run(self, program: str, /, **request: object) -> dict[str, Any]:
        """Run a text inside its manager's shell, REQUEST set; return its last answer."""
        head = f"REQUEST = __import__('json').loads({json.dumps(json.dumps(request))})\n"
        words = ("shell", "-c", "import sys; exec(compile(sys.stdin.read(), 'test', 'exec'), globals())")
        done = self.call(*words, stdin=(head + program).encode())
        found = list(answers(done.stdout))
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return found[-1]

    def migrate(self) -> None:
        """Bring its database up to its code."""
        done = self.call("migrate", "--noinput")
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or none of a statement; straight from PostgreSQL."""
        import psycopg

        with closing(psycopg.connect(self.database.dsn, autocommit=True)) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def counts(self) -> Counts:
        """Count its manifests, without starting its manager."""
        return Counts(*self.query(_COUNT)[0])

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Return all manifests' fields by digest; `artifacts` counts the files each is still linked to."""
        rows = self.query(
            f"SELECT digest, {', '.join(FIELDS)}, (SELECT count(*) FROM core_contentartifact c "
            "WHERE c.content_id = content_ptr_id AND c.artifact_id IS NOT NULL) FROM container_manifest"
        )
        return {row[0]: dict(zip((*FIELDS, "artifacts"), row[1:], strict=True)) for row in rows}

    def file_of(self, digest: str) -> Path:
        """Return where the file of a blob or a manifest is."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.media / "artifact" / hexadecimal[:2] / hexadecimal[2:]

    def on(self, line: str) -> PulpUnderTest:
        """Return the same Pulp under the programs of another release."""
        return replace(self, programs=Path(programs.pulp(line)) / "bin")

    def write_settings(self, changes: Mapping[str, object]) -> None:
        """Write its settings, and make the folders that they name."""
        state = self.folder / "state"
        for name in ("tmp", "media", "assets"):
            (state / name).mkdir(parents=True, exist_ok=True)
        key = state / "db.key"
        key.write_bytes(_KEY)
        key.chmod(0o600)
        address = self.database
        values = {
            **_SETTINGS,
            "CONTENT_ORIGIN": f"http://127.0.0.1:{self.content_port}",
            "DB_ENCRYPTION_KEY": str(key),
            "DEPLOY_ROOT": str(state),
            "MEDIA_ROOT": str(self.media),
            "STATIC_ROOT": str(state / "assets"),
            "WORKING_DIRECTORY": str(state / "tmp"),
            "FILE_UPLOAD_TEMP_DIR": str(state / "tmp"),
            "DATABASES": {
                "default": {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": address.name,
                    "USER": address.user,
                    "HOST": address.socket_folder,
                    "PORT": address.port,
                }
            },
            **changes,
        }
        self.settings_file.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
