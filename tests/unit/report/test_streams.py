"""A reader that goes away stops the talking, not the work."""

from __future__ import annotations

import errno
import io
import os

import pytest

from ctl.errors import RegctlError
from ctl.report.reporter import Stream


class Full(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_a_lost_reader_is_nothing_to_stop_for(number: int) -> None:
    stream = Stream(Full(number))
    stream.line("one")
    stream.line("two")


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(RegctlError, match="No space"):
        Stream(Full(errno.ENOSPC)).line("one")


def test_a_real_pipe_that_closes() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        stream = Stream(file)
        os.close(read)
        for _ in range(3):
            stream.line("x" * 100_000)


def test_a_stream_that_never_was() -> None:
    Stream(None).line("x")


def test_a_closed_file_is_nowhere() -> None:
    file = io.StringIO()
    stream = Stream(file)
    file.close()
    stream.line("x")


def test_a_poor_locale_spells_characters_out() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    Stream(file).line("Grüße")
    assert raw.getvalue() == b"Gr\\xfc\\xdfe\n"


def test_known_secrets_are_blotted_out() -> None:
    file = io.StringIO()
    Stream(file, lambda text: text.replace("hunter2", "***")).line("pw=hunter2")
    assert file.getvalue() == "pw=***\n"
