"""`across` in a recipe's text: what may be wrong with it, and which hosts it means in a site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ctl.config.document import Mistake, Path
from ctl.config.mistakes import did_you_mean
from ctl.errors import RefusedError, UsageError
from ctl.fleet.select import Term, matching, parse, select
from ctl.recipes.names import Names
from ctl.recipes.parameters import Value, fill, references, whole_reference
from ctl.recipes.text import AcrossItem, Targets
from ctl.recipes.values import hosts_of

if TYPE_CHECKING:
    from ctl.config.models import Site

ROWS = "(rows)"  # among the loops around an item: it stands within an `across`; no parameter has this name
ROLE = "role"  # the label that says what a host is for
LIMITS = ("canary", "at_once", "max_fail")


class AcrossReader(Names):
    """Finds what is wrong with an `across`, without a site."""

    def across(self, item: AcrossItem, path: Path, loops: frozenset[str]) -> Iterator[Mistake]:
        """Yield what is wrong with its targets and limits; not with what is done."""
        if ROWS in loops:
            yield self.at((*path, "across"), "stands within another across: one row of hosts is all there is")
        elif "host" in loops:
            yield self.at(
                (*path, "across"), "stands within for_each: host, which gives $host a value already"
            )
        for key in LIMITS:
            yield from self._limit(getattr(item, key), key, (*path, key))
        targets, where = item.across, (*path, "across")
        plain = targets.model_dump(mode="json", exclude_none=True, exclude={"nodes"})
        yield from self.wrong_references(plain, where, loops)
        for number, pattern in enumerate(targets.hosts or ()):
            yield from self._pattern(pattern, (*where, "hosts", number))
        if targets.nodes is not None:
            named, known = whole_reference(targets.nodes) or "", self.model.with_nodes()
            if named not in known:
                what = f"must be a parameter of the type registry or pulp{did_you_mean(named, known)}"
                yield self.at((*where, "nodes"), what)

    def _limit(self, value: int | str, key: str, path: Path) -> Iterator[Mistake]:
        if value == 0 and key == "at_once":
            yield self.at(path, "must be at least 1")
        if isinstance(value, str):
            name = whole_reference(value) or ""
            parameter = self.model.parameters.get(name)
            if parameter is None:
                yield self.at(path, self.unknown(name, frozenset()) or "must be a whole number")
            elif parameter.type != "integer":
                yield self.at(path, f"takes no {parameter.type}, as {value} is one")
            elif parameter.may_be_absent:
                yield self.at(path, "must have a value, and this parameter may have none: give it a default")

    def _pattern(self, pattern: str, path: Path) -> Iterator[Mistake]:
        if references(pattern):
            return  # only the values say what it is
        try:
            parse(pattern)
        except UsageError as error:
            yield self.at(path, error.message)


def targets_of(targets: Targets, site: Site, values: Mapping[str, Value | None]) -> list[str]:
    """Return the hosts that are meant, in the order of the site.

    UsageError where a part of it names nothing in the site; RefusedError where nothing is left.
    """
    left = list(site.hosts)
    for found in _parts(targets, site, values):
        left = [name for name in left if name in found]
    if not left:
        raise RefusedError(
            "no host of the site is meant by all of this: " + _written(targets, values),
            hint="`regctl host list` shows the hosts with their labels",
        )
    return left


def _parts(targets: Targets, site: Site, values: Mapping[str, Value | None]) -> Iterator[set[str]]:
    if targets.hosts is not None:
        yield set(select(site, ",".join(str(fill(one, values)) for one in targets.hosts)))
    if targets.roles is not None:
        yield set().union(*(matching(site, Term(ROLE, str(fill(one, values)))) for one in targets.roles))
    for key, value in (targets.labels or {}).items():
        yield matching(site, Term(key, str(fill(value, values))))
    if targets.nodes is not None:
        yield set(hosts_of(site, str(fill(targets.nodes, values))))


def _written(targets: Targets, values: Mapping[str, Value | None]) -> str:
    plain: dict[str, Any] = fill(targets.model_dump(mode="json", exclude_none=True), values)
    return ", ".join(f"{key} {_words(value)}" for key, value in plain.items())


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={one}" for key, one in value.items())
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)
