"""A Pulp's services, as plain processes or under runit, and clients of its two doors."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.support.pulp import PulpUnderTest
from tests.support.runit import Runit, real_programs
from tests.support.waiting import stop_process, wait_until

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPTED = ", ".join(
    (
        OCI,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
PASSWORD = "admin"
_READY = 90.0  # seconds; 10 to 16 were seen on a busy machine
Name = Literal["api", "content", "worker"]


@dataclass(frozen=True)
class Answer:
    """How a request was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    login: bool = False,
    timeout: float = 60.0,
) -> Answer:
    """Send one request to the loopback; no redirect is followed."""
    sent = dict(headers or {})
    if login:
        sent["Authorization"] = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body or None, headers=sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


@dataclass
class PulpServices:
    """Services of one Pulp, in the order they start in; a context manager that waits until they serve."""

    pulp: PulpUnderTest
    names: Sequence[Name] = ("api", "content")
    under: Literal["process", "runit"] = "process"
    runits: dict[str, Runit] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def argv(self, name: Name) -> list[str]:
        """Return how a service is started."""
        ports = {"api": self.pulp.api_port, "content": self.pulp.content_port}
        program = str(self.pulp.programs / f"pulpcore-{name}")
        return [program] if name == "worker" else [program, "-b", f"127.0.0.1:{ports[name]}", "-w", "1"]

    def described(self) -> list[dict[str, str]]:
        """Return the services as a site describes them; they are under runit."""
        return [{"kind": "runit", "name": str(self.runits[name].service)} for name in self.names]

    def supervise(self) -> PulpServices:
        """Put them under runit, all down."""
        real = bool(real_programs())
        for name in self.names:
            settings = f"PULP_SETTINGS={shlex.quote(str(self.pulp.settings_file))}"
            run = f"env {settings} {shlex.join(self.argv(name))}"
            self.runits[name] = Runit(self.pulp.folder / f"sv-{name}", run, real=real)
        return self

    def start(self, *names: Name) -> PulpServices:
        """Start some, all where none is named; return at once."""
        for name in names or self.names:
            if self.under == "runit":
                if not self.runits:
                    self.supervise()
                runit = self.runits[name]
                subprocess.run([runit.sv, "up", str(runit.service)], check=True, capture_output=True)
                continue
            with self.log(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.argv(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.pulp.environment(),
                    cwd=self.pulp.folder,
                    start_new_session=True,
                )
        return self

    def log(self, name: Name) -> Path:
        """Return the file of a plain process's words."""
        return self.pulp.folder / f"{name}.log"

    def ready(self) -> bool:
        """Say whether all of them serve."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended: {self.log(name).read_text()[-3000:]}")  # type: ignore[arg-type]
        try:
            if "content" in self.names:
                request(self.pulp.content_port, "GET", "/pulp/content/", timeout=2)
            if "api" not in self.names:
                return True
            answer = request(self.pulp.api_port, "GET", "/pulp/api/v3/status/", timeout=5)
        except OSError:
            return False
        return answer.status == 200 and all(
            answer.json[f"online_{kind}"]
            for kind, name in (("workers", "worker"), ("content_apps", "content"))
            if name in self.names
        )

    def wait(self) -> PulpServices:
        """Return when all of them serve."""
        wait_until(self.ready, what="Pulp's services", timeout=_READY, interval=0.2)
        return self

    def stop(self, *names: Name) -> None:
        """Stop some, all where none is named; the last one first."""
        for name in reversed(names or tuple(self.names)):
            if name in self.runits:
                self.down(name)
                self.runits.pop(name).close()
            if name in self.processes:
                stop_process(self.processes.pop(name), 10.0)

    def down(self, name: Name) -> None:
        """Take one down under runit; a master that were killed would leave its workers behind."""
        sv, service = self.runits[name].sv, str(self.runits[name].service)
        subprocess.run([sv, "down", service], check=True, capture_output=True)
        say = [sv, "status", service]
        wait_until(
            lambda: subprocess.run(say, capture_output=True).stdout.startswith(b"down: "),
            what=f"{name} to end",
            timeout=30.0,
            interval=0.1,
        )

    def __enter__(self) -> PulpServices:
        with ExitStack() as stack:
            stack.callback(self.stop)
            self.start().wait()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def status(self) -> dict[str, Any]:
        """Return what the status of Pulp's API says."""
        found = request(self.pulp.api_port, "GET", "/pulp/api/v3/status/").json
        assert isinstance(found, dict)
        return found

    def pull(self, repository: str, reference: str, *, kind: str = "manifests") -> Answer:
        """Pull a manifest (or a blob) as a client does: ask the API, then the content app it points at."""
        headers = {"Accept": ACCEPTED}
        answer = request(self.pulp.api_port, "GET", f"/v2/{repository}/{kind}/{reference}", headers=headers)
        if answer.status not in (301, 302, 307):
            return answer
        where = urlsplit(answer.headers["location"])
        assert where.port == self.pulp.content_port
        path = where.path + (f"?{where.query}" if where.query else "")
        return request(self.pulp.content_port, "GET", path, headers=headers)

    def api(self, method: str, path: str, body: object = None) -> Answer:
        """Ask Pulp's API as its administrator."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if raw else {}
        return request(self.pulp.api_port, method, path, body=raw, headers=headers, login=True)

    def set_password(self) -> None:
        """Give the administrator the password that `api` and `push` use."""
        done = self.pulp.call("reset-admin-password", "--password", PASSWORD)
        assert done.returncode == 0, done.stderr.decode()

    def push(self, repository: str, tag: str, *, labels: Mapping[str, str] | None = None) -> str:
        """Push a small image; return the digest of its manifest."""
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {"Labels": dict(labels or {})}, "tag": tag}
        ).encode()
        layer = f"layer of {repository}".encode()
        for raw in (config, layer):
            self._upload(repository, raw)
        text = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": OCI_LAYER, "digest": digest_of(layer), "size": len(layer)}],
        }
        return self.push_manifest(repository, tag, text)

    def push_manifest(self, repository: str, tag: str, text: Mapping[str, object]) -> str:
        """Push a manifest whose blobs are there."""
        raw = json.dumps(text).encode()
        answer = request(
            self.pulp.api_port,
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            body=raw,
            headers={"Content-Type": str(text["mediaType"])},
            login=True,
        )
        assert answer.status == 201, answer
        return digest_of(raw)

    def _upload(self, repository: str, raw: bytes) -> None:
        port = self.pulp.api_port
        begun = request(port, "POST", f"/v2/{repository}/blobs/uploads/", login=True)
        assert begun.status == 202, begun
        place = urlsplit(begun.headers["location"]).path
        length = {"Content-Range": f"0-{len(raw) - 1}", "Content-Type": "application/octet-stream"}
        sent = request(port, "PATCH", place, body=raw, headers=length, login=True)
        assert sent.status in (202, 204), sent  # 2.18 answers 204
        place = urlsplit(sent.headers["location"]).path
        ended = request(port, "PUT", f"{place}?digest={digest_of(raw)}", login=True)
        assert ended.status == 201, ended


def digest_of(raw: bytes) -> str:
    """Return the digest of some bytes."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()
