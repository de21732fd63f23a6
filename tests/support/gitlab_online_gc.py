"""Record what GitLab's registry logs of its online collection: `python -m tests.support.gitlab_online_gc`.

Each file tests/cases/gitlab/online-gc-NAME-VERSION.jsonl is the log of one server, its lines about the
collection only, edited only in what names a machine or a moment's chance: instance and correlation ids.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.gitlab import GitlabServer, owned_database
from tests.support.images import image
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.transfer import Client

CASES = Path(__file__).resolve().parents[1] / "cases" / "gitlab"
VERSION = "4.32.0"
FAST = {
    "noidlebackoff": True,
    "maxbackoff": "5s",
    "blobs": {"interval": "1s"},
    "manifests": {"interval": "1s"},
}
_ID = re.compile(r'"(instance_id|correlation_id)":"[^"]*"')


def review_now(server: PostgresServer, database: DatabaseAddress) -> None:
    """Make every task due, as if its day were over."""
    with closing(server.connect(database.name)) as connection:
        for queue in ("gc_blob_review_queue", "gc_manifest_review_queue"):
            connection.execute(f"UPDATE {queue} SET review_after = now() - interval '1 minute'".encode())


def write(name: str, lines: list[str]) -> None:
    """Store a case."""
    text = "\n".join(_ID.sub(r'"\1":"00000000"', line) for line in lines) + "\n"
    (CASES / f"online-gc-{name}-{VERSION}.jsonl").write_text(text)
    sys.stdout.write(f"{name}: {len(lines)} lines\n")


@contextmanager
def serving(
    postgres: PostgresServer, database: DatabaseAddress, folder: Path, gc: dict[str, Any]
) -> Iterator[GitlabServer]:
    """A server on the database with these settings of its collection."""
    server = GitlabServer(folder, database=database, enabled=True, overlay={"gc": gc})
    with server:
        yield server


def about(server: GitlabServer) -> list[str]:
    """Return the lines about the collection."""
    lines = server.log_tail(5000).splitlines()
    return [line for line in lines if '"component":"registry.gc' in line or "garbage collection" in line]


def record(folder: Path) -> None:
    """Record every case."""
    postgres = PostgresServer().start()
    try:
        database = owned_database(postgres)
        GitlabServer(folder / "migrate", database=database).migrate()
        with serving(postgres, database, folder / "off", {"disabled": True}) as server:
            write("disabled", about(server))
        with serving(postgres, database, folder / "on", FAST) as server:
            with closing(Client(server.url)) as client:
                client.push("group/app", "kept", image("kept"))
                digest = client.push("group/app", "gone", image("gone"))
                client.delete_manifest("group/app", digest)
            review_now(postgres, database)
            until = time.monotonic() + 130
            while time.monotonic() < until and '"msg":"blob deleted"' not in "".join(about(server)):
                time.sleep(1)
            review_now(postgres, database)
            time.sleep(12)
            write("working", about(server))
    finally:
        postgres.remove()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        record(Path(temporary))
