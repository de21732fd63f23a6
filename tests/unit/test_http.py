"""What the HTTP door makes of answers that no well-behaved registry gives."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from ctl.errors import RegctlError, UnreachableError
from ctl.http import Answer, RegistryClient, TransportError
from ctl.secret import Secret
from ctl.testing_http import MemoryRegistry

API = {"docker-distribution-api-version": "registry/2.0"}
HOST = "http://registry.example.com:5000"


@dataclass
class Scripted:
    """A transport that a function answers for."""

    answer: Callable[[str, str, Mapping[str, str]], Answer]
    sent: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append((method, url, headers))
        return self.answer(method, url, headers)

    def stream(
        self, method: str, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object]
    ) -> Answer:
        answer = self.send(method, url, headers, b"")
        if answer.status == 200:
            sink(answer.body)
        return answer

    def close(self) -> None: ...


def always(status: int, headers: Mapping[str, str] = API, body: bytes = b"") -> Scripted:
    return Scripted(lambda *_: Answer(status, headers, body))


def errors(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code}]}).encode()


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        (always(405, {}), "something in front of the registry"),
        (always(400, {}, errors("MANIFEST_INVALID")), "something in front of the registry"),
        (always(405, API, errors("UNSUPPORTED")), "HTTP 405 (UNSUPPORTED)"),
        (always(400, API, errors("NAME_INVALID")), "NAME_INVALID"),
        (always(400, API, b"not json"), "HTTP 400"),
        (always(201), "HTTP 201"),
        (always(400, {}, b"Client sent an HTTP request to an HTTPS server.\n"), "speaks https"),
        (always(404, API, errors("NAME_UNKNOWN")), "HTTP 404"),
        (always(503, API, errors("UNAVAILABLE")), "HTTP 503"),
        (always(301, {"location": "https://elsewhere.example.com/"}), "something in front"),
        (always(403, API, errors("DENIED")), "the site names no `credentials`"),
        (always(400, API, b'{"errors": [null, 3, {"code": null}]}'), "HTTP 400"),
        (always(400, API, b'{"errors": {"code": "MANIFEST_INVALID"}}'), "HTTP 400"),
    ],
)
def test_only_a_registrys_own_words_prove_a_mode(transport: Scripted, words: str) -> None:
    probe = RegistryClient(HOST, transport=transport).probe_write()
    assert probe.state == "unproven"
    assert words in probe.detail


def test_a_failing_health_check_is_not_ready() -> None:
    registry = MemoryRegistry(unhealthy="disk")
    client = RegistryClient(HOST, transport=registry)
    assert client.ping().state == "unhealthy"
    assert client.probe_write().state == "unproven"


def test_a_web_server_is_not_a_registry() -> None:
    assert RegistryClient(HOST, transport=always(200, {}, b"<html>")).ping().state == "foreign"
    assert RegistryClient(HOST, transport=always(404, {}, b"<html>")).ping().state == "foreign"


def bearer(realm: str) -> Scripted:
    def answer(method: str, url: str, headers: Mapping[str, str]) -> Answer:
        if "/token" in url:
            return Answer(200, {}, b'{"token": "abc"}')
        if headers.get("authorization") == "Bearer abc":
            return Answer(405, API, b"Method not allowed\n")
        challenge = f'Bearer realm="{realm}",service="tests",scope="repository:regctl-probe:pull,push"'
        return Answer(401, {**API, "www-authenticate": challenge}, errors("UNAUTHORIZED"))

    return Scripted(answer)


def test_a_token_is_fetched_from_the_registrys_own_host() -> None:
    transport = bearer("http://registry.example.com:5001/token")
    client = RegistryClient(HOST, "user", Secret("word"), transport=transport)
    assert client.probe_write().state == "read-only"
    _, url, headers = transport.sent[1]
    assert url.startswith(
        "http://registry.example.com:5001/token?service=tests&scope=repository%3Aregctl-probe"
    )
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:word").decode()


@pytest.mark.parametrize(
    "realm",
    [
        "http://elsewhere.example.com/token",
        "http://169.254.169.254/token",
        "http://registry.example.com@elsewhere.example.com/token",
        "http://registry.example.com.elsewhere.example.com/token",
        "http://user:word@registry.example.com/token",
        "file:///etc/passwd/token",
        "/token",
        "",
    ],
)
def test_no_password_goes_to_another_host(realm: str) -> None:
    transport = bearer(realm)
    probe = RegistryClient(HOST, "user", Secret("word"), transport=transport).probe_write()
    assert probe.state == "unproven"
    assert "no password goes there" in probe.detail
    assert [url for _, url, _ in transport.sent] == [f"{HOST}/v2/regctl-probe/manifests/probe"]


def test_a_named_token_host_is_used_and_https_is_not_left() -> None:
    transport = bearer("http://elsewhere.example.com/token")
    named = ("elsewhere.example.com",)
    client = RegistryClient(HOST, "user", Secret("word"), token_hosts=named, transport=transport)
    assert client.probe_write().state == "read-only"
    secure = "https://registry.example.com"
    client = RegistryClient(secure, "user", Secret("word"), token_hosts=named, transport=transport)
    assert client.probe_write().state == "unproven"


def test_a_token_with_control_characters_is_no_token() -> None:
    def answer(method: str, url: str, headers: Mapping[str, str]) -> Answer:
        if "/token" in url:
            return Answer(200, {}, json.dumps({"token": "a\r\nX: y"}).encode())
        challenge = 'Bearer realm="http://registry.example.com/token"'
        return Answer(401, {**API, "www-authenticate": challenge})

    client = RegistryClient(HOST, "user", Secret("word"), transport=Scripted(answer))
    assert client.probe_write().state == "unproven"


def test_pages_are_followed_on_the_same_host_only() -> None:
    pages = {
        "/v2/_catalog?n=1000": (["a"], '<http://internal.example.com/v2/_catalog?n=1&last=a>; rel="next"'),
        "/v2/_catalog?n=1&last=a": (["b"], '</v2/_catalog?n=1&last=b>; rel="next"'),
        "/v2/_catalog?n=1&last=b": (["c"], ""),
    }

    def answer(method: str, url: str, headers: Mapping[str, str]) -> Answer:
        names, link = pages[url.removeprefix(HOST)]
        return Answer(200, {**API, "link": link}, json.dumps({"repositories": names}).encode())

    assert list(RegistryClient(HOST, transport=Scripted(answer)).repositories()) == ["a", "b", "c"]


def test_pages_that_lead_in_a_circle_end() -> None:
    body = b'{"repositories": ["a"]}'
    transport = always(200, {**API, "link": '</v2/_catalog?n=1000>; rel="next"'}, body)
    assert list(RegistryClient(HOST, transport=transport).repositories()) == ["a"]


def test_many_tags_come_in_pages() -> None:
    registry = MemoryRegistry(page=3)
    for number in range(10):
        registry.push("a", f"t{number}", b"{}", "application/json")
    client = RegistryClient(HOST, transport=registry)
    assert client.tags("a") == [f"t{number}" for number in range(10)]
    assert sum("tags/list" in request for request in registry.requests) == 4


def test_an_empty_repository_of_2_8_has_no_tags() -> None:
    transport = always(200, API, b'{"name": "a", "tags": null}')
    assert RegistryClient(HOST, transport=transport).tags("a") == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"tags": 3}', b"[" * 100_000])
def test_a_listing_that_is_none_is_an_error(body: bytes) -> None:
    with pytest.raises(RegctlError, match="answers HTTP 200"):
        RegistryClient(HOST, transport=always(200, API, body)).tags("a")


def test_a_lost_connection_is_tried_once_more_and_a_refused_one_is_not() -> None:
    for again, calls in ((True, 2), (False, 1)):
        count: list[int] = []

        def answer(*_: object, again: bool = again, count: list[int] = count) -> Answer:
            count.append(1)
            raise TransportError("gone", again=again)

        assert RegistryClient(HOST, transport=Scripted(answer)).ping().state == "unreachable"
        assert len(count) == calls


def test_names_are_quoted_into_paths() -> None:
    transport = always(404)
    client = RegistryClient(HOST, transport=transport)
    client.manifest("a/b", "../../c?d#e")
    assert transport.sent[0][1] == f"{HOST}/v2/a/b/manifests/..%2F..%2Fc%3Fd%23e"


def test_a_blob_is_fetched_from_where_the_registry_sends_us_without_our_password() -> None:
    elsewhere = "https://storage.example.com/bucket/blob?signature=x"

    def answer(method: str, url: str, headers: Mapping[str, str]) -> Answer:
        if url == elsewhere:
            return Answer(200, {}, b"the bytes")
        if "authorization" not in headers:
            return Answer(401, {**API, "www-authenticate": 'Basic realm="r"'})
        return Answer(307, {**API, "location": elsewhere})

    transport = Scripted(answer)
    client = RegistryClient(HOST, "me", Secret("word"), transport=transport)
    pieces: list[bytes] = []
    assert client.blob_into("a", "sha256:" + "0" * 64, pieces.append)
    assert pieces == [b"the bytes"]
    assert "authorization" not in transport.sent[-1][2]


def test_a_redirect_in_a_circle_ends_and_a_broken_line_is_no_missing_blob() -> None:
    circle = Scripted(lambda method, url, headers: Answer(307, {**API, "location": f"{url}x"}))
    with pytest.raises(RegctlError, match="HTTP 307"):
        RegistryClient(HOST, transport=circle).blob_into("a", "sha256:" + "0" * 64, bytes)
    assert len(circle.sent) < 10

    def broken(method: str, url: str, headers: Mapping[str, str]) -> Answer:
        raise TransportError("the line broke", again=True)

    with pytest.raises(UnreachableError):
        RegistryClient(HOST, transport=Scripted(broken)).blob_into("a", "sha256:" + "0" * 64, bytes)
