"""The state of a GitLab registry under test: its lock files, its file's sections, its blobs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import yaml

from tests.support.gitlab import GitlabServer
from tests.support.images import image
from tests.support.site import SiteUnderTest

# as 4.32 starts where nobody says otherwise: it neither heeds lock files nor writes them when it serves
UNLOCKED = {"features": {"enforce_lockfiles": False}}


def server_of(site: SiteUnderTest) -> GitlabServer:
    """The registry below a site."""
    assert isinstance(site.server, GitlabServer)
    return site.server


def lock_folder(site: SiteUnderTest) -> Path:
    """Where the lock files are."""
    return site.server.storage / "docker/registry/lockfiles"


def locks(site: SiteUnderTest) -> list[str]:
    """The lock files that are there."""
    folder = lock_folder(site)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def lock(site: SiteUnderTest, *names: str) -> None:
    """Have exactly these lock files, by hand."""
    lock_folder(site).mkdir(parents=True, exist_ok=True)
    for path in lock_folder(site).iterdir():
        path.unlink()
    for name in names:
        (lock_folder(site) / name).write_text('{"version":1}')


def put_to(site: SiteUnderTest, section: str = "database", **values: object) -> None:
    """Change a section of the file that the service loads, as an operator's editor would."""
    config = yaml.safe_load(site.server.config_file.read_text())
    config.setdefault(section, {}).update(values)
    site.server.config_file.write_text(yaml.safe_dump(config))


def push_some(site: SiteUnderTest, count: int = 3, name: str = "state") -> list[str]:
    """Push a few images to one repository; return the tags."""
    with closing(site.client()) as client:
        for number in range(count):
            client.push("group/app", f"v{number}", image(f"{name}-{number}"))
    return [f"v{number}" for number in range(count)]


def blobs(site: SiteUnderTest) -> int:
    """Count the blobs in storage."""
    return sum(1 for _ in site.server.storage.glob("docker/registry/v2/blobs/*/*/*/data"))
