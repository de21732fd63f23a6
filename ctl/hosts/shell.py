"""How a script reaches a POSIX shell byte for byte, and how its answer is told from other output.

Nothing that a caller gives ever stands on the remote command line: that line is one constant text, and the
script, with every argument quoted once, travels on stdin. So no login shell can change an argument, no
argument is seen in a list of processes, and no limit of a command line holds.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ctl.errors import CommandFailedError, UsageError

if TYPE_CHECKING:
    from ctl.hosts.streams import Pipe

Stream = Literal["stdout", "stderr"]
Sink = Callable[[Stream, bytes], None]
Tick = Callable[[], float | None]
# Reads lines from descriptor 3 or stdin up to the word that ends the script, and runs them only if that
# word came: of a script whose connection broke, nothing is run. `read` takes byte for byte, so what
# follows the word is left for the script. Kept free of single quotes and exclamation marks. A shell begins
# with blank, tab and newline in IFS, whatever its environment says: the third is taken from there.
BOOT = (
    'n=${IFS#??};s=;o=;while IFS= read -r l%s;do if [ "$l" = "$1" ];then o=1;break;fi;'
    's=$s$l$n;done;[ "$o" ]||exit 97;eval "$s"'
)
FROM_STDIN = BOOT % ""
FROM_THREE = BOOT % " <&3"
_FOLDER = Path(__file__).parent / "posix"


class Shell(Protocol):
    """Something that runs a line in a shell: over SSH, or here in a test."""

    name: str

    def call(self, line: str, stdin: bytes, sink: Sink, tick: Tick) -> int:
        """Run the line with these bytes on stdin, and return its exit code, negative for a signal.

        `sink` gets the output as it comes. `tick` is called at least as often as it asks to be (it returns
        seconds, or None). UnreachableError where the connection breaks: whether the line ran is not known.
        """
        ...

    def open(self, line: str) -> Pipe:
        """Run the line with its stdin and stdout in the caller's hands."""
        ...


def quote(text: str) -> str:
    """Quote one argument for a POSIX shell; every byte but NUL arrives as it is."""
    return "'" + text.replace("'", "'\\''") + "'"


@cache
def script(name: str) -> str:
    """Return the text of one of the scripts in posix/, without its comments and indentation.

    Each byte is a read over there. No text in quotes there goes over a line that begins with a blank.
    """
    lines = [line.lstrip() for line in (_FOLDER / f"{name}.sh").read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.startswith("# ")) + "\n"


@cache
def with_common(*names: str) -> str:
    """Return scripts of posix/ one after the other, behind those functions of common.sh that they call."""
    text = "".join(map(script, names))
    functions = dict(_functions())
    wanted: set[str] = set()
    while found := {name for name in functions.keys() - wanted if re.search(rf"\b{name}\b", text)}:
        wanted |= found
        text = "".join(functions[name] for name in found) + text
    return "".join(body for name, body in functions.items() if name in wanted) + "".join(map(script, names))


def _functions() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the functions in common.sh; nothing else stands there."""
    for body in re.split(r"(?m)^(?=[a-z_]+\(\) \{)", script("common")):
        if body.strip():
            yield body.partition("(")[0], body


def encoded(text: str) -> bytes:
    """Return a script's bytes, as the file system spells names; UsageError if it holds a NUL."""
    if "\0" in text:
        raise UsageError("an argument holds a NUL byte: no program can get it")
    return os.fsencode(text)


def environment(values: Mapping[str, str]) -> str:
    """Return the lines of a script that export these variables; UsageError for a name no shell can set."""
    lines = []
    for key, value in values.items():
        if not (key.isascii() and key.isidentifier()):
            raise UsageError(f"{key!r} is no name that a shell can give to a variable")
        lines.append(f"{key}={quote(value)}; export {key}\n")
    return "".join(lines)


@dataclass(frozen=True)
class Call:
    """One script on its way: the constant line, what goes to stdin, and the word its answer begins with.

    The line ends with another word, which ends the script: whoever lists processes over there sees that
    one, and must not be able to write what looks like an answer.
    """

    line: str
    stdin: bytes
    word: str


def prepared(
    names: Sequence[str],
    arguments: Sequence[str],
    *,
    become: str = "",
    search_path: str,
    values: Mapping[str, str] | None = None,
    data: bytes = b"",
) -> Call:
    """Put a call together of the scripts in posix/ by these names.

    `become` stands before the shell on the line (`sudo -n -u root --`); it must be a constant text.
    `values` are exported first, and `data` is what the script finds on its stdin.
    """
    parts = (_exported(values), "set -- " + " ".join(map(quote, arguments)) + "\n", with_common(*names))
    return wrapped("".join(parts), become=become, search_path=search_path, data=data)


def wrapped(text: str, *, become: str = "", search_path: str, data: bytes = b"") -> Call:
    """Put a call together of a script's text; what it says to us begins with the word in $R."""
    end, word = f"end-{secrets.token_hex(16)}", f"regctl-{secrets.token_hex(16)}"
    clean = f"env -i PATH={search_path} LC_ALL=C /bin/sh -c '{FROM_STDIN}' sh {end}"
    line = " ".join(filter(None, ("exec", become, clean)))
    return Call(line, encoded(f"R={word}\n{text}") + f"\n{end}\n".encode() + data, word)


def _exported(values: Mapping[str, str] | None) -> str:
    return "" if values is None else "unset LC_ALL\n" + environment(values)


@dataclass
class Answer:
    """What a script says first: a word, the rest of that line, and the bytes after it."""

    word: str
    said: str = ""
    rest: str = ""
    data: bytearray | None = None
    _head: bytearray | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Take output; return what of it comes after the answer's first line."""
        if self.said:
            return chunk
        self._head = (self._head or bytearray()) + chunk
        mark = self._head.find(self.word.encode() + b" ")
        end = self._head.find(b"\n", mark)
        if mark < 0 or end < 0:
            return b""
        line = os.fsdecode(bytes(self._head[mark + len(self.word) + 1 : end]))
        self.said, _, self.rest = line.partition(" ")
        return bytes(self._head[end + 1 :])

    @property
    def before(self) -> bytes:
        """What came before any answer: a login shell's banner, or its complaint."""
        return bytes(self._head or b"")


def no_answer(host: str, code: int, errors: bytes, before: bytes) -> CommandFailedError:
    """Say that a shell did not do as a POSIX shell does."""
    last = tuple((errors or before).decode("utf-8", "replace").splitlines()[-5:])
    return CommandFailedError(
        f"the shell on {host} gave no answer (exit code {code})",
        details=last,
        hint=f"regctl needs /bin/sh and env there, and sudo where `become` is set: regctl host check {host}",
    )
