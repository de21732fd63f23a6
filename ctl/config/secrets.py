"""Secrets: where the site points to them, which settings are one, and how they are kept out of sight."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ctl.config.document import Path, read_document
from ctl.config.models import SECRET_PREFIXES
from ctl.config.words import Dialect
from ctl.errors import ConfigError
from ctl.secret import Secret

RunProgram = Callable[[tuple[str, ...]], bytes]
SHOWN = "***"
LONGEST = 1 << 16  # bytes of a secret; a private key has a few thousand
TOO_OPEN = 0o037  # group write or execute, and anything for others
_SECRET_KEYS = frozenset(
    {
        *("secret", "password", "passphrase", "token", "authorization", "apikey", "licensekey"),
        *("accesskey", "accesskeyid", "accesskeysecret", "secretkey", "accountkey", "private_key"),
        "sentinelpassword",
    }
)
# a setting that somebody took out, `# password: ...`, is as secret as one that stands
_IN_COMMENT = re.compile(
    rf"(#[^\n]*\b(?:{'|'.join(sorted(_SECRET_KEYS))})[\"']?[ \t]*[:=][ \t]*)[^\n]+", re.IGNORECASE
)


def resolve_secret(
    reference: str, run_program: RunProgram, environment: Mapping[str, str] = os.environ
) -> Secret:
    """Fetch what `env:NAME`, `file:/path` or `command:argv` points to; one newline at its end is dropped.

    `run_program` runs an argv and returns its standard output (the hosts door does that). Raises ConfigError
    that says what to do; it never holds the secret.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        if not environment.get(rest):
            raise ConfigError(
                f"the environment variable {rest} is not set", hint=f"export {rest}, or use file:"
            )
        return Secret(environment[rest])
    if kind == "file":
        return _text(read_secret_file(rest), f"the file {rest}")
    if kind == "command":
        try:
            argv = tuple(shlex.split(rest))
        except ValueError as error:
            raise ConfigError(
                f"command:{rest.split(' ')[0]}... cannot be split into words: {error}"
            ) from None
        if not argv:
            raise ConfigError("command: names no program")
        return _text(run_program(argv), f"the program {argv[0]}")
    raise ConfigError("a secret must be written as env:NAME, file:/path or command:PROGRAM ARGUMENTS")


def read_secret_file(path: str) -> bytes:
    """Read a secret's file; ConfigError unless root or we own it and nobody else may read it."""
    try:
        # O_NONBLOCK: a pipe in the file's place must not hang us
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"the secret in {path} cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is not a file, so it cannot hold a secret")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"{path} holds a secret and belongs to user {found.st_uid}, who could change it",
                hint=f"chown {'root' if os.geteuid() == 0 else os.geteuid()} {shlex.quote(path)}",
            )
        if stat.S_IMODE(found.st_mode) & TOO_OPEN:
            raise ConfigError(
                f"{path} holds a secret and its mode {stat.S_IMODE(found.st_mode):04o} lets others at it",
                hint=f"chmod 0600 {shlex.quote(path)}",
            )
        return os.read(descriptor, LONGEST)
    finally:
        os.close(descriptor)


def keep_secret(path: str, secret: Secret) -> None:
    """Write a secret to a file of its own, mode 0600; one that holds it already is left as it is.

    RefusedError if the file is there and holds something else.
    """
    from ctl.config.files import create

    if os.path.lexists(path) and _text(read_secret_file(path), path) == secret:
        return
    create(path, secret.reveal().encode() + b"\n", 0o600)


def _text(data: bytes, where: str) -> Secret:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{where} holds a secret that is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{where} holds no secret: it is empty")
    return Secret(text)


def is_secret_key(key: str | int) -> bool:
    """Say whether a setting of that name holds a secret, in any registry's configuration."""
    return isinstance(key, str) and key.lower() in _SECRET_KEYS


def secret_leaves(settings: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value below a secret's key: (path, value)."""
    for key, value in settings.items():
        yield from _leaves(value, (*path, key), is_secret_key(key))


def _leaves(value: Any, path: Path, secret: bool) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, (*path, key), secret or is_secret_key(key))
    elif isinstance(value, list | tuple):
        for index, below in enumerate(value):
            yield from _leaves(below, (*path, index), secret)
    elif secret and value is not None and not isinstance(value, bool) and value != "":
        yield path, value


def is_reference(value: Any) -> bool:
    """Say whether a value points to a secret instead of being one."""
    return isinstance(value, str) and value.startswith(SECRET_PREFIXES)


def inline_secrets(settings: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the path of every secret that stands in settings in clear."""
    return (path for path, value in secret_leaves(settings) if not is_reference(value))


def with_secrets(settings: Mapping[str, Any], fetch: Callable[[str], Secret]) -> Any:
    """Return the settings with every reference at a secret's key replaced by a Secret."""
    references = {path for path, value in secret_leaves(settings) if is_reference(value)}
    return _map(settings, (), lambda path, value: fetch(value) if path in references else value)


def moved_out(
    settings: Mapping[str, Any], place: Callable[[Path], str]
) -> tuple[dict[str, Any], dict[str, Secret]]:
    """Return a registry's own settings with each secret replaced by a reference, and {file: secret}.

    `place` names the file that each is to be moved to. In a registry's file nothing is a reference: a secret
    that begins with `command:` is that text, and must never be run. What is not text stays where it is.
    """
    leaves = {path: value for path, value in secret_leaves(settings) if isinstance(value, str)}
    files = {place(path): Secret(value) for path, value in leaves.items()}
    changed = _map(settings, (), lambda path, value: f"file:{place(path)}" if path in leaves else value)
    return changed, files


def file_name(registry: str, path: Path) -> str:
    """Return the name of the file for a registry's secret: main.http.secret."""
    words = [re.sub(r"[^A-Za-z0-9_-]+", "-", str(part)) for part in path]
    return ".".join((registry, *words))


def revealed(settings: Any) -> Any:
    """Return settings with each Secret as its text; only for the text of a file that may hold it."""
    return _map(settings, (), lambda _, value: value.reveal() if isinstance(value, Secret) else value)


def hidden(settings: Any) -> Any:
    """Return settings in which every secret is ***."""
    places = {path for path, _ in secret_leaves(settings)} if isinstance(settings, Mapping) else set()
    return _map(
        settings, (), lambda path, value: SHOWN if isinstance(value, Secret) or path in places else value
    )


def _map(value: Any, path: Path, change: Callable[[Path, Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(below, (*path, key), change) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_map(below, (*path, index), change) for index, below in enumerate(value)]
    return change(path, value)


def redact_text(data: bytes, file: str, marks: Mapping[str, str] | None = None) -> str:
    """Return a configuration file's text for showing: each secret replaced by ***.

    `marks` gives a shown text by secret, so that a diff can tell that two differ. A file that cannot be
    parsed is not shown at all: what is secret in it cannot be known.
    """
    document = read_document(data, file, Dialect.REGISTRY)
    text = data.decode("utf-8-sig", errors="replace")
    if document.root is None:
        return f"({file} cannot be parsed, so it is not shown)\n"
    root = document.root
    places = {path for path, _ in secret_leaves(root.plain())} if isinstance(root.value, dict) else set()
    spans = {node.span: str(node.value) for path, node in root.walk() if path in places and node.span[1]}
    for (start, end), value in sorted(spans.items(), reverse=True):
        line_end = "\n" if text[start:end].endswith("\n") else ""
        text = text[:start] + (marks or {}).get(value, SHOWN) + line_end + text[end:]
    return _IN_COMMENT.sub(rf"\1{SHOWN}", text)
