"""A restorable copy of the rows that preparing changes, written before it begins.

REQUEST: action (look, write, list, forget), folder, name (of the copy), room (bytes that must stay free).
Answers one line "keep"; or "refused" with a message and a hint, and exit code 3: then nothing was changed.
"""


def batches(pks, size):
    for begin in range(0, len(pks), size):
        yield pks[begin : begin + size]


def affected(left, known):
    """Yield a row for each manifest that is left to do."""
    fields = [field.name for field in plain(known)]
    for pks in batches(list(left.order_by("pk").values_list("pk", flat=True)), 1000):
        links = linked(pks)
        for values in Manifest.objects.filter(pk__in=pks).order_by("pk").values("pk", "digest", *fields):
            pk, digest = str(values.pop("pk")), values.pop("digest")
            yield {"pk": pk, "digest": digest, "fields": values, "links": links[pk]}


def look():
    known = columns()
    left = todo(known)
    lost = 0 if left is None else relinkable(left).count()
    say("keep", cleanups=cleanups(), relinkable=lost, **kept(left, known))


def write():
    path, known = path_of(REQUEST["name"]), columns()
    if os.path.exists(path):
        say("keep", path=path, found=True, bytes=os.path.getsize(path), **checked(path))
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        left = todo(known)
        if left is None or not left.exists():
            say("keep", path="", found=False, rows=0, bytes=0)
            return
        (free, writable), wanted = room(), needed(left, known) + REQUEST.get("room", 0)
        hint = "name another folder as content.keep_folder of this Pulp in the site"
        if not writable:
            raise Refused(f"{folder()} cannot be written by this user", hint)
        if free < wanted:
            raise Refused(f"{folder()} has {free} bytes free, and a copy may take {wanted}", hint)
        header = {"format": FORMAT, "what": "regctl-content", "name": REQUEST["name"], "pulp": identity()}
        header |= {"versions": versions(), "database": settings.DATABASES["default"].get("NAME", "")}
        header |= {"made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        header, path = whole_or_not_at_all(REQUEST["name"], header, affected(left, known))
    say("keep", path=path, found=False, bytes=os.path.getsize(path), **header)


def listed():
    found = []
    for name in names():
        path = path_of(name)
        one = {"name": name, "path": path, "bytes": os.path.getsize(path), "damaged": ""}
        try:
            one |= {key: value for key, value in checked(path).items() if key not in ("name", "rows_sha256")}
        except Refused as error:
            one["damaged"] = str(error)
        found.append(one)
    say("keep", folder=folder(), copies=found)


def forget():
    path = path_of(REQUEST["name"])
    try:
        size = os.path.getsize(path)
        os.unlink(path)
    except FileNotFoundError:
        size = None
    say("keep", path=path, bytes=size)


raise SystemExit(answered({"look": look, "write": write, "list": listed, "forget": forget}))
