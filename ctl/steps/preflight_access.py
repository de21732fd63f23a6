"""What the registry's own user cannot read in its tree, though regctl can: the import runs as that user."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ctl.catalog.preflight_words import PreflightFinding, found
from ctl.errors import RegctlError
from ctl.hosts.base import Command
from ctl.steps.collection import collecting_node
from ctl.storage.base import directory_of

if TYPE_CHECKING:
    from ctl.world import World

LIMIT = 1000  # findings; one chown mends them all
_TREE = "docker/registry/v2"
_TIMEOUT = timedelta(minutes=30)
# a folder must be readable and searchable, a file readable; symbolic links are judged by where they lead
_CLOSED = ("(", "-type", "d", "(", "!", "-readable", "-o", "!", "-executable", ")", "-o")
_OR_UNREAD = ("-type", "f", "!", "-readable", ")")


def closed_to_its_user(world: World, registry: str) -> list[PreflightFinding]:
    """Return what the user of the importing node cannot read; [] where the program runs as we do.

    Asked of `find` as that user, so that groups and access lists count. CommandFailedError where the user
    cannot be taken on.
    """
    node = collecting_node(world, registry)
    storage = world.storage(registry)
    root = directory_of(storage).rstrip("/")
    top = f"{root}/{_TREE}"
    if not node.user or not storage.exists():
        return []
    argv = ("find", top, *_CLOSED, *_OR_UNREAD, "-print0")
    result = world.host(node.host).run(Command(argv, user=node.user, timeout=_TIMEOUT))
    paths = [path for path in result.stdout.decode("utf-8", "surrogateescape").split("\0") if path]
    if result.exit_code != 0 and not paths:
        words = result.stderr.decode(errors="replace").strip().splitlines()
        if any("Permission denied" in word for word in words):
            paths = [top]
        elif words and "No such file" not in words[-1]:
            raise RegctlError(f"{node.user} cannot look through {top}: {words[-1]}")
    reason = f"the user {node.user}, as whom the import runs, cannot read it"
    cut = len(root) + 1
    return [found(path[cut:], "unreadable", reason, repository=_repository(path)) for path in paths[:LIMIT]]


def _repository(path: str) -> str:
    name = path.partition(f"{_TREE}/repositories/")[2]
    for end in ("/_manifests", "/_layers", "/_uploads"):
        name = name.partition(end)[0]
    return name
