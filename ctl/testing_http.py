"""A registry in memory that answers as distribution does, for tests of steps and for plugin authors.

Give it to a `RegistryClient` as its transport; it is held to the same contract suite as the real ones.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from ctl.http_values import Answer, Manifest, TransportError


@dataclass
class MemoryRegistry:
    """What a registry holds and how it is set up; change the fields while it "runs"."""

    read_only: bool = False
    running: bool = True
    users: dict[str, str] = field(default_factory=dict)  # name -> password; empty lets everybody in
    broken_users: bool = False  # Debian's shipped setting: htpasswd is a directory
    unhealthy: str = ""  # a failing health check: every request gets 503
    page: int = 1000  # names a page of a listing holds
    pages_tags: bool = True  # 3.1 and later
    manifests: dict[str, dict[str, Manifest]] = field(default_factory=dict)  # repository -> digest
    tag_map: dict[str, dict[str, str]] = field(default_factory=dict)  # repository -> tag -> digest
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)  # repository -> digest
    requests: list[str] = field(default_factory=list)  # "METHOD path" of each, in order

    def push(self, repository: str, tag: str, body: bytes, media_type: str) -> str:
        """Put a manifest there, as a push would; return its digest."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.manifests.setdefault(repository, {})[digest] = Manifest(digest, media_type, body)
        self.tag_map.setdefault(repository, {})[tag] = digest
        return digest

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request."""
        parts = urlsplit(url)
        self.requests.append(f"{method} {parts.path}")
        if not self.running:
            raise TransportError("[Errno 111] Connection refused")
        if self.unhealthy:
            return _error(503, "UNAVAILABLE")
        refused = self._refused(headers)
        if refused is not None:
            return refused
        path = unquote(parts.path)
        if path == "/v2/":
            return _json(200, {})
        if self.read_only and method not in ("GET", "HEAD"):
            headers_405 = {**_API, "allow": "GET, HEAD", "content-type": "text/plain; charset=utf-8"}
            return Answer(405, headers_405, b"Method not allowed\n")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if path == "/v2/_catalog":
            return self._listing(path, "repositories", sorted(self.manifests), query, paged=True)
        repository, _, rest = path.removeprefix("/v2/").rpartition("/")
        repository, _, kind = repository.rpartition("/")
        if kind == "tags" and rest == "list":
            return self._tags(path, repository, query)
        if kind == "manifests":
            return self._manifest(method, repository, rest, headers, body)
        if kind == "blobs" and rest in self.blobs.get(repository, {}):
            data = self.blobs[repository][rest]
            there = {**_API, "content-length": str(len(data)), "docker-content-digest": rest}
            return Answer(200, there, b"" if method == "HEAD" else data)
        return _error(404, "BLOB_UNKNOWN" if kind == "blobs" else "NAME_UNKNOWN")

    def stream(
        self, method: str, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object]
    ) -> Answer:
        """Answer one request, the body of a 200 in pieces."""
        answer = self.send(method, url, headers, b"")
        if answer.status != 200:
            return answer
        for start in range(0, len(answer.body), 1000):
            sink(answer.body[start : start + 1000])
        return Answer(answer.status, answer.headers)

    def close(self) -> None:
        """Nothing is held open."""

    def _refused(self, headers: Mapping[str, str]) -> Answer | None:
        if not self.users and not self.broken_users:
            return None
        given = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        if not given:
            answer = _error(401, "UNAUTHORIZED")
            return Answer(401, {**answer.headers, "www-authenticate": 'Basic realm="tests"'}, answer.body)
        if self.broken_users:
            return Answer(400, _API)
        pairs = {f"{name}:{password}" for name, password in self.users.items()}
        if base64.b64decode(given.removeprefix("Basic ")).decode() in pairs:
            return None
        answer = _error(401, "UNAUTHORIZED")
        return Answer(401, {**answer.headers, "www-authenticate": 'Basic realm="tests"'}, answer.body)

    def _tags(self, path: str, repository: str, query: Mapping[str, str]) -> Answer:
        if repository not in self.manifests:
            return _error(404, "NAME_UNKNOWN")
        tags = sorted(self.tag_map.get(repository, {}))
        return self._listing(path, "tags", tags, query, paged=self.pages_tags)

    def _listing(
        self, path: str, key: str, names: list[str], query: Mapping[str, str], *, paged: bool
    ) -> Answer:
        if not paged:
            return _json(200, {key: names or None})
        number = min(int(query.get("n", self.page)), self.page)
        after = [name for name in names if name > query.get("last", "")]
        answer = _json(200, {key: after[:number]})
        if len(after) <= number:
            return answer
        link = f'<{path}?last={after[number - 1]}&n={number}>; rel="next"'
        return Answer(200, {**answer.headers, "link": link}, answer.body)

    def _manifest(
        self, method: str, repository: str, reference: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        if method == "PUT":
            try:
                json.loads(body)
            except ValueError:
                return _error(400, "MANIFEST_INVALID")
            self.push(repository, reference, body, headers["content-type"])
            return Answer(201, _API)
        digest = self.tag_map.get(repository, {}).get(reference, reference)
        found = self.manifests.get(repository, {}).get(digest)
        if found is None or found.media_type not in headers.get("accept", ""):
            return _error(404, "MANIFEST_UNKNOWN")
        there = {**_API, "content-type": found.media_type, "docker-content-digest": digest}
        return Answer(200, there, b"" if method == "HEAD" else found.body)


_API = {"docker-distribution-api-version": "registry/2.0"}


def _json(status: int, value: object) -> Answer:
    return Answer(status, {**_API, "content-type": "application/json"}, json.dumps(value).encode())


def _error(status: int, code: str) -> Answer:
    return _json(status, {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})
