"""Cut what a program prints into lines, in bounded memory. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator


class Lines:
    """Takes pieces cut anywhere, gives whole lines; of each at most `limit` characters are kept."""

    def __init__(self, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._limit = limit
        self._rest = ""

    def feed(self, data: bytes | str) -> Iterator[str]:
        """Take the next piece; yield the lines that it ends."""
        text = self._decoder.decode(data) if isinstance(data, bytes) else data
        *lines, rest = text.split("\n")
        for line in lines:
            whole, self._rest = (self._rest + line)[: self._limit], ""
            yield whole
        self._rest = (self._rest + rest)[: self._limit]

    def end(self) -> Iterator[str]:
        """Yield the last line where no line break ended it."""
        rest, self._rest = self._rest, ""
        if rest:
            yield rest
