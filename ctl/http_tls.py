"""When the certificate of a server over TLS ends. Trusts nobody and sends nothing: it only shakes hands."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

from ctl.errors import UnreachableError

_SEQUENCE, _CONTEXT_0, _UTC_TIME = 0x30, 0xA0, 0x17


def certificate_ends(host: str, port: int, seconds: float = 5.0) -> datetime:
    """Return when the certificate that a server shows ends; UnreachableError if it shows none in time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an expired or unknown one is to be read too, not trusted
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            data = tls.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{host}:{port} shows no certificate: {error}") from error
    if not data:
        raise UnreachableError(f"{host}:{port} shows no certificate")
    return not_after(data)


def not_after(certificate: bytes) -> datetime:
    """Read the end of a certificate's validity from its DER bytes (RFC 5280); ValueError if it is none."""
    body = _inside(_inside(certificate, 0, _SEQUENCE)[0], 0, _SEQUENCE)[0]  # tbsCertificate
    position = 0
    if body[:1] == bytes([_CONTEXT_0]):  # version
        position = _inside(body, 0, _CONTEXT_0)[1]
    for _ in ("serial number", "signature", "issuer"):
        position = _inside(body, position, None)[1]
    validity = _inside(body, position, _SEQUENCE)[0]
    after = _inside(validity, 0, None)[1]
    text, _ = _inside(validity, after, None)
    digits = text.decode("ascii")
    if validity[after] == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _inside(data: bytes, position: int, tag: int | None) -> tuple[bytes, int]:
    """Return a value's bytes, and where the next one begins."""
    if len(data) < position + 2 or (tag is not None and data[position] != tag):
        raise ValueError("this is not a certificate")
    length, start = data[position + 1], position + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("the certificate is cut off")
    return data[start : start + length], start + length
