"""Copies of rows as files: gzip, JSON lines, first a header, then a line for each manifest.

A line has a manifest's fields and its links to files. The header holds the count of the lines, their checksum
and a checksum of itself. REQUEST: folder ("": below Pulp's own).
"""

import gzip
import hashlib
import zlib

SUFFIX = ".jsonl.gz"
ROW = 2048  # bytes that a row with its links takes at most, uncompressed, its text left aside
FORMAT = 1


class Refused(Exception):  # noqa: N818 - an answer, no failure
    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


def answered(actions):
    """Do what REQUEST asks; a refusal is an answer of its own, and exit code 3."""
    try:
        return actions[REQUEST["action"]]() or 0
    except Refused as error:
        say("refused", message=str(error), hint=error.hint)
        return 3


# -- the files ------------------------------------------------------------------------------------


def folder():
    """Return where copies are kept."""
    given = REQUEST.get("folder")
    own = getattr(settings, "DEPLOY_ROOT", None) or settings.WORKING_DIRECTORY
    return str(given or os.path.join(str(own), "regctl-content"))


def path_of(name):
    if not name or os.path.basename(name) != name or name.startswith("."):
        raise Refused(f"{name!r} is no name of a copy", "regctl content copies lists them")
    return os.path.join(folder(), name + SUFFIX)


def names():
    try:
        found = os.listdir(folder())
    except FileNotFoundError:
        return []
    return sorted(one[: -len(SUFFIX)] for one in found if one.endswith(SUFFIX) and not one.startswith("."))


def room():
    """Return (bytes that are free where copies are kept, whether this user may write there)."""
    place = folder()
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize, os.access(place, os.W_OK | os.X_OK)


def sealed(header):
    """Return a header with the checksum of itself."""
    text = json.dumps({key: one for key, one in header.items() if key != "sha256"}, sort_keys=True)
    return {**header, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def rows_of(path):
    """Yield a copy's header, then its rows; Refused at the latest behind the last where it is not whole."""
    digest, count, header = hashlib.sha256(), 0, None
    try:
        with gzip.open(path, "rb") as stream:
            header = json.loads(stream.readline())
            if header["format"] != FORMAT or sealed(header) != header:
                raise ValueError("its header is not as it was written")
            yield header
            for line in stream:
                digest.update(line)
                count += 1
                yield json.loads(line)
        if (count, digest.hexdigest()) != (header["rows"], header["rows_sha256"]):
            raise ValueError("its rows are not as they were written")
    except FileNotFoundError:
        raise Refused(f"there is no copy {path}", "regctl content copies lists them") from None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"the copy {path} is damaged: {error}", "nothing of it is used; take another one"
        ) from None


def checked(path):
    """Return the header of a copy that is whole, to its last byte."""
    rows = rows_of(path)
    header = next(rows)
    for _ in rows:
        pass
    return header


def flushed(stream):
    stream.flush()
    os.fsync(stream.fileno())


def created(path):
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def whole_or_not_at_all(name, header, rows):
    """Write a copy: the rows aside, then header and rows under another name, then its own name."""
    os.makedirs(folder(), mode=0o700, exist_ok=True)
    path = path_of(name)
    for left in os.listdir(folder()):
        if left.startswith(f".{name}."):
            os.unlink(os.path.join(folder(), left))  # of an attempt that was cut off
    aside, fresh = (os.path.join(folder(), f".{name}.{part}") for part in ("rows", "new"))
    digest, count = hashlib.sha256(), 0
    try:
        with (
            created(aside) as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, filename="") as out,
        ):
            for row in rows:
                line = json.dumps(row, default=str).encode() + b"\n"
                digest.update(line)
                count += 1
                out.write(line)
        header = sealed({**header, "rows": count, "rows_sha256": digest.hexdigest()})
        with created(fresh) as out:
            out.write(gzip.compress(json.dumps(header, sort_keys=True).encode() + b"\n"))
            with open(aside, "rb") as source:
                while piece := source.read(1 << 20):
                    out.write(piece)
            flushed(out)
        checked(fresh)  # read back: what cannot be read is no copy
        os.rename(fresh, path)
        descriptor = os.open(folder(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        for left in (aside, fresh):
            if os.path.exists(left):
                os.unlink(left)
    return header, path


# -- the rows -------------------------------------------------------------------------------------


def identity():
    """Return what tells this Pulp from another one: it goes with its database wherever that is moved."""
    from pulpcore.app.models import Domain

    return str(Domain.objects.get(name="default").pk)


def plain(known):
    """Return the fields that are no relation, without the digest: what preparing may change."""
    fields = [field for field in Manifest._meta.local_concrete_fields if field.name in known]
    return [field for field in fields if not field.is_relation and field.name != "digest"]


def linked(pks):
    """Return {manifest: its links to files}."""
    found = {str(pk): [] for pk in pks}
    names_ = ("pk", "content_id", "artifact_id", "artifact__sha256", "relative_path", "pulp_created")
    links = ContentArtifact.objects.filter(content__in=pks).order_by("pk")
    for pk, content, artifact, sha256, path, born, touched in links.values_list(*names_, "pulp_last_updated"):
        row = {"pk": str(pk), "artifact": artifact and str(artifact), "sha256": sha256, "path": path}
        row |= {"created": born.isoformat(), "updated": touched and touched.isoformat()}
        found[str(content)].append(row)
    return found


def needed(left, known):
    """Return how many bytes a copy of these manifests takes at most."""
    from django.db.models import Sum
    from django.db.models.functions import Length

    text = left.aggregate(all_=Sum(Length("data")))["all_"] or 0 if "data" in known else 0
    return left.count() * ROW + 2 * text


def kept(left, known):
    """Return where a copy of these manifests would be, and what there is of room for it."""
    (free, writable), rows = room(), 0 if left is None else left.count()
    facts = {"folder": folder(), "free": free, "writable": writable, "rows": rows}
    return {**facts, "needed": needed(left, known) if rows else 0}
