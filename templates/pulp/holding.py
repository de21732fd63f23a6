"""What a program that prepares content begins with: it works alone, stops when told, sits out a break.

One lock of PostgreSQL keeps a second one out. Beside it stands a running task of Pulp that holds what a
cleanup of orphans needs: whoever looks at Pulp's tasks sees it, and no cleanup deletes meanwhile the files
that a restore would want back. Where this process is killed, the lock goes with its connection; the task is
closed by Pulp's workers, or by the next of these programs, whichever comes first.
"""

import contextlib
import datetime
import signal

from django.db import InterfaceError, OperationalError
from django.db.models import Max
from pulpcore.app.models import Task

AWAY = (OperationalError, InterfaceError)  # what a lost connection to PostgreSQL raises
TASK = "regctl_content.prepare"  # its name among Pulp's tasks
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
    return as_task(call, app)


def wanted():
    """Return what a cleanup of orphans reserves, in the words of older and newer releases."""
    from pulpcore.app.models import Domain

    names = ["/api/v3/orphans/cleanup/", "/pulp/api/v3/orphans/cleanup/"]
    return names + [f"pdrn:{pk}:orphans" for pk in Domain.objects.values_list("pk", flat=True)]


def running():
    """Return the versions of all parts of this Pulp, as its apps and tasks state them."""
    from pulpcore.app.apps import pulp_plugin_configs

    return {one.label: one.version for one in pulp_plugin_configs()}


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


def own_app():
    """Return the app that this process is, for Pulp; newer releases' tasks belong to one."""
    from pulpcore.app.models import AppStatus

    try:
        app = AppStatus.objects.current()
    except RuntimeError:
        app = None
    if app is None:
        name = f"regctl-{os.getpid()}@{os.uname().nodename}"
        return AppStatus.objects.create(app_type="api", name=name, versions=running(), ttl=STALE)
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


def as_task(call, app):
    """Keep a running task of our own while it is called; Busy where others have what it reserves."""
    lost = []
    try:
        with contextlib.ExitStack() as stack:
            task = created(app, stack)
            if task is None:
                raise Busy
            result = worked(call, task, app, lost)
    except Exception:
        if lost:  # the lock of the task went with the connection: giving it back fails, too
            raise lost[0] from None
        raise
    wake()
    return result


def worked(call, task, app, lost):
    """Call it while its task runs; `lost` gets what a lost connection raised: who comes next closes it."""
    task.unblock()
    task.set_running()
    beats = [time.monotonic()]

    def beat():
        if app is not None and time.monotonic() - beats[0] >= HEARTBEAT:
            beats[0] = time.monotonic()
            app.save_heartbeat()
        cancelled(task.pk)

    try:
        result = call(beat)
    except AWAY as error:
        lost.append(error)
        raise
    except Exception as error:
        task.set_failed(error, error.__traceback__)
        raise
    task.set_completed()
    return result


def created(app, stack):
    """Create it, ours before anybody sees it; None where an earlier one has what it reserves.

    So does Pulp itself, which takes for its own list only programs that end within seconds.
    """
    names, known = wanted(), {field.name for field in Task._meta.get_fields()}
    facts = {"name": TASK, "state": "waiting", "logging_cid": "regctl", "versions": running()}
    facts |= {"immediate": True, "deferred": False, "app_lock": app}
    facts = {name: value for name, value in facts.items() if name in known}
    colliding = [*names, *(f"shared:{one}" for one in names)]
    with transaction.atomic():
        if app is None:
            in_turn()
        newest = Task.objects.aggregate(newest=Max("pulp_created"))["newest"]
        task = Task.objects.create(**facts, reserved_resources_record=names)
        if app is None:
            stack.enter_context(task)
            if newest and task.pulp_created <= newest:
                task.pulp_created = newest + datetime.timedelta(milliseconds=1)
                task.save()
    task.refresh_from_db()  # PostgreSQL may have given it its time
    others = Task.objects.filter(state__in=WAITING, pulp_created__lt=task.pulp_created)
    if not others.filter(reserved_resources_record__overlap=colliding).exists():
        return task
    task.set_canceling()
    task.set_canceled(reason="a cleanup of orphans is at work")
    return None


def in_turn():
    """Wait until nobody else creates a task; until the end of the transaction nobody does."""
    from pulpcore.constants import TASK_DISPATCH_LOCK

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(0, %s)", [TASK_DISPATCH_LOCK])


def wake():
    """Let Pulp's workers look for tasks that waited for ours; they also look by themselves."""
    from pulpcore.tasking import tasks

    with contextlib.suppress(Exception):
        from pulpcore import constants

        reason = getattr(constants, "TASK_WAKEUP_UNBLOCK", None)
        tasks.wakeup_worker(*([reason] if reason else []))


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
