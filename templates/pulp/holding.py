"""What a program that prepares content begins with: it works alone, stops when told, sits out a break.

One lock of PostgreSQL keeps a second one out. Beside it stands a running task of Pulp that holds what a
cleanup of orphans needs: whoever looks at Pulp's tasks sees it, and no cleanup deletes meanwhile the files
that a restore would want back. Where this process is killed, the lock goes with its connection; the task is
closed by Pulp's workers, or by the next of these programs, whichever comes first.
"""

import contextlib
import datetime
import signal
import sys
import types

from django.db import InterfaceError, OperationalError
from pulpcore.app.models import Task

AWAY = (OperationalError, InterfaceError)  # what a lost connection to PostgreSQL raises
MODULE = "regctl_content"
TASK = f"{MODULE}.prepare"  # its name among Pulp's tasks
HEARTBEAT = 15.0  # seconds between two signs of life, where a task belongs to an app
STALE = datetime.timedelta(minutes=10)  # after which such an app is taken for dead

told = []  # what asked it to stop: signals, or words


class Busy(Exception):  # noqa: N818 - no failure
    """A cleanup of orphans waits or works."""


def listen():
    """From here on TERM, HUP and INT let the chunk end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))


def rest(seconds):
    """Sleep, but not on when told to stop."""
    until = time.monotonic() + seconds
    while not told and (left := until - time.monotonic()) > 0:
        time.sleep(min(0.2, left))


def locked(patience):
    """Take the lock of whoever prepares; False where another one has it for longer than that (seconds)."""
    until = time.monotonic() + patience
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(0, %s)", [LOCK])
            if cursor.fetchone()[0]:
                return True
        if told or time.monotonic() >= until:
            return False
        rest(0.2)  # the connection of one that was just killed is not given up at once


# -- as a task of Pulp ----------------------------------------------------------------------------


def held(call):
    """Call it, with a sign of life to give now and then, as a task of Pulp; Busy where a cleanup works."""
    if not REQUEST.get("hold", True):
        return call(lambda: None)
    owned = "app_lock" in {field.name for field in Task._meta.get_fields()} and not hasattr(Task, "__enter__")
    app = own_app() if owned else None
    close_abandoned(app)
    return by_app(call, app) if owned else by_lock(call)


def wanted():
    """Return what a cleanup of orphans reserves, in the words of older and newer releases."""
    from pulpcore.app.models import Domain

    names = ["/api/v3/orphans/cleanup/", "/pulp/api/v3/orphans/cleanup/"]
    return names + [f"pdrn:{pk}:orphans" for pk in Domain.objects.values_list("pk", flat=True)]


def cancelled(pk):
    """Take a cancel in Pulp for a request to stop."""
    if not told and Task.objects.filter(pk=pk, state="canceling").exists():
        told.append("its task was cancelled in Pulp")


def close_abandoned(app):
    """Close what an earlier one left open: we have the lock, so nobody works on it any more."""
    for task in Task.objects.filter(name=TASK, state__in=WAITING):
        with contextlib.ExitStack() as stack:
            if app is None:
                try:
                    stack.enter_context(task)
                except Exception:  # noqa: S112 - its session is not quite over: Busy, and we come again
                    continue
            else:
                Task.objects.filter(pk=task.pk).update(app_lock=app)
            task.set_canceling()
            task.set_canceled(reason="whoever prepared the content was ended")


def by_lock(call):
    """Let Pulp run it at once in this process: releases whose tasks are locked by the connection."""
    from django_guid import set_guid
    from pulpcore.tasking.tasks import dispatch

    failures, results = [], []

    def prepare():
        pk = Task.current().pk
        try:
            results.append(call(lambda: cancelled(pk)))
        except Exception as error:
            failures.append(error)
            raise

    module = types.ModuleType(MODULE)
    module.prepare = prepare
    sys.modules[MODULE] = module
    set_guid("regctl")  # what Pulp's log calls this task
    part, task, why = {"container": versions()["container"]}, None, ""
    try:
        task = dispatch(TASK, exclusive_resources=wanted(), immediate=True, deferred=False, versions=part)
    except AWAY:
        if not failures:
            raise
    except Exception as error:  # what went wrong first is what matters
        why = f"{type(error).__name__}: {error}"
    if failures:
        raise failures[0]
    if results:
        return results[0]
    if task is not None and task.state == "canceled":
        raise Busy
    # Releases in between take only programs that end within seconds: then without it, and told.
    if task is not None:
        task.refresh_from_db()
        why = str(task.error)
    say("unheld", why=f"this release of Pulp cannot hold cleanups of orphans off: {why}"[:300])
    return call(lambda: None)


def own_app():
    """Return the app that this process is, for Pulp; newer releases' tasks belong to one."""
    from pulpcore.app.apps import pulp_plugin_configs
    from pulpcore.app.models import AppStatus

    try:
        app = AppStatus.objects.current()
    except RuntimeError:
        app = None
    if app is None:
        name = f"regctl-{os.getpid()}@{os.uname().nodename}"
        parts = {one.label: one.version for one in pulp_plugin_configs()}
        return AppStatus.objects.create(app_type="api", name=name, versions=parts, ttl=STALE)
    if not AppStatus.objects.filter(pk=app.pk).exists():
        app.save(force_insert=True)  # PostgreSQL was away for long, and somebody cleared it away
    return app


