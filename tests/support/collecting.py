"""Sites for collections: cheap to make and to look at, and binaries that misbehave for some calls."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ctl.catalog.seeding import Seeded, SeedPlan, seed_tree
from tests.support import programs
from tests.support.images import image, multi_arch
from tests.support.registry import RegistryServer
from tests.support.site import SiteUnderTest

GC = ("gc", "--read-only", "--yes")


class CollectingSite(SiteUnderTest):
    """A site that is left without asking regctl to stop anything: its processes end by their pid."""

    def __enter__(self) -> CollectingSite:
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_leftovers()
        shutil.rmtree(self.state_dir.parent, ignore_errors=True)

    def mode(self) -> str:
        """Say what a write would meet, without regctl: "writable", "read-only" or "stopped"."""
        return mode(self.server)

    def wait_for(self, wanted: str, seconds: float = 20.0) -> None:
        """Wait until a write would meet that."""
        deadline = time.monotonic() + seconds
        while (found := self.mode()) != wanted:
            assert time.monotonic() < deadline, f"waited for {wanted}, it is {found}"
            time.sleep(0.02)


@contextlib.contextmanager
def shared(site: CollectingSite, copy: Path) -> Iterator[Callable[[], None]]:
    """Start and fill a site for several tests; yield what makes it again what it was for the next one."""
    with site:
        fill(site)
        shutil.copytree(site.server.storage, copy)

        def reset() -> None:
            site.ok("service", "start")
            site.wait_for("writable")
            shutil.rmtree(site.server.storage)  # the registry has no cache
            shutil.copytree(copy, site.server.storage)

        yield reset


def mode(server: RegistryServer) -> str:
    """Say what a write to a registry would meet; the probe writes nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    try:
        connection.request("PUT", "/v2/probe/manifests/probe", b"{", headers)
        return {400: "writable", 405: "read-only"}[connection.getresponse().status]
    except OSError:
        return "stopped"
    finally:
        connection.close()


def running(folder: Path, binary: str = "", *, real: str = "") -> CollectingSite:
    """Describe a site below a folder; `real` is the registry's program, `binary` one in its place."""
    return CollectingSite(folder / "site", RegistryServer(folder / "registry", real), binary=binary)


def parked(folder: Path, binary: str = "", *, real: str = "", garbage: float = 20.0) -> CollectingSite:
    """Make a site whose registry does not run, over a seeded tree with garbage: nothing has to start."""
    site = running(folder, binary, real=real)
    site.write()
    seeded = seed(site.server.storage, garbage)
    assert not garbage or seeded.garbage_blobs > 0
    return site


def seed(root: Path, garbage: float = 20.0) -> Seeded:
    """Write a small tree with shared layers, indexes and garbage."""
    return seed_tree(str(root), SeedPlan(repositories=2, tags_per_repository=3, garbage=garbage))


def blob_bytes(site: SiteUnderTest) -> int:
    """How many bytes lie in blobs."""
    return sum(p.stat().st_size for p in (site.server.tree / "blobs").rglob("data"))


def tree(site: SiteUnderTest) -> dict[str, bytes]:
    """Every file of the storage."""
    root = site.server.storage
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def fill(site: SiteUnderTest) -> None:
    """Three images that stay, and one whose manifest is deleted: its config and one layer are garbage."""
    with site.client() as client:
        for name in ("one", "two"):
            client.push("team/app", name, image(f"app {name}", layers=2))
        client.push("other", "latest", multi_arch("other"))
        doomed = image("doomed", layers=1)
        client.push("team/app", "doomed", doomed)
        client.delete_manifest("team/app", doomed.digest)


def wrapper(folder: Path, body: str, real: str = "") -> str:
    """A binary that does something else for some calls and is the real registry for all others."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "registry-wrapper"
    path.write_text(f'#!/bin/sh\nreal={real or programs.docker_registry()}\n{body}\nexec "$real" "$@"\n')
    path.chmod(0o755)
    return str(path)


def in_real_run(body: str) -> str:
    """Shell for a wrapper: only the collector's real run does it."""
    return f'case "$*" in *--dry-run*) ;; *garbage-collect*) {body};; esac'


def in_dry_run(body: str) -> str:
    """Shell for a wrapper: only the collector's dry run does it."""
    return f'case "$*" in *garbage-collect*--dry-run*) {body};; esac'


def read_error(link: str, error: str = "ENOENT") -> str:
    """Shell for a wrapper: the first opening of a path fails."""
    return f'exec strace -f -qq -o /dev/null -P \'{link}\' -e inject=openat:error={error}:when=1 "$real" "$@"'
