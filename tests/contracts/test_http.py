"""What a registry client must find out, on real registries of both versions and on the one in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from ctl.errors import RegctlError, UnreachableError, UsageError
from ctl.http import RegistryClient
from ctl.secret import Secret
from ctl.testing_http import MemoryRegistry
from tests.support import programs
from tests.support.images import Image, image, multi_arch
from tests.support.registry import PASSWORD, USERNAME, RegistryServer
from tests.support.transfer import Client
from tests.support.waiting import free_port

GOOD = (USERNAME, Secret(PASSWORD))
BAD = (USERNAME, Secret("wrong"))
NOBODY = (None, None)


class Registry(Protocol):
    """A registry that the suite can set up."""

    def up(self, *, read_only: bool = False, users: bool = False, broken_users: bool = False) -> None: ...

    def down(self) -> None: ...

    def client(self, username: str | None = None, password: Secret | None = None) -> RegistryClient: ...

    def push(self, repository: str, tag: str, one: Image) -> None: ...

    def stored(self) -> str: ...


class Real:
    """A process on the loopback."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.server = RegistryServer(folder, binary)
        self.clients: list[RegistryClient] = []

    def up(self, *, read_only: bool = False, users: bool = False, broken_users: bool = False) -> None:
        self.server.stop()
        self.server.read_only, self.server.authenticated = read_only, users
        if broken_users:
            self.server.overlay = {"auth": {"htpasswd": {"realm": "r", "path": str(self.server.folder)}}}
        self.server.write_config()
        self.server.start()

    def down(self) -> None:
        self.server.stop()

    def client(self, username: str | None = None, password: Secret | None = None) -> RegistryClient:
        client = RegistryClient(self.server.url, username, password)
        self.clients.append(client)
        return client

    def push(self, repository: str, tag: str, one: Image) -> None:
        with Client(self.server.url) as client:
            client.push(repository, tag, one)

    def stored(self) -> str:
        """A checksum of every name, kind and byte in the storage tree."""
        digest = hashlib.sha256()
        for path in sorted(self.server.storage.rglob("*")):
            digest.update(str(path.relative_to(self.server.storage)).encode())
            digest.update(path.read_bytes() if path.is_file() else b"directory")
        return digest.hexdigest()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.stop()


