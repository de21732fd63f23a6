"""The door to registries over HTTP: is it there, is it writable, what does it hold. httpx lives only here.

Nothing that is sent from here changes anything in a registry.
"""

from __future__ import annotations

import base64
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ctl.errors import RegctlError, UnreachableError, UsageError
from ctl.http_values import (
    API_HEADER,
    LARGEST_ANSWER,
    MANIFEST_TYPES,
    PROBE_PATH,
    Answer,
    Manifest,
    Ping,
    Transport,
    TransportError,
    WriteProbe,
    WriteState,
    error_codes,
    error_text,
    json_of,
)
from ctl.secret import Secret

__all__ = [
    "MANIFEST_TYPES", "PROBE_PATH", "Answer", "HttpxTransport", "Manifest", "Ping", "RegistryClient",
    "Transport", "TransportError", "WriteProbe", "WriteState",
]  # fmt: skip

_REDIRECTS = 5  # that are followed on the way to a blob
_PAGE = 1000  # both versions refuse or clamp more


class HttpxTransport:
    """Requests over the network. No proxy from the environment, no redirect followed, system CAs."""

    def __init__(self, *, https: bool, ca_file: str | None = None, timeout: float = 10.0) -> None:
        import httpx

        verify: Any = False  # not used for http; loading the CAs costs time
        if https:
            import ssl

            try:
                verify = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise UsageError(f"the CA file {ca_file} cannot be read: {error}") from error
        self._httpx = httpx
        self._client = httpx.Client(trust_env=False, follow_redirects=False, verify=verify, timeout=timeout)
        # kept connections are closed with the door, however it is dropped
        self._finalize = weakref.finalize(self, self._client.close)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request; an answer larger than 8 MiB is an error."""
        return self._carry(method, url, headers, body, None)

    def stream(
        self, method: str, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object]
    ) -> Answer:
        """Send one request and hand the body of a 200 to `sink`, piece by piece, whatever its size."""
        return self._carry(method, url, headers, b"", sink)

    def _carry(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        sink: Callable[[bytes], object] | None,
    ) -> Answer:
        httpx = self._httpx
        try:
            with self._client.stream(method, url, headers=dict(headers), content=body) as answer:
                data = bytearray()
                streaming = sink is not None and answer.status_code == 200
                for piece in answer.iter_raw() if streaming else answer.iter_bytes():
                    if streaming and sink is not None:
                        sink(piece)
                        continue
                    data += piece
                    if len(data) > LARGEST_ANSWER:
                        raise TransportError(f"{url} answers more than {LARGEST_ANSWER} bytes")
                named = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status_code, named, bytes(data))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # a kept connection that the server closed meanwhile, as by a restart
            stale = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
            again = isinstance(error, stale)
            raise TransportError(str(error) or type(error).__name__, again=again) from error

    def close(self) -> None:
        """Close the connections."""
        self._finalize()


class RegistryClient:
    """One node of a registry over its HTTP API."""

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: Secret | None = None,
        *,
        ca_file: str | None = None,
        token_hosts: tuple[str, ...] = (),
        transport: Transport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UsageError(f"not the address of a registry: {url!r}", hint="such as http://127.0.0.1:5000")
        self.url = url.rstrip("/")
        self._base = f"{self.url}/v2/"
        self._username = username
        self._password = password
        self._token_hosts = token_hosts  # beside the registry's own
        self._authorization: dict[str, str] = {}  # by scope
        self._ca_file = ca_file
        self._transport = transport

    def close(self) -> None:
        """Close the connections; the client can be used again."""
        if self._transport is not None:
            self._transport.close()
        if isinstance(self._transport, HttpxTransport):
            self._transport = None

    # -- is it there -----------------------------------------------------------------------------

    def ping(self) -> Ping:
        """Ask /v2/ once, without credentials."""
        try:
            answer = self._send("GET", self._base)
        except TransportError as error:
            return Ping("unreachable", f"{self.url} does not answer: {error}")
        if answer.status in (200, 401):
            if API_HEADER in answer.headers:
                return Ping("ready", "", answer.status)
            return Ping("foreign", f"{self.url} answers, but not as a registry", answer.status)
        detail = f"{self.url}/v2/ answers HTTP {answer.status}{error_text(answer)}"
        known = answer.status >= 500 or API_HEADER in answer.headers
        return Ping("unhealthy" if known else "foreign", detail, answer.status)

    def headers(self) -> Mapping[str, str]:
        """Return the headers of /v2/, names in lower case; UnreachableError if nothing answers."""
        try:
            return self._send("GET", self._base).headers
        except TransportError as error:
            raise self._unreachable(error) from error

    def root(self) -> Answer:
        """Return the answer of /v2/, logged in where the registry asks for it; UnreachableError if none."""
        return self._get(self._base, "", {})

    def wait_ready(self, timeout: timedelta) -> None:
        """Wait until /v2/ answers 200 or 401; UnreachableError with the last words after the timeout."""
        self._wait(timeout, lambda ping: ping.state == "ready", "did not get ready")

    def wait_gone(self, timeout: timedelta) -> None:
        """Wait until nothing answers at the address; RegctlError after the timeout."""
        self._wait(timeout, lambda ping: ping.state == "unreachable", "still answers")

    # -- is it writable --------------------------------------------------------------------------

    def probe_write(self) -> WriteProbe:
        """Find out whether a push would be accepted, by a PUT that no registry can accept.

        The body is a malformed manifest: a read-only registry refuses the method (405) before it looks at
        it, a writable one refuses the body (400 MANIFEST_INVALID). Nothing is stored, no directory made;
        seen on 2.8.2 and 3.1.1 with and without users. Every other answer proves nothing: Debian's shipped
        htpasswd setting, for one, answers 400 with no body to any password, read-only or not.
        """
        headers = {"content-type": "application/vnd.docker.distribution.manifest.v2+json"}
        url = self._base + PROBE_PATH
        try:
            answer = self._request("PUT", url, headers, b"{", "repository:regctl-probe:pull,push")
        except TransportError as error:
            return WriteProbe("unreachable", f"{self.url} does not answer: {error}")
        except RegctlError as error:
            return WriteProbe("unproven", error.message)
        codes = error_codes(answer)
        registry = API_HEADER in answer.headers
        if answer.status == 405 and registry and not codes:
            return WriteProbe("read-only")
        if answer.status == 400 and registry and "MANIFEST_INVALID" in codes:
            return WriteProbe("writable")
        return WriteProbe("unproven", self._why_unproven(answer, registry))

    # -- what it holds ---------------------------------------------------------------------------

    def repositories(self) -> Iterator[str]:
        """Yield the repositories of the catalog, page by page."""
        url = f"{self._base}_catalog?n={_PAGE}"
        yield from self._pages(url, "repositories", "registry:catalog:*", missing=False)

    def tags(self, repository: str) -> list[str]:
        """Return a repository's tags, sorted; none where the registry does not know it."""
        url = f"{self._base}{quote(repository)}/tags/list?n={_PAGE}"
        return sorted(set(self._pages(url, "tags", f"repository:{repository}:pull", missing=True)))

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return a manifest by tag or digest as it was pushed, or None."""
        url = f"{self._base}{quote(repository)}/manifests/{quote(reference, safe=':')}"
        # without all types 2.8 converts a manifest, which changes its digest, or answers 404
        answer = self._get(url, f"repository:{repository}:pull", {"accept": ", ".join(MANIFEST_TYPES)})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._unexpected(url, answer)
        digest = answer.headers.get("docker-content-digest", reference if ":" in reference else "")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Manifest(digest, media_type, answer.body)

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Return a blob's size in bytes by HEAD, or None where the repository has not got it."""
        url = f"{self._base}{quote(repository)}/blobs/{quote(digest, safe=':')}"
        answer = self._get(url, f"repository:{repository}:pull", {}, method="HEAD")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._unexpected(url, answer)
        length = answer.headers.get("content-length", "")
        if not length.isdigit():
            raise self._unexpected(url, answer)
        return int(length)

    def digest_of(self, repository: str, tag: str) -> str | None:
        """Return the digest that a tag points to, by HEAD; None where there is no such tag."""
        url = f"{self._base}{quote(repository)}/manifests/{quote(tag)}"
        accept = {"accept": ", ".join(MANIFEST_TYPES)}
        answer = self._get(url, f"repository:{repository}:pull", accept, method="HEAD")
        if answer.status == 404:
            return None
        if answer.status != 200 or "docker-content-digest" not in answer.headers:
            raise self._unexpected(url, answer)
        return answer.headers["docker-content-digest"]

    def blob_into(self, repository: str, digest: str, sink: Callable[[bytes], object]) -> bool:
        """Hand a blob's bytes to `sink`, piece by piece; False where the repository has not got it.

        A redirect to the storage is followed, without our credentials. After an error the sink has had
        a part of the bytes: begin anew.
        """
        url = f"{self._base}{quote(repository)}/blobs/{quote(digest, safe=':')}"
        try:
            plain = {"accept-encoding": "identity"}  # the digest is of the bytes as they are stored
            answer = self._request("GET", url, plain, b"", f"repository:{repository}:pull", sink)
            for _ in range(_REDIRECTS):
                target = urljoin(url, answer.headers.get("location", ""))
                if answer.status not in (301, 302, 303, 307, 308) or target == url:
                    break
                answer = self._carrier().stream("GET", url := target, plain, sink)
        except TransportError as error:
            raise self._unreachable(error) from error
        if answer.status in (200, 404):
            return answer.status == 200
        raise self._unexpected(url, answer)

    # -- inside ----------------------------------------------------------------------------------

    def _pages(self, url: str, key: str, scope: str, *, missing: bool) -> Iterator[str]:
        seen: set[str] = set()
        while url not in seen:  # a Link that leads in a circle ends it
            seen.add(url)
            answer = self._get(url, scope, {})
            if answer.status == 404 and missing:
                return
            document = json_of(answer)
            known = answer.status == 200 and isinstance(document, dict) and key in document
            values = document[key] if known else 0
            if not isinstance(values, list | None):
                raise self._unexpected(url, answer)
            yield from (str(value) for value in values or ())  # 2.8: null for an empty repository
            link = re.match(r'\s*<([^>]+)>\s*;.*rel="?next"?', answer.headers.get("link", ""))
            if link is None:
                return
            following = urljoin(url, link.group(1))
            if urlsplit(following)[:2] != urlsplit(url)[:2]:
                # behind a proxy the registry may call itself otherwise: stay where we are
                there = urlsplit(following)
                following = urlsplit(url)._replace(path=there.path, query=there.query).geturl()
            url = following

    def _get(self, url: str, scope: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
        try:
            return self._request(method, url, headers, b"", scope)
        except TransportError as error:
            raise self._unreachable(error) from error

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        scope: str,
        sink: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send; on 401 log in as the registry asks for, and send again."""
        known = self._authorization.get(scope) or self._authorization.get("basic")
        allowed = {**headers, **({"authorization": known} if known else {})}
        answer = self._send(method, url, allowed, body, sink)
        if answer.status != 401 or self._username is None or self._password is None:
            return answer
        authorization = self._log_in(answer, scope)
        if authorization is None or authorization == known:
            return answer
        return self._send(method, url, {**headers, "authorization": authorization}, body, sink)

    def _log_in(self, refused: Answer, scope: str) -> str | None:
        challenge = refused.headers.get("www-authenticate", "")
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            self._authorization["basic"] = self._basic()
            return self._authorization["basic"]
        if kind.lower() != "bearer":
            return None
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        token = self._token(fields.get("realm", ""), fields.get("service", ""), fields.get("scope", scope))
        self._authorization[scope] = f"Bearer {token}"
        return self._authorization[scope]

    def _token(self, realm: str, service: str, scope: str) -> str:
        """Fetch a token; the password goes only to the registry's own host and those named for it."""
        there, own = urlsplit(realm), urlsplit(self.url)
        allowed = there.hostname == own.hostname or there.hostname in self._token_hosts
        secure = there.scheme == "https" or (there.scheme == "http" and own.scheme == "http")
        if not allowed or not secure or there.username:
            raise RegctlError(
                f"{self.url} sends us to {realm or 'nowhere'} for a token; no password goes there",
                hint="tokens are fetched from the registry's own host only, by https if it has it",
            )
        url = f"{realm}{'&' if there.query else '?'}{urlencode({'service': service, 'scope': scope})}"
        answer = self._send("GET", url, {"authorization": self._basic()})
        document = json_of(answer)
        token = None
        if answer.status == 200 and isinstance(document, dict):
            token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise RegctlError(f"{there.netloc} gives no token: HTTP {answer.status}")
        return token

    def _basic(self) -> str:
        password = self._password.reveal() if self._password else ""
        pair = f"{self._username}:{password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sink: Callable[[bytes], object] | None = None,
    ) -> Answer:
        if sink is not None:
            return self._carrier().stream(method, url, headers or {}, sink)
        try:
            return self._carrier().send(method, url, headers or {}, body)
        except TransportError as error:
            if not error.again:
                raise
        # a kept connection whose server was restarted meanwhile; nothing we send does any harm twice
        return self._carrier().send(method, url, headers or {}, body)

    def _carrier(self) -> Transport:
        if self._transport is None:
            https = self.url.startswith("https:")
            self._transport = HttpxTransport(https=https, ca_file=self._ca_file)
        return self._transport

    def _wait(self, timeout: timedelta, done: Callable[[Ping], bool], what: str) -> None:
        deadline = time.monotonic() + timeout.total_seconds()
        pause = 0.02
        while not done(ping := self.ping()):
            if time.monotonic() >= deadline:
                seconds = f"{timeout.total_seconds():g} s"
                raise UnreachableError(f"{self.url} {what} within {seconds}: {ping.detail or ping.state}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _unreachable(self, error: TransportError) -> UnreachableError:
        return UnreachableError(
            f"{self.url} does not answer: {error}", hint="is the service running? `regctl service status`"
        )

    def _unexpected(self, url: str, answer: Answer) -> RegctlError:
        hint = "check the registry's `credentials` in the site" if answer.status in (401, 403) else ""
        return RegctlError(f"{url} answers HTTP {answer.status}{error_text(answer)}", hint=hint)

    def _why_unproven(self, answer: Answer, registry: bool) -> str:
        if answer.status in (401, 403) and self._username is None:
            return f"{self.url} asks for a user (HTTP {answer.status}), and the site names no `credentials`"
        if answer.status in (401, 403):
            return f"{self.url} refuses the site's `credentials` (HTTP {answer.status})"
        if b"HTTPS server" in answer.body:
            return f"the registry speaks https; the site's url says {self.url}"
        if not registry:
            return f"HTTP {answer.status} from something in front of the registry at {self.url}"
        if answer.status == 400 and not answer.body:
            return f"{self.url} answers HTTP 400 and no more: its access control is broken (htpasswd file?)"
        return f"{self.url} answers HTTP {answer.status}{error_text(answer)} to the probe"
