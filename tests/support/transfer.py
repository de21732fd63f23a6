"""Push and pull: over HTTP directly (a few milliseconds an image), and with skopeo."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.support import programs
from tests.support.images import MANIFEST_TYPES, Image, image, write_oci_layout
from tests.support.waiting import clean_environment


class RefusedByRegistryError(AssertionError):
    """The registry answered with an error; `status` is its HTTP status."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        super().__init__(f"{what}: HTTP {status} {body[:300]!r}")
        self.status = status


class BrokenImageError(AssertionError):
    """Something pulled has another digest or size than it should have."""


@dataclass
class Pulled:
    """What a pull fetched and checked, digest by digest."""

    manifests: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    bytes: int = 0


class Client:
    """A small registry client over one kept-alive connection. Not for two threads at once."""

    def __init__(self, url: str, username: str = "", password: str = "") -> None:
        self._address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=20)
        self._headers = {}
        if username:
            token = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def push(self, repository: str, tag: str | None, image: Image) -> str:
        """Push blobs, children, then the manifest by tag (or by digest); return its digest."""
        for blob in image.blobs:
            self.push_blob(repository, blob.digest, blob.data)
        for child in image.children:
            self.push(repository, None, child)
        self.push_manifest(repository, tag or image.digest, image.manifest.data, image.manifest.media_type)
        return image.digest

    def push_blob(self, repository: str, digest: str, data: bytes) -> bool:
        """Upload a blob unless the repository has it already; True if it was sent."""
        status, _, _ = self.request("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == 200:
            return False
        status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        _expect(f"upload to {repository}", status, body, 202)
        place = urlsplit(headers["Location"])
        query = "&".join(part for part in (place.query, urlencode({"digest": digest})) if part)
        status, _, body = self.request(
            "PUT", f"{place.path}?{query}", data, {"Content-Type": "application/octet-stream"}
        )
        _expect(f"upload {digest} to {repository}", status, body, 201)
        return True

    def push_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> None:
        """PUT a manifest's bytes as they are."""
        status, _, body = self.request(
            "PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type}
        )
        _expect(f"push {repository}:{reference}", status, body, 201)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """DELETE by digest: the revision and every tag on it."""
        status, _, body = self.request("DELETE", f"/v2/{repository}/manifests/{digest}")
        _expect(f"delete {repository}@{digest}", status, body, 202)

    def repositories(self) -> list[str]:
        """List the repositories (`_catalog`, all pages)."""
        found: list[str] = []
        while True:
            last = f"&last={found[-1]}" if found else ""
            page = self._json(f"/v2/_catalog?n=1000{last}")["repositories"]
            found += page
            if len(page) < 1000:
                return found

    def tags(self, repository: str) -> list[str]:
        """List a repository's tags, sorted; none when the registry has forgotten it."""
        status, _, body = self.request("GET", f"/v2/{repository}/tags/list")
        if status == 404:
            return []
        _expect(f"tags of {repository}", status, body, 200)
        return sorted(json.loads(body)["tags"] or [])

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """Fetch a manifest by tag or digest; return (bytes, digest), the digest computed from the bytes."""
        status, headers, body = self.request(
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            headers={"Accept": ", ".join(MANIFEST_TYPES)},
        )
        _expect(f"pull {repository}:{reference}", status, body, 200)
        claimed = reference if ":" in reference else headers["Docker-Content-Digest"]
        _check(f"{repository}:{reference}", claimed, body)
        return body, claimed

    def pull(self, repository: str, reference: str, into: Pulled | None = None) -> Pulled:
        """Fetch a tag or digest with all it holds, checking each digest and size on the way."""
        pulled = into if into is not None else Pulled()
        data, digest = self.manifest(repository, reference)
        if digest in pulled.manifests:
            return pulled
        pulled.manifests.add(digest)
        pulled.bytes += len(data)
        document = json.loads(data)
        for child in document.get("manifests", []):
            self.pull(repository, child["digest"], pulled)
        blobs = [document[k] for k in ("config",) if k in document] + document.get("layers", [])
        for blob in blobs:
            if blob["digest"] not in pulled.blobs and not blob.get("urls"):
                pulled.bytes += self.pull_blob(repository, blob["digest"], blob["size"])
                pulled.blobs.add(blob["digest"])
        return pulled

    def pull_blob(self, repository: str, digest: str, size: int = -1) -> int:
        """Fetch a blob and check it; return its size in bytes."""
        status, _, body = self.request("GET", f"/v2/{repository}/blobs/{digest}")
        _expect(f"pull blob {repository}@{digest}", status, body, 200)
        _check(f"blob of {repository}", digest, body)
        if size not in (-1, len(body)):
            raise BrokenImageError(f"{repository}@{digest}: {len(body)} bytes, manifest says {size}")
        return len(body)

    def every_tag(self) -> Iterator[tuple[str, str]]:
        """Yield (repository, tag) for all there is."""
        for repository in self.repositories():
            for tag in self.tags(repository):
                yield repository, tag

    def pull_everything(self) -> dict[tuple[str, str], Pulled]:
        """Pull every tag of every repository, layer by layer."""
        return {(repo, tag): self.pull(repo, tag) for repo, tag in self.every_tag()}

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send one request, connecting anew where the server had closed the line."""
        for attempt in range(2):
            try:
                self._connection.request(method, path, body, {**self._headers, **(headers or {})})
                answer = self._connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def _json(self, path: str) -> Any:
        status, _, body = self.request("GET", path)
        _expect(path, status, body, 200)
        return json.loads(body)


@dataclass(frozen=True)
class SkopeoResult:
    """How a skopeo call ended."""

    exit_code: int
    stdout: str
    stderr: str


def skopeo(*arguments: str, timeout: float = 60.0) -> SkopeoResult:
    """Run skopeo without a policy file; return how it ended (no exception for a refusal)."""
    done = subprocess.run(
        [programs.find("skopeo"), "--insecure-policy", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        env=clean_environment(),
    )
    return SkopeoResult(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def skopeo_push(
    folder: Path, image: Image, address: str, repository: str, tag: str, *more: str
) -> SkopeoResult:
    """Push an image by skopeo from an OCI layout that is written to `folder`.

    `more` goes to `skopeo copy`, such as `--format=v2s2` or `--dest-creds=...`.
    """
    write_oci_layout(folder, {tag: image})
    return skopeo(
        "copy",
        "--quiet",
        "--all",
        "--dest-tls-verify=false",
        *more,
        f"oci:{folder}:{tag}",
        f"docker://{address}/{repository}:{tag}",
    )


def push_status(url: str, tag: str = "probe", repository: str = "team/app") -> int:
    """Push an image to a node; return 201, or the status that it was refused with."""
    with Client(url) as client:
        try:
            client.push(repository, tag, image(tag))
        except RefusedByRegistryError as error:
            return error.status
    return 201


def _expect(what: str, status: int, body: bytes, wanted: int) -> None:
    if status != wanted:
        raise RefusedByRegistryError(what, status, body)


def _check(what: str, digest: str, data: bytes) -> None:
    algorithm, _, expected = digest.partition(":")
    found = hashlib.new(algorithm, data).hexdigest()
    if found != expected:
        raise BrokenImageError(f"{what}: expected {digest}, got {algorithm}:{found}")
