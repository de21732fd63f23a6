"""The words that a site's models are made of: names, paths, addresses, references to secrets."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SECRET_PREFIXES = ("env:", "file:", "command:")
INLINE_SECRET = (
    "is never written here: put it in a file of its own (mode 0600) and write file:/path/to/it, "  # noqa: S105
    "or env:NAME, or command:PROGRAM ARGUMENTS"
)


def wrong(message: str) -> PydanticCustomError:
    """Return the error that a validator raises, in our own words."""
    return PydanticCustomError("site", "{what}", {"what": message})


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise wrong("must be an absolute path, starting with /")
    if any(ord(character) < 32 for character in path) or ".." in path.split("/"):
        raise wrong("must be a plain path, without .. or control characters")
    return path.rstrip("/") or "/"


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong(f"must be an address such as http://127.0.0.1:5000 ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong("must be an address such as http://127.0.0.1:5000")
    if parts.username is not None or parts.password is not None:
        raise wrong("must not hold a user name or a password: they belong under credentials")
    if parts.query or parts.fragment or re.search(r"\s", url):
        raise wrong("must end with the host, the port or a path prefix")
    return url


def _reference(text: str) -> str:
    prefix = next((known for known in SECRET_PREFIXES if text.startswith(known)), "")
    if not prefix or not text[len(prefix) :].strip():
        raise wrong(INLINE_SECRET)
    if prefix == "file:" and not text.removeprefix("file:").startswith("/"):
        raise wrong("file: needs an absolute path, as in file:/etc/regctl/main.password")
    return text


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_url)]
SecretReference = Annotated[str, AfterValidator(_reference)]
Port = Annotated[int, Field(ge=1, le=65535)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Argv = Annotated[tuple[NonEmpty, ...], Field(min_length=1, strict=False)]  # a program and its arguments


class Model(BaseModel):
    """What every part of a site is: frozen, unknown keys refused, nothing converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
