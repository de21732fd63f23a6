"""Link manifests to their files again: those that Pulp's own command had unlinked when it was cut off.

Such a manifest has neither text nor link, and its file is still known by its digest, in the same domain,
until a cleanup of orphans takes it. A chunk of them is linked in one transaction. The key of a link is made
of `seed` and its manifest, so that exactly these links can be found again and taken back.

REQUEST: action (look, link, unlink), seed (a UUID), chunk (manifests in a transaction).
`look` only reads. Ends with 0: done · 3: some could not be · 4: a cleanup of orphans waits or runs ·
5: somebody prepares.
"""

import uuid

from django.db import DatabaseError, InterfaceError, OperationalError


def candidates():
    """Return those that can be linked, none where the columns are not there yet; each with `artifact_`."""
    left = todo(columns())
    return None if left is None else relinkable(left)


def files_of(rows):
    """Return {artifact: its file} of (manifest, digest, artifact)."""
    wanted = {artifact for _, _, artifact in rows}
    return dict(Artifact.objects.filter(pk__in=wanted).values_list("pk", "file"))


def look():
    """Name what can be linked; only reads."""
    with transaction.atomic():
        read_only()
        found = candidates()
        lost, gone, count = 0, 0, 0
        if found is not None:
            rows = list(found.order_by("pk").values_list("pk", "digest", "artifact_"))
            files = files_of(rows)
            for _, digest, artifact in rows:
                if is_there(files.get(artifact, "")):
                    count += 1
                    say("linkable", digest=digest, file=files[artifact])
                else:
                    gone += 1
            lost = sum(not row["has_data"] and row["file"] is None for row in kept_files(todo(columns())))
        say(
            "look",
            linkable=count,
            gone=gone,
            lost=lost - count - gone,
            preparing=preparing(),
            cleanups=cleanups(),
        )


def key(manifest):
    """Return the key of our link of a manifest."""
    return uuid.uuid5(uuid.UUID(REQUEST["seed"]), str(manifest))


def linked(pks):
    """Link these in one transaction; return how many, since some may have been done meanwhile."""
    with transaction.atomic():
        rows = list(candidates().filter(pk__in=pks).values_list("pk", "digest", "artifact_"))
        # whoever would delete one of these files now waits, and then finds it in use
        kept = set(
            Artifact.objects.select_for_update()
            .filter(pk__in={artifact for _, _, artifact in rows})
            .values_list("pk", flat=True)
        )
        files = files_of(rows)
        links = [
            ContentArtifact(pk=key(pk), content_id=pk, artifact_id=artifact, relative_path=digest)
            for pk, digest, artifact in rows
            if artifact in kept and is_there(files[artifact])
        ]
        ContentArtifact.objects.bulk_create(links)
    return len(links)


def link():
    """Link all that can be, chunk by chunk."""
    found, failed, done = candidates(), [], 0
    pks = [] if found is None else list(found.order_by("pk").values_list("pk", flat=True))
    size = max(1, REQUEST.get("chunk", 200))
    for start in range(0, len(pks), size):
        if cleanups():
            return ended("cleanup", done, failed)
        chunk = pks[start : start + size]
        try:
            done += linked(chunk)
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError:
            done += sum(alone(pk, failed) for pk in chunk)
    return ended("done", done, failed)


def alone(pk, failed):
    try:
        return linked([pk])
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as error:
        digest = Manifest.objects.filter(pk=pk).values_list("digest", flat=True).first()
        failed.append({"digest": digest, "why": f"{type(error).__name__}: {error}"[:300]})
        return 0


def own_links():
    """Return the keys of the links that were made with this seed, whoever asks and whenever."""
    links = ContentArtifact.objects.filter(
        relative_path__startswith="sha256:", content__in=Manifest.objects.all()
    )
    pairs = links.values_list("pk", "content_id").iterator(chunk_size=2000)
    return [pk for pk, content in pairs if pk == key(content)]


def unlink():
    """Take back exactly our links, chunk by chunk."""
    mine, size, done = own_links(), max(1, REQUEST.get("chunk", 200)), 0
    for start in range(0, len(mine), size):
        with transaction.atomic():
            _, counts = ContentArtifact.objects.filter(pk__in=mine[start : start + size]).delete()
        done += counts.get(ContentArtifact._meta.label, 0)
    return ended("done", done, [])


def ended(state, done, failed):
    left = candidates()
    say(
        "end",
        state=state,
        done=done,
        failed=failed[:200],
        failures=len(failed),
        linkable=0 if left is None else left.count(),
    )
    return {"cleanup": 4, "locked": 5}.get(state, 3 if failed else 0)


def act():
    if REQUEST["action"] == "look":
        return look()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(0, %s)", [LOCK])
        free = cursor.fetchone()[0]
    if not free:
        return ended("locked", 0, [])
    if cleanups():
        return ended("cleanup", 0, [])
    return link() if REQUEST["action"] == "link" else unlink()


raise SystemExit(act() or 0)
