"""Which hosts of the site are meant: a pattern of names, globs and labels, read strictly.

    PATTERN      = alternative { "," alternative }                any of them
    alternative  = term { "&" term | "&!" term | "!" term }       all of these, and not those
    term         = all | local | NAME | GLOB | LABEL=GLOB | registry=GLOB

Pure: nothing is asked of any host. Whatever names nothing is an error, and so is a result without a host:
a runbook that silently ran nowhere would be reported as done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ctl.errors import UsageError

if TYPE_CHECKING:
    from ctl.config.models import Site

ALL = "all"
LOCAL = "local"
REGISTRY = "registry"  # this key always means the registries of the site, never a label
_GLOB = re.compile(r"[*?\[]")
_PARTS = re.compile(r"(&\s*!|&|!)")
_FORMS = "a pattern is made of NAME, GLOB, LABEL=VALUE, registry=NAME, all, local, joined by `,` `&` `&!`"


@dataclass(frozen=True)
class Term:
    """One condition: `key` "" is a name, "registry" a registry, anything else a label."""

    key: str
    value: str  # a name or a glob
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.key else self.value


Alternative = tuple[Term, ...]  # all of them hold


def parse(pattern: str) -> tuple[Alternative, ...]:
    """Read a pattern; UsageError says which part of it is none."""
    return tuple(_alternative(part, pattern) for part in pattern.split(","))


def _alternative(text: str, pattern: str) -> Alternative:
    first, *rest = _PARTS.split(text)
    terms = [_term(first, pattern, negated=False)] if first.strip() else []
    if not terms and (not rest or rest[0].startswith("&")):
        raise UsageError(f"a part of the pattern {pattern!r} is empty", hint=_FORMS)
    for sign, value in zip(rest[::2], rest[1::2], strict=True):
        terms.append(_term(value, pattern, negated=sign != "&"))
    if all(term.negated for term in terms):
        raise UsageError(
            f"{text.strip()!r} in the pattern {pattern!r} says only which hosts are not meant",
            hint=f"write what they are taken from: all&{text.strip()}",
        )
    return tuple(terms)


def _term(text: str, pattern: str, *, negated: bool) -> Term:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not key or (equals and not value):
        raise UsageError(f"a part of the pattern {pattern!r} is empty", hint=_FORMS)
    return Term(key, value, negated) if equals else Term("", key, negated)


def select(site: Site, pattern: str) -> tuple[str, ...]:
    """Return the hosts that a pattern means, each once, in the order of the site.

    UsageError where a name, a label or a registry is not known, or where no host is left.
    """
    chosen: set[str] = set()
    for alternative in parse(pattern):
        left = set(site.hosts)
        for term in alternative:
            found = matching(site, term)
            left = left - found if term.negated else left & found
        chosen |= left
    if not chosen:
        raise UsageError(
            f"no host of the site is meant by {pattern!r}",
            hint=f"the site has {_listed(site.hosts)}; `regctl host list` shows their labels",
        )
    return tuple(name for name in site.hosts if name in chosen)


def matching(site: Site, term: Term) -> set[str]:
    """Return the hosts that one term means; UsageError where it names nothing that there is."""
    if term.key == REGISTRY:
        _demand_known("registry", term.value, [*site.registries, *site.pulps])
        hosts = {name: {node.host for node in registry.nodes} for name, registry in site.registries.items()}
        hosts |= {name: {node.host for node in pulp.nodes} for name, pulp in site.pulps.items()}
        return {host for name, found in hosts.items() if _is(name, term.value) for host in found}
    if term.key:
        return _labelled(site, term)
    if term.value not in site.hosts and term.value in (ALL, LOCAL):
        named = {name for name, host in site.hosts.items() if term.value == ALL or host.connection == LOCAL}
        if not named:
            raise UsageError("the site has no local host", hint=f"the site has {_listed(site.hosts)}")
        return named
    _demand_known("host", term.value, site.hosts, (ALL, LOCAL))
    return {name for name in site.hosts if _is(name, term.value)}


def _labelled(site: Site, term: Term) -> set[str]:
    values = {name: host.labels[term.key] for name, host in site.hosts.items() if term.key in host.labels}
    if not values:
        keys = sorted({key for host in site.hosts.values() for key in host.labels})
        raise UsageError(
            f"no host of the site has a label {term.key!r}", hint=_meant(term.key, keys, "labels")
        )
    found = {name for name, value in values.items() if _is(value, term.value)}
    if not found:
        known = sorted(set(values.values()))
        raise UsageError(
            f"no host of the site has the label {term}",
            hint=_meant(term.value, known, f"values of {term.key}"),
        )
    return found


def _is(name: str, wanted: str) -> bool:
    return name == wanted or fnmatchcase(name, wanted)


def _demand_known(kind: str, wanted: str, known: Iterable[str], more: tuple[str, ...] = ()) -> None:
    names = list(known)
    if any(_is(name, wanted) for name in names):
        return
    what = f"the site has no {kind} that matches" if _GLOB.search(wanted) else f"the site has no {kind}"
    raise UsageError(f"{what} {wanted!r}", hint=_meant(wanted, [*names, *more], "the site has"))


def _meant(wanted: str, known: list[str], what: str) -> str:
    near = get_close_matches(wanted, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{what}: {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
