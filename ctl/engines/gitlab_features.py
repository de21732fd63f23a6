"""What each version of GitLab's registry can do, and with which metadata: one table, asked by name.

Rows are from the program's change log; what is marked so was seen on 4.32 running.
"""

from __future__ import annotations

from packaging.version import Version

from ctl.engines.features import Feature

FILESYSTEM, DATABASE = "filesystem", "database"
_BOTH = (FILESYSTEM, DATABASE)


TABLE: tuple[Feature, ...] = (
    Feature("read-only", "3.0.0", "every write answers 405", seen=True),
    Feature("collects", "3.0.0", "offline garbage-collect", (FILESYSTEM,), seen=True),
    Feature("online-gc", "3.0.0", "garbage is freed while it serves", (DATABASE,), seen=True),
    Feature("delete-by-tag", "3.0.0", "DELETE of a tag", seen=True),
    Feature("metadata-database", "3.0.0", "the record in PostgreSQL", (DATABASE,), seen=True),
    Feature("import", "3.69.0", "database import in one step or three", (FILESYSTEM,), seen=True),
    Feature("import-tag-concurrency", "3.88.0", "database import --tag-concurrency", (FILESYSTEM,)),
    Feature("import-guards-tags", "4.7.0", "import stops at a filled tags table", (FILESYSTEM,), seen=True),
    Feature("import-statistics", "4.25.0", "an import leaves a row of figures", (FILESYSTEM,), seen=True),
    Feature("import-skips-recent", "4.28.0", "--pre-import-skip-recent", (FILESYSTEM,), seen=True),
    Feature("import-log-directory", "4.31.0", "--log-directory", (FILESYSTEM,)),
    Feature("import-sets-locks", "4.32.0", "import keeps both lock files, flag or no flag", seen=True),
    Feature("filesystem-lock", "4.11.0", "filesystem-in-use", seen=True),
    Feature("checks-both-locks", "4.31.0", "no start with both lock files", seen=True),
    Feature("locks-by-default", "4.29.0", "lock files count without the flag", until="4.32.0"),
    Feature("prefer", "4.31.0", "database.enabled: prefer", _BOTH, seen=True),
    Feature("separate-primary", "3.87.0", "database.primary for migrations", (DATABASE,)),
    Feature("load-balancing", "4.6.0", "database.loadbalancing", (DATABASE,)),
    Feature("background-migrations", "4.9.0", "background-migrate", (DATABASE,), seen=True),
    Feature("skips-post-by-environment", "4.17.0", "SKIP_POST_DEPLOYMENT_MIGRATIONS", seen=True),
    Feature("dynamic-media-types", "4.4.0", "unknown media types are recorded", (DATABASE,), seen=True),
    Feature("statistics-api", "4.20.0", "GET /gitlab/v1/statistics/", _BOTH, seen=True),
    Feature("rename", "4.4.0", "PATCH /gitlab/v1/repositories/", (DATABASE,)),
    Feature("rate-limiter", "4.22.0", "rate_limiter"),
    Feature("database-metrics", "4.27.0", "database.metrics", (DATABASE,)),
    Feature("s3-v2", "4.20.0", "the storage driver s3_v2"),
    Feature("azure-v2", "4.15.0", "the storage driver azure_v2"),
    Feature("schema1-manifests", "2.0.0", "images of Docker before 1.10", until="3.0.0"),
    Feature("keeps-index-children", "3.0.0", "-m keeps the children of a tagged index", (FILESYSTEM,)),
    Feature("needs-manifests-directory", "3.0.0", "a repository is a folder with _manifests", seen=True),
    Feature("names-repository-of-manifest", "3.0.0", "in the collector's output", (FILESYSTEM,), seen=True),
)


def features(version: Version) -> dict[str, bool]:
    """Return the table at a version."""
    return {feature.name: feature.at(version) for feature in TABLE}
