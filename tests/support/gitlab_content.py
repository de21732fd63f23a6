"""Content for tests of GitLab's registry: filled in filesystem mode, imported, changed on the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gitlab import GitlabServer
from tests.support.images import Image, image, index, multi_arch, referrer
from tests.support.postgres import DatabaseAddress
from tests.support.transfer import Client, Pulled

FAST_GC = {
    "gc": {
        "noidlebackoff": True,
        "maxbackoff": "1s",
        "blobs": {"interval": "50ms"},
        "manifests": {"interval": "50ms"},
    }
}


@dataclass
class Content:
    """What was pushed: tags by repository, and the images behind them."""

    tags: dict[tuple[str, str], Image] = field(default_factory=dict)

    def push(self, client: Client, repository: str, tag: str, one: Image) -> Image:
        """Push and remember."""
        client.push(repository, tag, one)
        self.tags[repository, tag] = one
        return one


def first_content(client: Client) -> Content:
    """Push images of every shape: plain, shared, indexes, Docker's, untagged, referrers, nested names."""
    content = Content()
    for number in range(3):
        content.push(client, "group/app", f"v{number}", image(f"app {number}"))
    content.push(client, "group/app", "latest", content.tags["group/app", "v2"])
    content.push(client, "group/app/worker", "multi", multi_arch("worker"))
    content.push(client, "group/app/worker", "docker", image("docker", format="docker"))
    content.push(client, "other/shared", "same", content.tags["group/app", "v0"])
    content.push(client, "other/gone", "only", image("gone"))
    content.push(client, "signed/app", "v1", image("signed"))
    signature = referrer("signature", content.tags["signed/app", "v1"])
    content.push(client, "signed/app", "sig", signature)
    client.push("group/app", None, image("untagged"))
    return content


def second_content(client: Client, content: Content) -> None:
    """Push, move, delete tags and manifests, as on a live registry."""
    tags = content.tags
    content.push(client, "group/app", "v3", image("app 3"))
    content.push(client, "group/app", "v0", image("app 0 again"))  # moved
    content.push(client, "new/repository", "v1", multi_arch("new"))
    content.push(client, "new/deep/er", "sha512", image("plain"))
    content.push(client, "group/app/worker", "nested", index([image("a"), image("b", format="oci")]))
    for repository, tag in (("group/app", "v1"), ("other/gone", "only")):
        client.delete_manifest(repository, tag)  # by tag: only the tag goes
        del tags[repository, tag]
    client.delete_manifest("group/app/worker", tags["group/app/worker", "docker"].digest)
    del tags["group/app/worker", "docker"]


def imported(
    make: Callable[..., GitlabServer], database: DatabaseAddress, name: str = "site-registry"
) -> tuple[GitlabServer, Content]:
    """Fill a registry in filesystem mode and import it with the program itself; the server is stopped."""
    server = make(name, database=database)
    with server, Client(server.url) as client:
        content = first_content(client)
    run_import(server)
    return server, content


def run_import(server: GitlabServer, *arguments: str) -> None:
    """Import with the program itself, by hand."""
    done = server.run("database", "import", "-l", *arguments)
    assert done.returncode == 0, done.stderr
    assert "metadata import complete" in done.stdout


def rows(database: DatabaseAddress, query: str) -> list[tuple[Any, ...]]:
    """Ask a database."""
    import psycopg

    with psycopg.connect(database.dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def database_tags(database: DatabaseAddress) -> dict[tuple[str, str], str]:
    """Return the tags that the database holds, with their digests."""
    found = rows(
        database,
        "SELECT r.path, t.name, encode(m.digest, 'hex') FROM tags t"
        " JOIN repositories r ON r.id = t.repository_id"
        " JOIN manifests m ON m.id = t.manifest_id AND m.repository_id = t.repository_id",
    )
    names = {"01": "sha256", "02": "sha512"}
    return {(path, tag): f"{names[digest[:2]]}:{digest[2:]}" for path, tag, digest in found}


def collect_online(server_storage: Path, database: DatabaseAddress, seconds: float = 90.0) -> None:
    """Make everything in the queues due now, and wait until online collection has worked them off."""
    deadline = time.monotonic() + seconds
    while True:
        for queue in ("gc_manifest_review_queue", "gc_blob_review_queue"):
            rows(database, f"UPDATE {queue} SET review_after = now() - interval '1 hour'")
        left = rows(
            database,
            "SELECT (SELECT count(*) FROM gc_manifest_review_queue)"
            " + (SELECT count(*) FROM gc_blob_review_queue)",
        )[0][0]
        if not left:
            return
        assert time.monotonic() < deadline, f"{left} tasks of online collection are left in {server_storage}"
        time.sleep(0.5)


def served(url: str) -> dict[tuple[str, str], Pulled]:
    """Pull every tag that a registry lists, to the last layer."""
    with Client(url) as client:
        return client.pull_everything()
