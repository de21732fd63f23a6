"""What each version of distribution can do: one table, asked by name.

Every row was seen on a running 2.8.2 or 3.1.1, or read in their source. `database` and the like have no
row: this engine keeps no metadata database.
"""

from __future__ import annotations

from packaging.version import Version

_FIRST = Version("2.8")
_THREE = Version("3.0.0a1")  # alphas and candidates of 3.0 behave as 3.0 does

# name -> (first version that has it, first version that has it no more)
TABLE: dict[str, tuple[Version, Version | None]] = {
    "read-only": (_FIRST, None),  # storage.maintenance.readonly; every write answers 405
    "collects": (_FIRST, None),  # has garbage-collect, offline only
    "schema1-manifests": (_FIRST, _THREE),  # and the compatibility section
    "reporting": (_FIRST, _THREE),  # bugsnag and newrelic
    "quiet-option": (_THREE, None),  # an unknown option prints the usage and exits 0
    "keeps-index-children": (_THREE, None),  # 2.8 --delete-untagged deletes the children of tagged indexes
    "removes-layer-links": (_THREE, None),  # the collector also deletes layer links of a repository
    "needs-manifests-directory": (_THREE, None),  # finds repositories by _manifests; 2.8 by _layers
    "fails-on-schema1": (_THREE, None),  # one schema1 manifest left in storage stops every collection
    "fails-on-empty-layer-link": (_THREE, None),
    "atomic-links": (_THREE, None),  # link.<uuid>.tmp, then rename; 2.8 truncates in place
    "delete-by-tag": (_THREE, None),  # 2.8 answers 400 DIGEST_INVALID
    "pages-tags": (Version("3.1.0"), None),  # tags/list sorted, n and last honoured
    "redis-addrs": (_THREE, None),  # redis.addrs is a list; 2.8 has redis.addr
    "traces-by-default": (_THREE, None),  # OpenTelemetry, unless OTEL_TRACES_EXPORTER=none
    "sigint-drains": (_THREE, None),
    "names-repository-of-manifest": (_THREE, None),  # in the collector's output
}


def features(version: Version) -> dict[str, bool]:
    """Return the table at a version."""
    return {
        name: version >= since and (until is None or version < until)
        for name, (since, until) in TABLE.items()
    }
