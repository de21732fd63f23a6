"""Bring back the rows of a copy: what preparing changed is then as it was before.

REQUEST: action (compare, restore), folder, name (of the copy), chunk (manifests in a transaction), partial
(restore what can be restored, and leave the rest). The copy is read to its last byte and compared before the
first row is written. TERM, HUP and INT let the chunk end; done again, what is as before is passed over.
Answers "progress" and one line "restore"; or "refused", and exit code 3: then nothing was changed.
"""

import signal
from datetime import datetime

told = []  # signals that asked it to stop
LOST = ("artifact-gone", "file-missing", "linked-otherwise")  # what cannot be brought back


def verdict(row, now, links, artifacts):
    """Say what would become of a row: as-before, restorable, gone, or why it cannot be restored."""
    if now is None or now["digest"] != row["digest"]:
        return "gone"
    there = {link["path"]: link["sha256"] for link in links}
    missing = [link for link in row["links"] if link["path"] not in there]
    filed = [link for link in row["links"] if link["artifact"]]
    if any(there.get(link["path"], link["sha256"]) != link["sha256"] for link in filed):
        return "linked-otherwise"
    if not missing and all(now[name] == value for name, value in row["fields"].items()):
        return "as-before"
    for link in filed:
        sha256, file = artifacts.get(link["artifact"], ("", ""))
        if sha256 != link["sha256"]:
            return "artifact-gone"
        if not is_there(file):
            return "file-missing"
    return "restorable"


def judged(rows, known):
    """Yield (row, verdict, its missing links) for some rows."""
    fields = [field.name for field in plain(known)]
    strange = set(rows[0]["fields"]) - set(fields)
    if strange:
        raise Refused(
            f"the copy has fields that this release has not: {', '.join(sorted(strange))}",
            "install the release that wrote it",
        )
    pks = [row["pk"] for row in rows]
    found = Manifest.objects.filter(pk__in=pks).values("pk", "digest", *fields)
    now = {str(one["pk"]): one for one in found}
    links = linked(pks)
    wanted = {link["artifact"] for row in rows for link in row["links"] if link["artifact"]}
    there = Artifact.objects.filter(pk__in=wanted).values_list("pk", "sha256", "file")
    artifacts = {str(pk): (sha256, file) for pk, sha256, file in there}
    for row in rows:
        mine = links[row["pk"]]
        paths = {link["path"] for link in mine}
        missing = [link for link in row["links"] if link["path"] not in paths]
        yield row, verdict(row, now.get(row["pk"]), mine, artifacts), missing


def copied(size):
    """Yield the rows of the copy that is meant, so many at a time; Refused where it is another Pulp's."""
    rows = rows_of(path_of(REQUEST["name"]))
    header = next(rows)
    if header["pulp"] != identity():
        raise Refused(
            f"the copy {REQUEST['name']} is another Pulp's", "its header names that Pulp's database"
        )
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def compared():
    """Return the copy's header and how many of its rows have which verdict; the copy is read to its end."""
    header, counts, samples, known = checked(path_of(REQUEST["name"])), {}, {}, columns()
    for rows in copied(1000):
        for row, word, _ in judged(rows, known):
            counts[word] = counts.get(word, 0) + 1
            if len(samples.setdefault(word, [])) < 20:
                samples[word].append(row["digest"])
    return header, counts, samples


def compare():
    with transaction.atomic():
        read_only()
        header, counts, samples = compared()
    samples.pop("as-before", None)
    samples.pop("restorable", None)
    say("restore", counts=counts, samples=samples, installed=versions(), header=header)


def put_back(rows, known):
    """Restore the rows that can be, in one transaction; return how many that were."""
    fields, done = plain(known), 0
    with transaction.atomic():
        pks = [row["pk"] for row in rows]
        now = {str(one.pk): one for one in Manifest.objects.select_for_update().filter(pk__in=pks)}
        changed, links = [], []
        for row, word, missing in judged(rows, known):
            if word != "restorable":
                continue
            manifest, done = now[row["pk"]], done + 1
            for name, value in row["fields"].items():
                setattr(manifest, name, value)
            changed.append(manifest)
            links += [(row["pk"], link) for link in missing]
        made = []
        for pk, link in links:
            made.append(ContentArtifact(pk=link["pk"], content_id=pk, artifact_id=link["artifact"]))
            made[-1].relative_path = link["path"]
        ContentArtifact.objects.bulk_create(made)
        for one, (_, link) in zip(made, links):  # noqa: B905 - Pulp sets its own times on what is new
            one.pulp_created = datetime.fromisoformat(link["created"])
            one.pulp_last_updated = link["updated"] and datetime.fromisoformat(link["updated"])
        ContentArtifact.objects.bulk_update(made, ["pulp_created", "pulp_last_updated"])
        names_ = [field.name for field in fields if field.name in (rows[0]["fields"])]
        Manifest.objects.bulk_update(changed, names_)
    return done


def locked():
    """Keep out whoever prepares; False where that one is at work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(0, %s)", [LOCK])
        return cursor.fetchone()[0]


def refuse_partly(counts, samples):
    """Raise Refused where something cannot be brought back, and only a part was not asked for."""
    lost = {word: counts[word] for word in LOST if counts.get(word)}
    if lost and not REQUEST.get("partial"):
        words = ", ".join(f"{count} {word}" for word, count in lost.items())
        first = next(samples[word][0] for word in lost)
        raise Refused(
            f"not all of it can be brought back: {words}; the first is {first}",
            "--partial brings back the others",
        )


def restore():
    if not locked():
        raise Refused("somebody prepares or restores content there now", "let it end: regctl content status")
    if cleanups():
        raise Refused(
            "a cleanup of orphans waits or runs, which may delete files that are to be linked again",
            "wait until it is done: regctl content status",
        )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    header, counts, samples = compared()
    refuse_partly(counts, samples)
    known, done, seen, began = columns(), 0, 0, time.monotonic()
    for rows in copied(REQUEST.get("chunk", 200)):
        if told:
            break
        done += put_back(rows, known)
        seen += len(rows)
        say("progress", done=seen, left=header["rows"] - seen, seconds=round(time.monotonic() - began, 3))
    with transaction.atomic():
        read_only()
        _, counts, samples = compared()
    left = counts.get("restorable", 0)
    lost = {word: counts[word] for word in LOST if counts.get(word)}
    say("restore", done=done, left=left, counts=counts, lost=lost, stopped=bool(told), header=header)


raise SystemExit(answered({"compare": compare, "restore": restore}))
