"""Prepare one Pulp's content: what is left, in small transactions, through Pulp's own code.

A chunk is done or not begun, whatever ends this process: kill -9, a power cut, PostgreSQL going away. Before
a chunk is committed it is proved that each of its manifests still has its text or its file. TERM, HUP and INT
let the chunk end.

REQUEST: chunk (manifests in a transaction), rate (manifests a second, 0: as fast as it goes), load (the load
average above which it rests, 0: never), patience (seconds that PostgreSQL may stay away), hold (whether
cleanups of orphans are held off).
Answers begin, progress, resting, end. Ends with 0: nothing is left to do · 3: something could not be done ·
5: another one works, or a cleanup of orphans · 6: told to stop · 7: PostgreSQL stayed away.
"""


class Unsafe(Exception):  # noqa: N818 - what Pulp's own code would do
    """A manifest would be left with neither text nor file."""


class Work:
    """What is left, and what became of it."""

    def __init__(self, runner):
        self.runner, self.done, self.failed, self.left = runner, 0, {}, []
        self.began, self.resting = time.monotonic(), 0.0

    def plan(self):
        """List what is left: images first, since an index tells its kind from theirs."""
        left = todo(columns())
        images = left.exclude(media_type__in=LISTS).order_by("pk").values_list("pk", flat=True)
        lists = left.filter(media_type__in=LISTS).order_by("pk").values_list("pk", flat=True)
        self.left = [pk for pk in (*images, *lists) if str(pk) not in self.failed]
        say("progress", **self.facts())

    def run(self, beat):
        """Work until nothing is left or somebody says stop; return which of the two it was."""
        size, rate = REQUEST.get("chunk", 200), REQUEST.get("rate", 0)
        size = max(1, min(size, int(rate))) if rate else size
        began, before = time.monotonic(), self.done + len(self.failed)
        while self.left and not told:
            self.chunk(size)
            say("progress", **self.facts())  # at once: whoever is killed has told of every chunk
            beat()
            if self.left:
                self.throttle(began, before, beat)
        return "stopped" if self.left else "done"

    def chunk(self, size):
        """Do the next ones in one transaction; where one of them stops it, each by itself."""
        chosen = self.left[:size]
        try:
            self.migrate(chosen)
        except AWAY:
            raise
        except Exception:
            for pk in chosen:
                self.single(pk)
        self.left = self.left[size:]

    def single(self, pk):
        try:
            self.migrate([pk])
        except AWAY:
            raise
        except Exception as error:
            self.failed[str(pk)] = f"{type(error).__name__}: {error}"[:300]

    def migrate(self, pks):
        chosen = Manifest.objects.filter(pk__in=pks)
        with transaction.atomic():
            before = bare(chosen)
            # An index asks the database for the kinds of those it lists: they must be saved before it.
            done = self.runner.update_manifests(chosen.exclude(media_type__in=LISTS))
            done += self.runner.update_manifests(chosen.filter(media_type__in=LISTS))
            lost = bare(chosen) - before
            if lost > 0:
                raise Unsafe(f"Pulp's own code would leave {lost} with neither text nor file")
        self.done += done  # only now: a commit can fail, too

    def throttle(self, began, before, beat):
        """Rest until the rate is kept and the machine is less busy."""
        rate, load = REQUEST.get("rate", 0), REQUEST.get("load", 0)
        since = time.monotonic()
        if rate:
            rest(began + (self.done + len(self.failed) - before) / rate - time.monotonic())
        while load and not told and os.getloadavg()[0] > load:
            say("resting", why=f"the load is {os.getloadavg()[0]:.1f}", **self.facts())
            rest(2.0)
            beat()
        self.resting += time.monotonic() - since

    def facts(self, *, last=False):
        seconds = time.monotonic() - self.began
        return {
            "done": self.done,
            "left" if not last else "undone": len(self.left),
            "failed": len(self.failed),
            "seconds": round(seconds, 3),
            "worked": round(seconds - self.resting, 3),
        }


def prepare():
    listen()
    work = Work(command())
    say("begin", startup=round(age(), 3), versions=versions(), pid=os.getpid())
    state, why = alone(work)
    end(work, state, why)


prepare()
