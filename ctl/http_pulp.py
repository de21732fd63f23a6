"""What a Pulp's API says of itself, over the door of `ctl.http`. Reads only, and asks without a login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ctl.errors import RegctlError, UnreachableError
from ctl.http import HttpxTransport
from ctl.http_values import Transport, TransportError, json_of

STATUS = "api/v3/status/"
PREFIX = "/pulp"  # where Pulp's API is unless its settings say otherwise


class PulpClient:
    """One node's API. `url` may end with the prefix that Pulp's setting API_ROOT names, as /pulp."""

    def __init__(self, url: str, transport: Transport | None = None) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/") or PREFIX
        self.url = url.rstrip("/")
        self._status = parts._replace(path=f"{path}/{STATUS}").geturl()
        self._transport = transport

    def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            self._transport.close()

    def status(self) -> Mapping[str, Any]:
        """Return its status; UnreachableError where nothing answers, RegctlError for any other answer."""
        if self._transport is None:
            self._transport = HttpxTransport(https=self.url.startswith("https:"))
        try:
            answer = self._transport.send("GET", self._status, {"accept": "application/json"}, b"")
        except TransportError as error:
            raise UnreachableError(
                f"{self.url} does not answer: {error}", hint="is its API's service running?"
            ) from error
        found = json_of(answer)
        if answer.status != 200 or not isinstance(found, dict) or "database_connection" not in found:
            raise RegctlError(
                f"{self._status} answers HTTP {answer.status}, and not with a Pulp's status",
                hint="correct `url` of the node: where its API answers, with the prefix if it has one",
            )
        return found
