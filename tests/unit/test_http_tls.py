"""The end of a certificate's validity, read from certificates that OpenSSL has made."""

from __future__ import annotations

import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.errors import UnreachableError
from ctl.http_tls import certificate_ends, not_after
from tests.support import programs
from tests.support.waiting import free_port


def certificate(folder: Path, ends: str = "20310102030405Z") -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [programs.find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert), "-days", "30"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


def test_the_end_is_what_openssl_says(tmp_path: Path) -> None:
    _, cert = certificate(tmp_path)
    shown = subprocess.run(
        [programs.find("openssl"), "x509", "-in", str(cert), "-noout", "-enddate"],
        check=True,
        capture_output=True,
    )
    wanted = datetime.strptime(shown.stdout.decode().strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
    found = not_after(ssl.PEM_cert_to_DER_cert(cert.read_text()))
    assert found == wanted.replace(tzinfo=UTC)
    assert timedelta(days=29) < found - datetime.now(UTC) < timedelta(days=31)


def test_a_server_is_asked_and_one_without_tls_is_unreachable(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            plain, _ = server.accept()
            with context.wrap_socket(plain, server_side=True):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        assert certificate_ends("127.0.0.1", port) == not_after(ssl.PEM_cert_to_DER_cert(cert.read_text()))
        thread.join()
    with pytest.raises(UnreachableError, match="shows no certificate"):
        certificate_ends("127.0.0.1", free_port(), seconds=1)


@given(st.binary(max_size=80))
def test_what_is_no_certificate_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        not_after(data)
