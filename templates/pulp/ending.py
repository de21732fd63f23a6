"""What a program that prepares content ends with: its cache, what is left and why, its last word."""


def flush():
    """Empty Pulp's cache of what it serves, as its own command does at its end; return why it could not."""
    from pulp_container.app.models import ContainerDistribution
    from pulpcore.plugin.cache import SyncContentCache

    if not getattr(settings, "CACHE_ENABLED", False):
        return ""
    paths = list(ContainerDistribution.objects.values_list("base_path", flat=True))
    try:
        if paths:
            SyncContentCache().delete(base_key=paths)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def bare(manifests):
    """Return how many have neither text nor file."""
    own = ContentArtifact.objects.filter(content=OuterRef("pk"), artifact__isnull=False)
    without = Q(data__isnull=True) | Q(data="")
    return manifests.filter(without, ~Exists(own)).count()


def leftovers(failed, limit=200):
    """Return the manifests that are still left, each with the reason; the first so many."""
    known = columns()
    runner = command()
    found = []
    for row in kept_files(todo(known)):
        if len(found) >= limit:
            break
        why = hindrance(row) or failed.get(row["pk"]) or tried(runner, row["pk"])
        why = why or "Pulp's own code passed it over"
        found.append({"pk": row["pk"], "digest": row["digest"], "why": why})
    return found


def end(work, state, why):
    """Say how it ended, and leave with the exit code that stands for it."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it is over: what it says must be said whole
    remaining, cache, left = None, "", []
    if state in ("done", "stopped", "busy"):
        try:
            remaining = todo(columns()).count()
            left = leftovers(work.failed) if state == "done" and remaining else []
            cache = flush() if work.done else ""
        except AWAY as error:
            state, why = "away", f"{type(error).__name__}: {error}".strip()[:300]
    part_from_app()
    say(
        "end", state=state, why=why, remaining=remaining, cache=cache, leftovers=left, **work.facts(last=True)
    )
    codes = {"failed": 1, "locked": 5, "busy": 5, "stopped": 6, "away": 7}
    raise SystemExit(codes.get(state, 3 if remaining else 0))
