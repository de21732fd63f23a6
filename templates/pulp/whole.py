"""Prepare one Pulp's content by Pulp's whole command, in one transaction: for releases without its parts.

It is all or nothing: whatever ends this process before its end, nothing has changed. So a signal ends it at
once, and how far it is cannot be seen from outside. It is refused where a single manifest is known to stand
in the way, because the command stops at a missing file, and may keep neither text nor file of others.

REQUEST: patience (seconds that PostgreSQL may stay away), hold (whether cleanups of orphans are held off).
Answers and exit codes as prepare.py; 6: also where a manifest stands in the way, with the state "hindered".
"""

import io

from django.core.management import call_command


class Told(BaseException):
    """A signal came: the transaction is taken back."""


def at_once(number, frame):
    told.append(number)
    raise Told


class Whole:
    """All that is left, in one go."""

    def __init__(self):
        self.done, self.failed, self.left = 0, {}, []
        self.began = time.monotonic()

    def plan(self):
        self.left = list(todo(columns()).values_list("pk", flat=True))
        say("progress", **self.facts())

    def run(self, beat):
        """Run the command; return done, or stopped where it was told to stop."""
        before = len(self.left)
        try:
            with transaction.atomic():
                lost = bare(Manifest.objects.all())
                call_command("container-handle-image-data", stdout=io.StringIO())
                lost = bare(Manifest.objects.all()) - lost
                if lost > 0:
                    raise RuntimeError(f"Pulp's own command would leave {lost} with neither text nor file")
                self.left = list(todo(columns()).values_list("pk", flat=True))
        except Told:
            return "stopped"
        self.done = before - len(self.left)
        return "done"

    def facts(self, *, last=False):
        seconds = round(time.monotonic() - self.began, 3)
        undone = {"undone" if last else "left": len(self.left)}
        return {"done": self.done, **undone, "failed": 0, "seconds": seconds, "worked": seconds}


def prepare():
    work = Whole()
    say("begin", startup=round(age(), 3), versions=versions(), pid=os.getpid())
    found = hindered(todo(columns()))
    if found:
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(found.items()))
        say(
            "end",
            state="hindered",
            why=reasons,
            remaining=None,
            cache="",
            leftovers=[],
            **work.facts(last=True),
        )
        raise SystemExit(6)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, at_once)
    try:
        state, why = alone(work)
    except Told:
        state, why = "stopped", ""
    except Exception as error:
        # Told in the middle of a query the connection is lost, and with it the lock of the task.
        state, why = ("stopped", "") if told else ("failed", f"{type(error).__name__}: {error}"[:300])
    end(work, state, why)


prepare()
