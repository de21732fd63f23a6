"""A real nginx on loopback before the nodes of a registry, and the commands that drain one of them."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import programs
from tests.support.waiting import clean_environment, free_port, wait_until

_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream registry {{ include {folder}/upstream.d/*.conf; }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{
      proxy_pass http://registry;
      proxy_set_header Host $http_host;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      {retry}
    }}
  }}
}}
"""
_DRAIN = """\
#!/bin/sh
# drain.sh out|in NODE ADDRESS: take a node out of the upstream, or put it back
set -e
case $1 in
  out) rm -f "{folder}/upstream.d/$2.conf" ;;
  in) echo "server $3 max_fails=0;" > "{folder}/upstream.d/$2.conf" ;;
esac
{nginx} -p "{folder}" -c "{folder}/nginx.conf" -s reload
echo "$1 $2" >> "{folder}/drained"
"""


@dataclass
class Nginx:
    """A balancer over `nodes` ({name: address}). With `retries` it hides a node that is down by itself."""

    folder: Path
    nodes: dict[str, str]
    retries: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients come."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def script(self) -> Path:
        """What drains a node."""
        return self.folder / "drain.sh"

    def drain(self, name: str, settle_seconds: int = 1, host: str | None = None) -> dict[str, object]:
        """Return a node's `drain` for a site file."""
        call = [str(self.script), name, self.nodes[name]]
        there = {"host": host} if host else {}
        return {
            **there,
            "out": [call[0], "out", *call[1:]],
            "in": [call[0], "in", *call[1:]],
            "settle_seconds": settle_seconds,
        }

    def serving(self) -> list[str]:
        """Name the nodes that are in the upstream."""
        return sorted(path.stem for path in (self.folder / "upstream.d").glob("*.conf"))

    def drained(self) -> list[str]:
        """Return what the drain script was called with, in order."""
        path = self.folder / "drained"
        return path.read_text().splitlines() if path.exists() else []

    def __enter__(self) -> Nginx:
        program = programs.find("nginx")
        (self.folder / "upstream.d").mkdir(parents=True)
        for name, address in self.nodes.items():
            (self.folder / "upstream.d" / f"{name}.conf").write_text(f"server {address} max_fails=0;\n")
        retry = "" if self.retries else "proxy_next_upstream off;"
        text = _CONFIG.format(folder=self.folder, port=self.port, retry=retry)
        (self.folder / "nginx.conf").write_text(text)
        self.script.write_text(_DRAIN.format(folder=self.folder, nginx=program))
        self.script.chmod(0o755)
        with (self.folder / "stderr").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
            )
        wait_until(self._listens, what="nginx")
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "stderr").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        shutil.rmtree(self.folder / "body", ignore_errors=True)
