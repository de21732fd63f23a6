"""What would happen on many hosts, told once where it is the same on all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ctl.recipes.model import Preview

_ROW = re.compile(r"\[([^\]]+)\] ")  # what `checks.preview` puts before the title of a row's step


def told_once(previews: Sequence[Preview]) -> Iterator[Preview]:
    """Yield previews in their order; of hosts that get the same but for their name, only the first one's.

    The others are named in one line after it. A host with anything of its own is shown whole: what is left
    out can be read off what is shown. Previews outside of rows are passed on as they are.
    """
    groups = [(host, list(group)) for host, group in groupby(previews, _host)]
    alike: dict[str, list[str]] = {}
    for host, group in groups:
        if host:
            alike.setdefault(_without_name(host, group), []).append(host)
    for host, group in groups:
        others = alike[_without_name(host, group)] if host else []
        if others and others[0] != host:
            continue
        yield from group
        if len(others) > 1:
            changes = any(one.changes for one in group)
            more = ", ".join(others[1:])
            yield Preview(f"the same on {len(others) - 1} more, each with its own name: {more}", changes)


def _host(preview: Preview) -> str:
    found = _ROW.match(preview.title)
    return found.group(1) if found else ""


def _without_name(host: str, group: Sequence[Preview]) -> str:
    """Return what a host's previews say, its own name left out; the figures for machines apart."""
    said = "\n".join(repr(replace(one, data={})) for one in group)
    return re.sub(rf"(?<![A-Za-z0-9_]){re.escape(host)}(?![A-Za-z0-9_])", "\0", said)
