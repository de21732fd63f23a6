"""How a host is reached, and which keys it may show: the known_hosts file as OpenSSH writes it."""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctl.errors import ConfigError

if TYPE_CHECKING:
    from ctl.config.models import Host

KNOWN_HOSTS = "/etc/regctl/known_hosts"  # unless the site names another file


@dataclass(frozen=True)
class Way:
    """How a host is reached. Times in seconds."""

    name: str
    address: str
    port: int
    user: str
    identity_file: str | None
    known_hosts_file: str
    connect_timeout: float = 10.0
    silence: float = 30.0  # how long a peer may leave everything unanswered

    @property
    def entry(self) -> str:
        """The host's name in a known_hosts file."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"

    def knows(self, names: str) -> bool:
        """Say whether the first field of a line of known_hosts means this host; it may be hashed."""
        return any(_names(name, self.entry) for name in names.split(","))


def way_of(name: str, described: Host) -> Way:
    """Return how a host of the site is reached."""
    return Way(
        name=name,
        address=described.address or name,
        port=described.port,
        user=described.user or getpass.getuser(),
        identity_file=described.identity_file,
        known_hosts_file=described.known_hosts_file or KNOWN_HOSTS,
        connect_timeout=float(described.connect_timeout),
        silence=float(described.idle_timeout),
    )


@dataclass(frozen=True)
class HostKey:
    """A host's public key as it is shown and written."""

    kind: str
    text: str  # base64, as in a known_hosts file

    @property
    def fingerprint(self) -> str:
        """The key's SHA256 fingerprint as OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def known_keys(way: Way) -> tuple[HostKey, ...]:
    """Return the keys that the known_hosts file has for a host. ConfigError if the file cannot be read."""
    return _listed(way, "")


def revoked_keys(way: Way) -> tuple[HostKey, ...]:
    """Return the keys that the known_hosts file forbids for a host."""
    return _listed(way, "@revoked")


def _listed(way: Way, marker: str) -> tuple[HostKey, ...]:
    try:
        with open(way.known_hosts_file, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {way.known_hosts_file}: {error}") from error
    found = []
    for line in lines:
        parts = line.split()
        if marker and parts[:1] == [marker]:
            parts = parts[1:]
        elif marker or line.lstrip().startswith(("#", "@")):
            continue  # another marker: @cert-authority is not for keys as they are
        if len(parts) >= 3 and way.knows(parts[0]):
            found.append(HostKey(parts[1], parts[2]))
    return tuple(found)


def without(text: str, entry: str, *, keep: HostKey) -> str:
    """Return the text of a known_hosts file without a host's keys but one; other hosts' lines stay."""
    kept = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) >= 3 and not line.lstrip().startswith(("#", "@")):
            names = parts[0].split(",")
            left = [name for name in names if not _names(name, entry)]
            if left != names and parts[1:3] != [keep.kind, keep.text]:
                if left:
                    kept.append(" ".join((",".join(left), *parts[1:])))
                continue
        kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _names(pattern: str, entry: str) -> bool:
    if pattern.startswith("|1|"):  # HashKnownHosts: |1|salt|hash
        try:
            salt, digest = map(base64.b64decode, pattern.split("|")[2:4])
        except ValueError:
            return False
        return hmac.compare_digest(hmac.new(salt, entry.encode(), hashlib.sha1).digest(), digest)
    return pattern == entry
