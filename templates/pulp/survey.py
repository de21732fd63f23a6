"""How one Pulp stands: what is installed, what is pending, what is left to do, how long it will take.

Only reads: all questions stand in one read-only transaction. REQUEST: sample (manifests that are rehearsed to
learn this machine's speed), chunk (how many will be written at once), files (whether each file that will be
opened is looked for), folder (where copies of rows would be kept; "": below Pulp's own).
"""

import contextlib

from django.db.models.deletion import Collector


def left_to_apply():
    """Return the migrations that `migrate` would apply; raises where it would refuse."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    executor.loader.check_consistent_history(connection)
    return pending(executor)


def named(known):
    """Return how many manifests each pre-migration still has to do."""
    return {name: Manifest.objects.filter(left).count() for name, left in needs(known).items()}


FIELDS = {
    "annotations",
    "labels",
    "is_bootable",
    "is_flatpak",
    "data",
    "type",
    "os",
    "architecture",
    "compressed_image_size",
}  # that Pulp's own command writes


def rehearse(runner, pks, chunk):
    """Do all of the work on some manifests but what changes anything.

    Their fields are computed; what hangs on their links is looked up, as it is before one is dropped; one
    more question stands for dropping it; and the statement that writes a chunk is built, and not sent.
    """
    done = []
    for pk in pks:
        manifest = Manifest.objects.get(pk=pk)
        had_data = bool(manifest.data)
        with contextlib.suppress(Exception):
            compute(runner, manifest)
        if not had_data:
            Collector(using=connection.alias).collect(ContentArtifact.objects.filter(content=manifest))
            Manifest.objects.filter(pk=pk).exists()
        done.append(manifest)
    fields = sorted(FIELDS & {field.name for field in Manifest._meta.local_concrete_fields})
    began = time.monotonic()
    whole = (done * (chunk // len(done) + 1))[:chunk]  # how long one row takes depends on how many there are
    Manifest.objects.none().bulk_update(whole, fields)
    return (time.monotonic() - began) / chunk


def pace(manifests, count, chunk):
    """Return (seconds for one manifest, how many were rehearsed): spread over all of them."""
    pks = list(manifests.order_by("pk").values_list("pk", flat=True))
    runner = command()
    if not pks or runner is None or not count:
        return None, 0
    step = max(1, len(pks) // count)
    chosen = pks[::step][:count]
    rehearse(runner, chosen[:1], 1)  # the first one loads what all of them need
    began = time.monotonic()
    built = rehearse(runner, chosen, chunk)
    return (time.monotonic() - began - built * chunk) / len(chosen) + built, len(chosen)


def survey():
    """Answer everything."""
    startup = age()
    facts = {"versions": versions(), "mode": mode(), "cache": bool(getattr(settings, "CACHE_ENABLED", False))}
    facts["domains"] = bool(getattr(settings, "DOMAIN_ENABLED", False))
    with transaction.atomic():
        read_only()
        known = columns()
        facts["total"] = Manifest.objects.count()
        left = todo(known)
        facts["columns"] = sorted({"labels", "data", "type"} & known)
        facts["named"] = named(known)
        facts["remaining"] = None if left is None else left.count()
        facts["hindered"] = {} if left is None else hindered(left, files=REQUEST.get("files", True))
        facts["relinkable"] = 0 if left is None else relinkable(left).count()
        facts["cleanups"] = cleanups()
        facts["kept"] = kept(left, known)
        whole = known == {field.name for field in Manifest._meta.local_concrete_fields}
        seconds, count = None, 0
        if left is not None and whole:
            seconds, count = pace(left, REQUEST.get("sample", 0), REQUEST.get("chunk", 200))
        facts["preparing"] = preparing()
    facts["sampled"], facts["seconds_each"] = count, seconds
    try:
        facts["pending"], facts["history"] = left_to_apply(), ""
    except Exception as error:
        facts["pending"], facts["history"] = [], f"{type(error).__name__}: {error}"[:500]
    say("survey", startup=round(startup, 3), **facts)


survey()
