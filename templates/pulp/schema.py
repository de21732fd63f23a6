"""How the schema of one Pulp's database stands against the code that is installed beside it.

Only reads: the session is read-only. `migrate` is asked for its plan and its judgement in one call.
REQUEST: applied (whether every applied migration is listed), session (how a migration's sessions are called).
"""

import io

from django.conf import settings
from django.db import InterfaceError, OperationalError


def judged():
    """Return (exit code, why) as Pulp's own `migrate --check --plan` says; the code None where it raised."""
    from django.core.management import call_command

    said = io.StringIO()
    try:
        call_command(
            "migrate",
            check_unapplied=True,
            plan=True,
            no_color=True,
            skip_checks=False,
            stdout=said,
            stderr=said,
        )
    except SystemExit as error:
        return (error.code if isinstance(error.code, int) else 1), ""
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"[:2000]
    return 0, ""


def number(name):
    """Return the number that a migration's name begins with; 0 for none."""
    head = name.partition("_")[0]
    return int(head) if head.isdigit() else 0


def newer(loader):
    """Return what was applied by newer code: unknown here, and numbered like the last one known or later."""
    last = {}
    for app, name in loader.disk_migrations:
        last[app] = max(last.get(app, 0), number(name))
    return sorted(
        f"{app}.{name}"
        for app, name in loader.applied_migrations
        if app in last and (app, name) not in loader.disk_migrations and number(name) >= last[app]
    )


def models_as_stored(executor):
    """Return Pulp's models as the applied migrations left them: the code may be newer than the tables."""
    return executor._create_project_state(with_applied_migrations=True).apps


def services(executor):
    """Return Pulp's processes that showed a sign of life lately enough for Pulp to count on them."""
    from datetime import timedelta

    from django.utils import timezone

    stored, found, now = models_as_stored(executor), [], timezone.now()
    known = {model._meta.object_name for model in stored.get_models() if model._meta.app_label == "core"}
    old = (
        ("api", "ApiAppStatus", settings.API_APP_TTL),
        ("content", "ContentAppStatus", settings.CONTENT_APP_TTL),
        ("worker", "Worker", settings.WORKER_TTL),
    )
    rows = [
        (kind, row, timedelta(seconds=ttl))
        for kind, model, ttl in old
        if model in known
        for row in stored.get_model("core", model).objects.all()
    ]
    if "AppStatus" in known:
        rows += [(row.app_type, row, row.ttl) for row in stored.get_model("core", "AppStatus").objects.all()]
    for kind, row, ttl in rows:
        age = (now - row.last_heartbeat).total_seconds()
        if age <= ttl.total_seconds():
            left = round(ttl.total_seconds() - age, 1)
            seen = dict(getattr(row, "versions", None) or {})
            found.append({"kind": kind, "name": row.name, "versions": seen, "expires_seconds": left})
    return sorted(found, key=lambda one: (one["kind"], one["name"]))


def installed():
    """Return the versions of all parts of this Pulp, by Pulp's own names."""
    from pulpcore.app.apps import pulp_plugin_configs

    return {one.label: str(one.version) for one in pulp_plugin_configs()}


def newest(applied, app):
    """Return the last applied migration of a part, "" for none."""
    return max((name for label, name in applied if label == app), key=number, default="")


def schema():
    """Answer everything."""
    from django.db.migrations.executor import MigrationExecutor

    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        cursor.execute("SHOW server_version")
        server = cursor.fetchone()[0]
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s",
            [REQUEST.get("session", "")],
        )
        migrating = cursor.fetchone()[0]
    code, why = judged()
    executor = MigrationExecutor(connection)
    applied = executor.loader.applied_migrations
    facts = {
        "versions": installed(),
        "server": server,
        "preparing": preparing(),
        "migrating": migrating,
        "code": code,
        "why": why,
    }
    facts["count"] = len(applied)
    facts["newest"] = {part: newest(applied, part) for part in ("core", "container")}
    facts["pending"] = pending(executor) if code is not None else []
    facts["newer"] = newer(executor.loader)
    facts["services"], facts["silent"] = [], ""
    if facts["pending"] and applied:
        try:
            facts["services"] = services(executor)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            facts["silent"] = f"{type(error).__name__}: {error}"[:300]
    if REQUEST.get("applied"):
        rows = sorted(executor.recorder.applied_migrations().values(), key=lambda row: row.pk)
        facts["applied"] = [(f"{row.app}.{row.name}", row.applied.isoformat()) for row in rows]
    say("schema", startup=round(age(), 3), **facts)


schema()
