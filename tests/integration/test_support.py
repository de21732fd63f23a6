"""The servers and images that other tests stand on do what they say."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.support import images, transfer
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.registry import PASSWORD, USERNAME, RegistryServer
from tests.support.waiting import WaitedTooLongError, free_port, wait_until


def test_images_are_the_same_for_the_same_seed_and_only_then() -> None:
    assert images.image(1) == images.image(1)
    assert images.image(1).digest != images.image(2).digest
    assert images.multi_arch("a").digest == images.multi_arch("a").digest


@pytest.mark.registry
def test_push_and_pull_of_all_kinds(registry_server: RegistryServer) -> None:
    base = images.layer("base", format="docker")
    one = images.image("docker", format="docker", shared=[base])
    many = images.multi_arch("many")
    nested = images.index([many, images.image("single")])
    note = images.referrer("note", many)
    with transfer.Client(registry_server.url) as client:
        client.push("team/one", "v1", one)
        client.push("team/many", "latest", many)
        client.push("team/many", "nested", nested)
        client.push("team/many", None, note)
        pulled = client.pull_everything()
    assert set(pulled) == {("team/one", "v1"), ("team/many", "latest"), ("team/many", "nested")}
    assert pulled["team/one", "v1"].blobs == {b.digest for b in one.blobs}
    assert pulled["team/many", "nested"].manifests >= {many.digest, nested.digest}
    for digest in nested.everything() | note.everything() | one.everything():
        stored = registry_server.tree / "blobs" / "sha256" / digest[7:9] / digest[7:] / "data"
        assert stored.exists()


@pytest.mark.registry
def test_the_puller_notices_a_changed_and_a_missing_blob(registry_server: RegistryServer) -> None:
    one = images.image("x")
    digest = one.layers[0].digest
    data = registry_server.tree / "blobs" / "sha256" / digest[7:9] / digest[7:] / "data"
    with transfer.Client(registry_server.url) as client:
        client.push("a", "t", one)
        data.write_bytes(b"\0" * len(one.layers[0].data))
        with pytest.raises(transfer.BrokenImageError, match=digest):
            client.pull("a", "t")
        data.unlink()
        with pytest.raises(transfer.RefusedByRegistryError) as caught:
            client.pull("a", "t")
    assert caught.value.status == 404


@pytest.mark.registry
def test_a_read_only_registry_refuses_and_an_authenticated_one_asks(
    make_registry: Callable[..., RegistryServer],
) -> None:
    closed = make_registry("closed", read_only=True).start()
    with (
        transfer.Client(closed.url) as client,
        pytest.raises(transfer.RefusedByRegistryError) as caught,
    ):
        client.push("a", "t", images.image(1))
    assert caught.value.status == 405
    guarded = make_registry("guarded", authenticated=True).start()
    with (
        transfer.Client(guarded.url) as client,
        pytest.raises(transfer.RefusedByRegistryError) as caught,
    ):
        client.push("a", "t", images.image(1))
    assert caught.value.status == 401
    with transfer.Client(guarded.url, USERNAME, PASSWORD) as client:
        client.push("a", "t", images.image(1))
        assert client.tags("a") == ["t"]


@pytest.mark.registry
@pytest.mark.skopeo
def test_skopeo_pushes_what_the_client_pulls(registry_server: RegistryServer, tmp_path: Path) -> None:
    many = images.multi_arch("s")
    result = transfer.skopeo_push(tmp_path / "oci", many, registry_server.address, "by/skopeo", "1.0")
    assert result.exit_code == 0, result.stderr
    with transfer.Client(registry_server.url) as client:
        assert many.digest in client.pull("by/skopeo", "1.0").manifests
        client.delete_manifest("by/skopeo", many.digest)
        assert client.tags("by/skopeo") == []


@pytest.mark.registry
def test_a_registry_keeps_port_and_content_over_a_restart(registry_server: RegistryServer) -> None:
    with transfer.Client(registry_server.url) as client:
        client.push("a", "t", images.image(1))
        port = registry_server.port
        registry_server.restart()
        assert client.pull("a", "t").manifests == {images.image(1).digest}
    assert registry_server.port == port
    registry_server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.distribution3
def test_registry_3_starts_too(make_registry: Callable[..., RegistryServer]) -> None:
    from tests.support import programs

    server = make_registry("three", binary=programs.registry3()).start()
    with transfer.Client(server.url) as client:
        client.push("a", "t", images.multi_arch(3))
        assert len(client.pull("a", "t").manifests) == 3


@pytest.mark.postgres
def test_databases_are_apart_and_cloned_from_a_template(
    postgres_server: PostgresServer, database_address: DatabaseAddress
) -> None:
    def fill(address: DatabaseAddress) -> None:
        with psycopg.connect(address.dsn) as connection:
            connection.execute("CREATE TABLE here (n int)")
            connection.execute("INSERT INTO here VALUES (7)")

    postgres_server.template(fill, "template_support")
    clone = postgres_server.create_database(template="template_support")
    with psycopg.connect(clone.tcp_dsn) as connection:
        assert connection.execute("SELECT n FROM here").fetchall() == [(7,)]
    with psycopg.connect(database_address.dsn) as connection:
        assert connection.execute("SELECT to_regclass('here')").fetchone() == (None,)
    postgres_server.drop_database(clone.name)


def test_waiting_has_a_deadline() -> None:
    with pytest.raises(WaitedTooLongError, match="the moon"):
        wait_until(lambda: False, what="the moon", timeout=0.05)
    assert free_port() > 1023
