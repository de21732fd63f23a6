"""A value that must not be seen, and how it may be spelt where it must be blotted out."""

from __future__ import annotations


def spellings(secret: str) -> set[str]:
    """Return a secret as it is, as JSON and Python spell it, and as an address does."""
    import json
    from urllib.parse import quote, quote_plus

    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}


class Secret:
    """Hold a password or key so that printing, formatting or comparing it shows nothing.

    `reveal` is the only way to the text; call it at the door that needs it (a socket, a child's stdin, a
    0600 file) and nowhere else.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never pickled")