def part_from_app():
    """Take the app away that this process was, if it was one."""
    with contextlib.suppress(Exception):  # older releases have none
        from pulpcore.app.models import AppStatus

        app = AppStatus.objects.current()
        if app is not None:
            AppStatus.objects.filter(pk=app.pk).delete()


def by_app(call, app):
    """Keep a running task of our own: releases whose tasks belong to an app, and end within seconds."""
    names = wanted()
    facts = {"name": TASK, "state": "waiting", "logging_cid": "regctl", "app_lock": app}
    task = Task.objects.create(
        **facts, reserved_resources_record=names, versions=app.versions, immediate=True, deferred=False
    )
    task.refresh_from_db()  # PostgreSQL has given it its time
    others = Task.objects.filter(state__in=WAITING, pulp_created__lt=task.pulp_created)
    colliding = [*names, *(f"shared:{one}" for one in names)]
    if others.filter(reserved_resources_record__overlap=colliding).exists():
        task.set_canceling()
        task.set_canceled(reason="a cleanup of orphans is at work")
        raise Busy
    task.unblock()
    task.set_running()
    beats = [time.monotonic()]

    def beat():
        if time.monotonic() - beats[0] >= HEARTBEAT:
            beats[0] = time.monotonic()
            app.save_heartbeat()
        cancelled(task.pk)

    try:
        result = call(beat)
    except AWAY:
        raise  # who comes next closes it
    except Exception as error:
        task.set_failed(error, error.__traceback__)
        raise
    task.set_completed()
    with contextlib.suppress(Exception):  # they also look by themselves
        from pulpcore.constants import TASK_WAKEUP_UNBLOCK
        from pulpcore.tasking.tasks import wakeup_worker

        wakeup_worker(TASK_WAKEUP_UNBLOCK)
    return result


# -- across breaks --------------------------------------------------------------------------------


def alone(work):
    """Take the lock and do the work as a task of Pulp; return why it ended, and what stood in the way.

    `work` has plan(), run(beat) -> state, facts() and done: how many are done. PostgreSQL may go away and
    come back meanwhile, for `patience` seconds at a time.
    """
    patience, away, wait, had = REQUEST.get("patience", 120), None, 0.5, False
    while True:
        done = work.done
        try:
            # A connection of ours that broke may keep the lock for a moment longer.
            if not locked(REQUEST.get("lock_patience", 5) if not had else patience):
                return ("stopped", "") if told else ("locked", "somebody else prepares there now")
            had = True
            return once(work), ""
        except AWAY as error:
            with contextlib.suppress(Exception):
                connection.close()
            if work.done > done:
                away, wait = None, 0.5
            away = time.monotonic() if away is None else away
            why = f"{type(error).__name__}: {error}".strip()[:300]
            if told:
                return "stopped", why
            if time.monotonic() - away > patience:
                return "away", why
            say("resting", why=f"PostgreSQL is away: {why}", **work.facts())
            rest(wait)
            wait = min(wait * 2, 10.0)


def once(work):
    """Do the work with one connection to PostgreSQL; return why it ended."""
    work.plan()
    since = time.monotonic()
    while not told and work.left:
        try:
            return held(work.run)
        except Busy:
            if time.monotonic() - since > REQUEST.get("cleanup_patience", 1800):
                return "busy"
            say("resting", why="a cleanup of orphans is at work", **work.facts())
            rest(2.0)
    return "stopped" if work.left else "done"


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
