"""Prepare one Pulp's content: what is left, in small transactions, through Pulp's own code.

A chunk is done or not begun, whatever ends this process: kill -9, a power cut, PostgreSQL going away. TERM,
HUP and INT let the chunk end. While it works it is a running task of Pulp that holds what a cleanup of
orphans needs, so that no cleanup deletes the files that a restore would want back; where this process is
killed Pulp frees that by itself.

REQUEST: chunk (manifests in a transaction), rate (manifests a second, 0: as fast as it goes), load (the load
average above which it rests, 0: never), patience (seconds that PostgreSQL may stay away), hold (whether
cleanups are held off).
Ends with 0: nothing is left to do · 3: something could not be done · 5: another one works · 6: told to stop ·
7: PostgreSQL stayed away.
"""

import signal
import sys
import types

from django.db import InterfaceError, OperationalError

told = []  # signals that asked it to stop


def stop(number, frame):
    told.append(number)


def rest(seconds):
    """Sleep, but not on when told to stop."""
    until = time.monotonic() + seconds
    while not told and (left := until - time.monotonic()) > 0:
        time.sleep(min(0.2, left))


class Work:
    """What is left, and what became of it."""

    def __init__(self, runner):
        self.runner, self.done, self.failed, self.left = runner, 0, [], []
        self.began, self.total, self.said, self.resting = time.monotonic(), 0, 0.0, 0.0

    def plan(self):
        """List what is left: images first, since an index tells its kind from theirs."""
        bad = {one["pk"] for one in self.failed}
        left = todo(columns())
        images = left.exclude(media_type__in=LISTS).order_by("pk").values_list("pk", flat=True)
        lists = left.filter(media_type__in=LISTS).order_by("pk").values_list("pk", flat=True)
        self.left = [pk for pk in (*images, *lists) if str(pk) not in bad]
        self.total = self.done + len(self.left) + len(self.failed)

    def chunk(self, size):
        """Do the next ones in one transaction; where one of them stops it, each by itself."""
        chosen = self.left[:size]
        try:
            self.migrate(chosen)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            for pk in chosen:
                self.alone(pk)
        self.left = self.left[size:]

    def alone(self, pk):
        try:
            self.migrate([pk])
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            digest = Manifest.objects.filter(pk=pk).values_list("digest", flat=True).first()
            why = f"{type(error).__name__}: {error}"[:300]
            self.failed.append({"pk": str(pk), "digest": digest, "why": why})

    def migrate(self, pks):
        with transaction.atomic():
            self.done += self.runner.update_manifests(Manifest.objects.filter(pk__in=pks))

    def progress(self, *, now=False):
        seconds = time.monotonic() - self.began
        if now or seconds - self.said >= 0.5:
            self.said = seconds
            say(
                "progress",
                done=self.done,
                left=len(self.left),
                failed=len(self.failed),
                seconds=round(seconds, 3),
                worked=round(seconds - self.resting, 3),
            )


def throttle(work, began, done):
    """Rest until the rate is kept and the machine is less busy."""
    rate, load = REQUEST.get("rate", 0), REQUEST.get("load", 0)
    since = time.monotonic()
    if rate:
        rest(began + (work.done - done + len(work.failed)) / rate - time.monotonic())
    while load and not told and os.getloadavg()[0] > load:
        say("resting", why=f"the load is {os.getloadavg()[0]:.1f}", done=work.done, left=len(work.left))
        rest(2.0)
    work.resting += time.monotonic() - since


def chunks(work):
    """Work until nothing is left or somebody says stop."""
    size, rate = REQUEST.get("chunk", 200), REQUEST.get("rate", 0)
    size = max(1, min(size, int(rate))) if rate else size
    began, done = time.monotonic(), work.done
    while work.left and not told:
        work.chunk(size)
        work.progress()
        throttle(work, began, done)


def locked():
    """Take the lock of whoever prepares; False where another one has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(0, %s)", [LOCK])
        return cursor.fetchone()[0]


def held(work):
    """Work as a task of Pulp that holds what cleanups need; return False where one is at work."""
    from django_guid import set_guid
    from pulpcore.app.models import Domain
    from pulpcore.tasking.tasks import dispatch

    module = types.ModuleType("regctl_content")
    failures, ran = [], []

    def prepare():
        ran.append(True)
        try:
            chunks(work)
        except (OperationalError, InterfaceError) as error:
            failures.append(error)
            raise

    module.prepare = prepare
    sys.modules["regctl_content"] = module
    names = ["/api/v3/orphans/cleanup/", "/pulp/api/v3/orphans/cleanup/"]
    names += [f"pdrn:{pk}:orphans" for pk in Domain.objects.values_list("pk", flat=True)]
    versions_ = {"container": versions()["container"]}
    set_guid("regctl")  # what Pulp's log calls this task
    try:
        dispatch(
            "regctl_content.prepare",
            exclusive_resources=names,
            immediate=True,
            deferred=False,
            versions=versions_,
        )
    except (OperationalError, InterfaceError):
        if not failures:
            raise
    if failures:
        raise failures[0]
    return bool(ran)


def attempt(work):
    """Work with one connection to PostgreSQL; return why it ended."""
    if not locked():
        return "locked"
    work.plan()
    work.progress(now=True)
    if not REQUEST.get("hold", True):
        chunks(work)
    else:
        while not told and not held(work):
            say("resting", why="a cleanup of orphans is at work", done=work.done, left=len(work.left))
            rest(2.0)
    return "stopped" if told and work.left else "done"


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


def persistent(work):
    """Work on across breaks of PostgreSQL, waiting longer each time; return why it ended."""
    patience, away, wait = REQUEST.get("patience", 120), None, 0.5
    while True:
        done = work.done
        try:
            return attempt(work), ""
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if work.done > done:
                away, wait = None, 0.5
            away = time.monotonic() if away is None else away
            why = f"{type(error).__name__}: {error}"[:300]
            if time.monotonic() - away > patience or told:
                return "away", why
            say("resting", why=f"PostgreSQL is away: {why}", done=work.done, left=len(work.left))
            rest(wait)
            wait = min(wait * 2, 10.0)


def prepare():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    runner = command()
    work = Work(runner)
    say("begin", startup=round(age(), 3), versions=versions())
    state, why = persistent(work)
    remaining, cache = None, ""
    if state in ("done", "stopped"):
        remaining = todo(columns()).count()
        cache = flush() if work.done else ""
    say(
        "end",
        state=state,
        why=why,
        done=work.done,
        failed=work.failed[:200],
        failures=len(work.failed),
        remaining=remaining,
        cache=cache,
        seconds=round(time.monotonic() - work.began, 3),
        worked=round(time.monotonic() - work.began - work.resting, 3),
    )
    codes = {"locked": 5, "stopped": 6, "away": 7}
    return codes.get(state, 3 if remaining else 0)


raise SystemExit(prepare())
