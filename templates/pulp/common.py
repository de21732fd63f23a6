"""What each question to Pulp begins with. It runs inside `pulpcore-manager shell`, as the user of that Pulp.

REQUEST, a mapping, is set before it. An answer is a line of JSON with the key "regctl"; every other line is
Pulp's own. Only Pulp's models and its own commands are used: no table is touched by our idea of it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import time

from django.conf import settings  # noqa: F401 - used by what follows
from django.db import connection, transaction  # noqa: F401 - as above
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.functions import Substr
from pulp_container.app.models import Manifest
from pulp_container.constants import MEDIA_TYPE
from pulpcore.app.models import Artifact, ContentArtifact

COMMAND = "pulp_container.app.management.commands.container-handle-image-data"
LISTS = (MEDIA_TYPE.MANIFEST_LIST, MEDIA_TYPE.INDEX_OCI)
CLEANUP = "pulpcore.app.tasks.orphan.orphan_cleanup"
WAITING = ("waiting", "running", "canceling")
LOCK = 0x72656763  # of PostgreSQL's advisory locks: whoever prepares content holds it


def say(kind, **facts):
    """Answer one line."""
    print(json.dumps({"regctl": kind, **facts}, default=str), flush=True)


def age():
    """Return how many seconds this process is old: what a start of Pulp's manager costs."""
    with open("/proc/self/stat", "rb") as stream:
        ticks = int(stream.read().rpartition(b")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def versions():
    """Return what is installed, by Pulp's own names of its parts."""
    found = {}
    for part, package in (("core", "pulpcore"), ("container", "pulp-container")):
        try:
            found[part] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[part] = ""
    return found


def columns():
    """Return the columns of a manifest that both the code and the database have."""
    with connection.cursor() as cursor:
        table = connection.introspection.get_table_description(cursor, Manifest._meta.db_table)
    stored = {column.name for column in table}
    return {field.name for field in Manifest._meta.local_concrete_fields if field.column in stored}


def needs(known):
    """Return {pre-migration: which manifests it still has to do}, where these columns make it possible."""
    found = {}
    if "data" not in known:
        return found
    without = Q(data__isnull=True) | Q(data="")
    plain = Q(annotations={}, labels={})
    found["artifactless-manifests"] = without
    found["image-nature"] = without & plain
    if {"type", "architecture", "os", "compressed_image_size"} <= known:
        found["image-nature"] = without & plain & Q(type__isnull=True)
        bare = Q(architecture__isnull=True, os__isnull=True, compressed_image_size__isnull=True)
        found["image-details"] = Q(type__isnull=True) | (~Q(media_type__in=LISTS) & bare)
    return found


def todo(known):
    """Return the manifests that are left to do; None where the columns for it are not there yet."""
    wanted = Q(pk__in=[])
    for one in needs(known).values():
        wanted |= one
    return Manifest.objects.filter(wanted) if "data" in known else None


def command():
    """Return Pulp's own command object; None where this version has none."""
    try:
        found = importlib.import_module(COMMAND).Command()
    except ModuleNotFoundError:
        return None
    found._broken_manifests = []  # 2.26 fills it where it prints what it passed over
    return found


def mode():
    """Say how it can be prepared: in chunks, by the whole command in one transaction, or not at all."""
    found = command()
    if found is None:
        return "none"
    parts = ("update_manifests", "init_manifest")
    return "chunks" if all(hasattr(found, part) for part in parts) else "whole"


def domain_of(model):
    """Return the name of a model's field for its domain, "" where this version has none."""
    names = {field.name for field in model._meta.concrete_fields}
    return next((name for name in ("pulp_domain", "_pulp_domain") if name in names), "")


def same_domain(model, outer):
    """Return a condition: an inner row is of the same domain as the outer one."""
    inner = domain_of(model)
    return Q(**{inner: OuterRef(domain_of(outer))}) if inner and domain_of(outer) else Q()


def kept_files(manifests):
    """Yield a row for each manifest: which files it is read from, and what of them the database has lost."""
    own = ContentArtifact.objects.filter(content=OuterRef("pk"), artifact__isnull=False)
    config = ContentArtifact.objects.filter(content=OuterRef("config_blob"), artifact__isnull=False)
    rows = manifests.annotate(
        file_=Subquery(own.values("artifact__file")[:1]),
        config_file_=Subquery(config.values("artifact__file")[:1]),
    )
    names = ("pk", "digest", "media_type", "data", "config_blob", "file_", "config_file_")
    for row in rows.order_by("pk").values_list(*names).iterator(chunk_size=2000):
        pk, digest, media_type, data, blob, file, config_file = row
        yield {
            "pk": str(pk),
            "digest": digest,
            "media_type": media_type,
            "has_data": bool(data),
            "file": file,
            "needs_config": blob is not None,
            "config_file": config_file,
        }


def is_there(name, known={}):  # noqa: B006 - remembers what it was asked before
    """Say whether a stored file is there and not empty, as Pulp's own storage tells."""
    if name not in known:
        storage = Artifact._meta.get_field("file").storage
        try:
            known[name] = storage.size(name) > 0 and _readable(storage, name)
        except OSError:
            known[name] = False
    return known[name]


def _readable(storage, name):
    try:
        return os.access(storage.path(name), os.R_OK)
    except NotImplementedError:
        return True  # an object store: what it lists it also gives


def hindrance(row, *, files=True):
    """Say why a manifest cannot be done, "" where nothing is known to stand in the way.

    Without `files` only the database is asked, and a file that it names counts as there.
    """
    if not row["has_data"] and row["file"] is None:
        return "lost"
    if files and not row["has_data"] and not is_there(row["file"]):
        return "manifest-file-missing"
    if row["needs_config"] and row["config_file"] is None:
        return "config-not-stored"
    if files and row["needs_config"] and not is_there(row["config_file"]):
        return "config-file-missing"
    return ""


def hindered(manifests, *, files=True):
    """Count the manifests that cannot be done, by their reason."""
    found = {}
    for row in kept_files(manifests):
        why = hindrance(row, files=files)
        if why:
            found[why] = found.get(why, 0) + 1
    return found


def relinkable(manifests):
    """Return those that have neither text nor file, and whose file is still known by its digest."""
    linked = ContentArtifact.objects.filter(content=OuterRef("pk"))
    # cut off on this side, so that an index finds the file
    left = Artifact.objects.filter(
        same_domain(Artifact, Manifest), sha256=Substr(OuterRef("digest"), len("sha256:") + 1)
    )
    without = Q(digest__startswith="sha256:") & (Q(data__isnull=True) | Q(data=""))
    return manifests.filter(without, ~Exists(linked), Exists(left)).annotate(
        artifact_=Subquery(left.values("pk")[:1])
    )


def read_only():
    """Keep the rest of the transaction from writing: a promise that PostgreSQL keeps for us."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")


def compute(runner, manifest):
    """Compute a manifest's fields in memory by Pulp's own code.

    Nothing is saved and no link is dropped, which Pulp's own `init_manifest` does at once.
    """
    from pulp_container.app.utils import get_content_data

    if not manifest.data:
        data, raw = get_content_data(manifest._artifacts.get())
        manifest.data = raw.decode("utf-8")
        if not (manifest.annotations or manifest.labels or getattr(manifest, "type", None)):
            manifest.init_metadata(data)
    if hasattr(manifest, "type") and not manifest.type:
        manifest.init_image_nature()
    if hasattr(runner, "needs_os_arch_size_update") and runner.needs_os_arch_size_update(manifest):
        runner.init_manifest_os_arch_size(manifest)


def tried(runner, pk):
    """Compute a manifest's fields in memory; return what went wrong, "" if nothing."""
    try:
        compute(runner, Manifest.objects.get(pk=pk))
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def cleanups():
    """Return how many cleanups of orphans wait or run."""
    from pulpcore.app.models import Task

    return Task.objects.filter(name=CLEANUP, state__in=WAITING).count()


def preparing():
    """Say whether somebody holds the lock of whoever prepares this Pulp's content."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s "
            "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LOCK],
        )
        return cursor.fetchone()[0] > 0


def pending(executor):
    """Return what `migrate` would apply, in order, as Django's own executor says."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, backwards in plan if not backwards]
