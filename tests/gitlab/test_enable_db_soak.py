"""enable-db at 200 repositories of 50 tags, every corrupt case among them, with pushes going on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.gitlab.test_enable_db import Pusher, in_database_mode
from tests.support.enabling import ENABLE, EnablingSite
from tests.support.postgres import DatabaseAddress
from tests.support.transfer import Client

pytestmark = [pytest.mark.postgres, pytest.mark.soak]
REPOSITORIES, TAGS = 200, 50
OVERHEAD = 5.0  # seconds that the window may take beyond the program's own step two


def fill(site: EnablingSite) -> None:
    """Seed by the command itself; the site file need not be there yet."""
    done = site.regctl(
        "seed",
        str(site.server.storage),
        *("--repositories", str(REPOSITORIES), "--tags-per-repository", str(TAGS), "--corrupt", "all"),
        timeout=600,
    )
    assert done.exit_code == 0, str(done)


def healthy(site: EnablingSite) -> set[tuple[str, str]]:
    """Every tag of the seeder's healthy repositories, as the storage has them."""
    root = site.server.tree / "repositories"
    return {
        (str(tags.parent.parent.relative_to(root)), tag.name)
        for tags in root.glob("team-*/**/_manifests/tags")
        for tag in tags.iterdir()
    }


def served(site: EnablingSite, wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these tags that the registry lists."""
    with site.client() as client:
        names = {repository for repository, _ in wanted}
        return {(name, tag) for name in names for tag in all_tags(client, name)}


def all_tags(client: Client, repository: str) -> list[str]:
    """Every tag of a repository: on its database the registry lists 100 at a time unless told otherwise."""
    found: list[str] = []
    while True:
        last = f"&last={found[-1]}" if found else ""
        status, _, body = client.request("GET", f"/v2/{repository}/tags/list?n=1000{last}")
        page = sorted(json.loads(body)["tags"] or []) if status == 200 else []
        found += page
        if len(page) < 1000:
            return found


@pytest.mark.parametrize("how", ["one-step", "three-step"])
def test_every_healthy_tag_of_a_large_registry_arrives_and_the_window_is_short(
    enabling: Callable[..., EnablingSite], migrated_database: DatabaseAddress, how: str
) -> None:
    site = enabling(migrated_database)
    site.folder.mkdir(parents=True, exist_ok=True)
    site.server.folder.mkdir(parents=True, exist_ok=True)
    fill(site)
    with site:
        before = healthy(site)
        assert len(before) >= REPOSITORIES * TAGS
        pusher = Pusher(site)
        pusher.start()
        began = time.monotonic()
        try:
            done = site.regctl(*ENABLE, "--import", how, "--quarantine-bad-entries", timeout=1800)
            seconds = time.monotonic() - began
            time.sleep(1.0)
        finally:
            pusher.stop()
        assert done.exit_code == 3, str(done)[-5000:]
        report = done.json
        in_database_mode(site)
        refused = [at for at, status in pusher.answers if status != 201]
        opened = min(at for at, status in pusher.answers if status == 201 and at > max(refused))
        closed = min(refused)
        figures = {
            "how": how,
            "tags": report["tags"],
            "seconds": round(seconds, 1),
            "window_seen": round(opened - closed, 2),
            "window_reported": report["window_seconds"],
            "import_in_window": report["import_seconds"],
            "overhead": round(opened - closed - report["import_seconds"], 2),
        }
        print(json.dumps(figures))
        assert before - served(site, before) == set()
        pushed = {tag for _, tag in served(site, {(f"pushed/app{n}", "") for n in range(3)})}
        assert [tag for tag in pusher.accepted if tag not in pushed] == []
        assert figures["overhead"] <= OVERHEAD, figures
        pulled = 0
        with site.client() as client:
            for repository, tag in sorted(before)[:: max(1, len(before) // 500)]:
                client.pull(repository, tag)
                pulled += 1
        print(f"{pulled} tags pulled to the last layer")
        verified = site.regctl("registry", "verify", timeout=600)
        found = verified.json
        print(json.dumps({key: found[key] for key in ("seconds", "tags", "explained", "broken")}))
        unexplained = [one for one in found["differences"] if not one["explained_by"]]
        assert {one["kind"] for one in unexplained} <= {"broken"}, unexplained
        assert (found["missing"], found["extra"], found["different"]) == (0, 0, 0)
        # the seeder's damage leaves manifests whose blobs are not in the storage: said, with exit code 3
        assert verified.exit_code == 3, str(verified)[-5000:]
        assert found["broken"] > 0
        assert not [one for one in unexplained if one["repository"].startswith(("team-", "pushed/"))]