class Memory:
    """The twin."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry(running=False)

    def up(self, *, read_only: bool = False, users: bool = False, broken_users: bool = False) -> None:
        self.registry.running = True
        self.registry.read_only, self.registry.broken_users = read_only, broken_users
        self.registry.users = {USERNAME: PASSWORD} if users else {}

    def down(self) -> None:
        self.registry.running = False

    def client(self, username: str | None = None, password: Secret | None = None) -> RegistryClient:
        return RegistryClient("http://registry.example.com", username, password, transport=self.registry)

    def push(self, repository: str, tag: str, one: Image) -> None:
        self.registry.push(repository, tag, one.manifest.data, one.manifest.media_type)
        self.registry.blobs.setdefault(repository, {}).update({b.digest: b.data for b in one.blobs})

    def stored(self) -> str:
        return repr((self.registry.manifests, self.registry.tag_map, self.registry.blobs))


@pytest.fixture(
    params=[
        pytest.param("2.8", marks=pytest.mark.registry),
        pytest.param("3.x", marks=pytest.mark.distribution3),
        "memory",
    ]
)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    if request.param == "memory":
        yield Memory()
        return
    find: Callable[[], str] = programs.docker_registry if request.param == "2.8" else programs.registry3
    real = Real(tmp_path / "registry", find())
    yield real
    real.close()


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize("read_only", [False, True])
def test_the_probe_tells_the_mode_and_stores_nothing(
    registry: Registry, read_only: bool, users: bool
) -> None:
    registry.up(read_only=read_only, users=users)
    before = registry.stored()
    probe = registry.client(*(GOOD if users else NOBODY)).probe_write()
    assert probe.state == ("read-only" if read_only else "writable")
    assert registry.stored() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_without_a_user_or_with_a_wrong_one_nothing_is_proved(registry: Registry, read_only: bool) -> None:
    registry.up(read_only=read_only, users=True)
    nobody, wrong = registry.client(*NOBODY).probe_write(), registry.client(*BAD).probe_write()
    assert (nobody.state, wrong.state) == ("unproven", "unproven")
    assert "the site names no `credentials`" in nobody.detail
    assert "refuses the site's `credentials`" in wrong.detail
    assert "wrong" not in wrong.detail


@pytest.mark.parametrize("read_only", [False, True])
def test_debians_shipped_users_setting_proves_nothing_although_it_answers_400(
    registry: Registry, read_only: bool
) -> None:
    registry.up(read_only=read_only, broken_users=True)
    assert registry.client(*NOBODY).probe_write().state == "unproven"
    probe = registry.client(*GOOD).probe_write()
    assert probe.state == "unproven"
    assert "htpasswd" in probe.detail


def test_a_stopped_registry_is_unreachable(registry: Registry) -> None:
    registry.up()
    client = registry.client()
    assert client.ping().state == "ready"
    registry.down()
    assert client.ping().state == "unreachable"
    assert client.probe_write().state == "unreachable"
    client.wait_gone(timedelta(seconds=1))
    with pytest.raises(UnreachableError, match=r"did not get ready within 0\.1 s"):
        client.wait_ready(timedelta(seconds=0.1))
    with pytest.raises(UnreachableError):
        client.tags("a")
    with pytest.raises(UnreachableError):
        client.headers()


def test_a_kept_connection_survives_a_restart(registry: Registry) -> None:
    registry.up()
    client = registry.client()
    assert client.probe_write().state == "writable"
    registry.up(read_only=True)
    client.wait_ready(timedelta(seconds=5))
    assert client.probe_write().state == "read-only"


def test_ready_means_that_it_answers_also_where_users_are_asked_for(registry: Registry) -> None:
    registry.up(users=True)
    client = registry.client()
    client.wait_ready(timedelta(seconds=5))
    assert client.ping().status == 401
    assert client.headers()["docker-distribution-api-version"] == "registry/2.0"
    with pytest.raises(RegctlError, match="still answers within"):
        client.wait_gone(timedelta(seconds=0.1))


def test_what_it_holds(registry: Registry) -> None:
    registry.up()
    one, index = image("one"), multi_arch("two")
    registry.push("team/app", "v1", one)
    registry.push("team/app", "v2", one)
    registry.push("other", "latest", index)
    client = registry.client()
    assert list(client.repositories()) == ["other", "team/app"]
    assert client.tags("team/app") == ["v1", "v2"]
    assert client.tags("no/such") == []
    for repository, reference, pushed in (
        ("team/app", "v1", one),
        ("team/app", one.digest, one),
        ("other", "latest", index),
    ):
        found = client.manifest(repository, reference)
        assert found is not None
        assert (found.digest, found.body) == (pushed.digest, pushed.manifest.data)
        assert found.media_type == pushed.manifest.media_type
    assert client.manifest("team/app", "v9") is None
    blob = one.blobs[0]
    assert client.blob_size("team/app", blob.digest) == len(blob.data)
    assert client.blob_size("team/app", "sha256:" + "0" * 64) is None


def test_a_tags_digest_and_a_blobs_bytes(registry: Registry) -> None:
    registry.up()
    one = image("streamed", layer_size=200_000)
    registry.push("a/b", "v1", one)
    client = registry.client()
    assert client.digest_of("a/b", "v1") == one.digest
    assert client.digest_of("a/b", "v2") is None
    layer = one.layers[0]
    pieces: list[bytes] = []
    assert client.blob_into("a/b", layer.digest, pieces.append)
    assert b"".join(pieces) == layer.data
    assert len(pieces) > 1
    assert not client.blob_into("a/b", "sha256:" + "0" * 64, pieces.append)


def test_reading_with_a_wrong_user_says_so(registry: Registry) -> None:
    registry.up(users=True)
    with pytest.raises(RegctlError, match="HTTP 401") as caught:
        registry.client(*BAD).tags("a")
    assert "credentials" in caught.value.hint
    assert registry.client(*GOOD).tags("a") == []


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://user@host:1", "registry:5000"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a registry"):
        RegistryClient(url)


def test_nothing_listens_on_a_free_port() -> None:
    client = RegistryClient(f"http://127.0.0.1:{free_port()}")
    assert client.ping().state == "unreachable"
    client.close()
