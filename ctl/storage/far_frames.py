"""Messages of a stream between two hosts: a value as JSON, and bytes beside it.

It imports the standard library only, and travels to the other host as it is: see ctl.storage.far_source.
JSON and not marshal: what a far host sends is read by the controller, and must be able to do nothing here.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HEAD = struct.Struct(">III")  # bytes that follow, bytes of them once unpacked (0: not packed), bytes of JSON
LIMIT = 1 << 30  # bytes of one message; more is nothing that we would send
_SMALL = 1024  # bytes that are not worth packing
_LEVEL = 1  # names and JSON shrink to a third by it, at some 100 MB a second


class GarbledError(Exception):
    """What came is no message."""


def pack(value: Any, blob: bytes = b"") -> bytes:
    """Return a message; names that are no UTF-8 travel as Python's surrogates."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    plain = body + blob
    if len(plain) > _SMALL:
        packed = zlib.compress(plain, _LEVEL)
        if len(packed) * 10 < len(plain) * 9:
            return HEAD.pack(len(packed), len(plain), len(body)) + packed
    return HEAD.pack(len(plain), 0, len(body)) + plain


def unpack(exactly: Callable[[int], bytes]) -> tuple[Any, bytes]:
    """Read a message; `exactly` returns so many bytes or raises. GarbledError where it is none."""
    length, unpacked, body = HEAD.unpack(exactly(HEAD.size))
    if max(length, unpacked) > LIMIT or body > (unpacked or length):
        raise GarbledError("a message with an impossible length")
    data = exactly(length)
    try:
        if unpacked:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(data, unpacked)
            if len(data) != unpacked or not unpacker.eof:
                raise GarbledError("a message of another length than it says")
        return json.loads(data[:body].decode("ascii")), data[body:]
    except (zlib.error, ValueError) as error:
        raise GarbledError(str(error)) from error
