"""Show the main job from end to end on a real registry; exit 1 if any claim does not hold."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.support import programs
from tests.support.transfer import Client
from tests.support.waiting import free_port, wait_until
from tools.demo import content
from tools.demo.stage import DemoFailedError, Show, environment

Tags = dict[tuple[str, str], str]


class Demo:
    """The demo's one site: a registry of kind `process` in a temporary folder, the embedded database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.show = Show(environment(folder), folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.address = f"127.0.0.1:{self.port}"
        self.config_file = folder / "registry.yml"
        self.tree = folder / "storage" / "docker" / "registry" / "v2"
        self.original = b""
        self.tags: Tags = {}

    def play(self) -> bool:
        """Play every stage; return whether all claims hold."""
        self.describe()
        self.push()
        self.look_at_settings()
        self.prepare_database()
        self.import_and_verify()
        self.notice_a_lost_blob()
        self.collect()
        self.after()
        return self.show.closing_table()

    def describe(self) -> None:
        """A configuration written by hand, and the site file that `regctl init` makes of it."""
        self.show.stage("A registry with a hand-written configuration", "as somebody else left it")
        (self.folder / "storage").mkdir()
        text = (
            "# written by hand; regctl must not lose this comment\n"
            "version: 0.1\n"
            "storage:\n"
            f"  filesystem: {{rootdirectory: {self.folder}/storage}}\n"
            "  delete: {enabled: true}\n"
            "http:\n"
            f"  addr: {self.address}\n"
            "  secret: demo-only\n"
            "  draintimeout: 5s\n"
        )
        self.config_file.write_text(text)
        self.original = self.config_file.read_bytes()
        self.show.regctl(
            *("init", "--registry-config", str(self.config_file)),
            *("--registry-binary", programs.docker_registry(), "--service", "process"),
        )
        site = yaml.safe_load((self.folder / "site.yml").read_text())
        self.registry = next(iter(site["registries"]))
        self.show.claim(
            "init writes a site from a running configuration",
            f"registry {self.registry}, storage {self.folder}/storage",
            site["registries"][self.registry]["storage"]["filesystem"]["rootdirectory"]
            == f"{self.folder}/storage",
        )
        self.show.regctl("service", "start", self.registry)
        with Client(self.url) as client:
            wait_until(lambda: client.request("GET", "/v2/")[0] == 200, what="the registry")

    def push(self) -> None:
        """Images by skopeo, many more by HTTP."""
        self.show.stage("Pushing images", "with skopeo; shared base layers, one multi-arch index")
        begin = time.monotonic()
        self.tags |= content.push_by_skopeo(self.folder, self.address)
        by_skopeo = len(self.tags)
        self.tags |= content.push_by_http(self.url)
        blobs = content.stored_blobs(self.tree)
        self.show.say(
            f"{by_skopeo} tags by skopeo and {len(self.tags) - by_skopeo} more by HTTP in "
            f"{time.monotonic() - begin:.1f} s: {len(blobs)} blobs, {sum(blobs.values()):,} bytes"
        )

    def look_at_settings(self) -> None:
        """Read, render and compare the registry's settings; nothing is changed."""
        self.show.stage("The registry's settings", "read, checked, rendered, compared; not changed")
        self.show.regctl("status", expect=None)
        self.show.regctl("config", "check", expect=None)
        self.show.regctl("config", "show", "--origin")
        self.show.regctl("config", "render")
        self.show.regctl("config", "diff", expect=None)
        self.show.claim(
            "settings are kept",
            "the file has the same bytes",
            self.config_file.read_bytes() == self.original,
        )

    def prepare_database(self) -> None:
        """The embedded PostgreSQL, from nothing to the current schema."""
        self.show.stage("The database", "embedded: a private PostgreSQL on a socket below the state folder")
        self.show.regctl("database", "start")
        self.show.regctl("database", "migrate", "up", "--dry-run")
        pending = _migrations(self.show.data("database", "status", expect=None))["pending"]
        self.show.regctl("database", "migrate", "up", "--yes")
        after = _migrations(self.show.data("database", "status"))
        self.show.claim(
            "the database is migrated, and the dry run before wrote nothing",
            f"{pending} pending before, {after['pending']} after, {after['applied']} applied",
            pending > 0 and after["pending"] == 0 and after["applied"] == pending,
        )
        again = self.show.data("database", "migrate", "up", "--yes")
        self.show.claim("migrating again", f"{again['result']}", again["result"] == "nothing-to-do")

    def import_and_verify(self) -> None:
        """The content into the catalog, then compared with the storage."""
        self.show.stage("The registry's content", "imported, then verified against the storage")
        self.show.regctl("registry", "import", "--yes", live=True)
        verified = self.show.data("registry", "verify")
        self.show.regctl("registry", "verify")
        real = content.stored_blobs(self.tree)
        self.show.claim(
            "the catalog holds what the storage holds",
            f"{verified['repositories']} repositories, {verified['tags']} tags, "
            f"{verified['manifests']} manifests, {verified['blobs']} blobs",
            (verified["tags"], verified["blobs"]) == (len(self.tags), len(real)),
        )

    def notice_a_lost_blob(self) -> None:
        """A blob file taken away by hand is found and named."""
        self.show.stage("A blob file is lost", "taken away by hand, and given back afterwards")
        by_size = sorted(content.stored_blobs(self.tree).items(), key=lambda item: (item[1], item[0]))
        digest = by_size[-2][0]  # the largest is the base layer: it would be missed in every image
        data = self.tree / "blobs" / "sha256" / digest[7:9] / digest[7:] / "data"
        aside = self.folder / "taken-away"
        data.rename(aside)
        try:
            done = self.show.regctl("registry", "verify", expect=3)
        finally:
            aside.rename(data)
        self.show.claim(
            "verify notices a lost blob", f"exit 3, names {digest[:19]}", digest[7:19] in done.stdout
        )

    def collect(self) -> None:
        """Make garbage, look, collect in a read-only window while skopeo keeps pushing, and measure."""
        show = self.show
        show.stage("Garbage", "a tag deleted, tags pushed over, old builds deleted")
        dead = content.make_garbage(self.folder, self.url, self.address, self.tags)
        before = content.stored_blobs(self.tree)
        show.regctl("gc", "--dry-run")
        plan = show.data("gc", "--dry-run", expect=None)
        show.claim(
            "the dry run removes nothing and says what would go",
            f"{plan['blobs']} blobs, {plan['bytes']:,} bytes, planned in {plan['plan_seconds']:.2f} s",
            content.stored_blobs(self.tree) == before and plan["blobs"] >= len(dead),
        )
        show.stage("Collecting", "in a read-only window, while skopeo pushes all the time")
        pusher = content.Pusher(self.folder / "pushes", self.address, self.tree)
        pusher.push_one("before")
        pusher.start()
        process = show.start("gc", "--read-only", "--yes", "--output", "json")
        done = show.finish(process)
        ended = time.monotonic()
        pusher.stop()
        if done.exit_code:
            raise DemoFailedError(f"regctl gc ended with {done.exit_code}: {done.stdout[-2000:]}")
        known = {**before, **pusher.known}
        left = content.stored_blobs(self.tree)
        gone = {digest: size for digest, size in known.items() if digest not in left}
        self._judge_collection(json.loads(done.stdout), gone)
        planned = {digest: size for digest, size in gone.items() if digest in before}
        show.claim(
            "the plan of the dry run was exact",
            f"{plan['blobs']} planned and gone; {len(gone) - len(planned)} more of pushes that were cut off",
            plan["bytes"] == sum(planned.values()) and dead <= set(planned),
        )
        pusher.push_one("after")
        self._judge_pushes(pusher, ended)

    def _judge_collection(self, result: dict[str, Any], gone: dict[str, int]) -> None:
        self.show.claim(
            "bytes freed are bytes gone from disk",
            f"{result['bytes']:,} said, {sum(gone.values()):,} gone ({len(gone)} blobs)",
            result["bytes"] == sum(gone.values()) and result["blobs"] == len(gone) > 0,
        )
        self.show.claim(
            "the window was short", f"{result['window_seconds']:.2f} s", 0 < result["window_seconds"] < 60
        )

    def _judge_pushes(self, pusher: content.Pusher, ended: float) -> None:
        self.show.claim(
            "pushes were refused in the window",
            f"{len(pusher.refused)} refused with 405, {pusher.unreachable} met a restart"
            + "".join(f"; also: {text}" for text in pusher.other[:3]),
            bool(pusher.refused) and not pusher.other,
        )
        late = [tag for when, tag, _ in pusher.accepted if when > ended]
        self.show.claim(
            "pushes were accepted before and after it",
            f"{len(pusher.accepted)} accepted, {len(late)} of them afterwards",
            "after" in late and pusher.accepted[0][1] == "before",
        )
        self.tags |= {("live/pushes", tag): digest for _, tag, digest in pusher.accepted}

    def after(self) -> None:
        """Everything is as it was: tags, settings, service, and the record of what happened."""
        show = self.show
        show.stage("Afterwards", "every tag pulled again, layer by layer")
        with Client(self.url) as client:
            pulled = client.pull_everything()
        lost = {tag for tag, digest in self.tags.items() if digest not in _manifests(pulled, tag)}
        show.claim(
            "every tag still pulls",
            f"{len(pulled)} tags, {sum(p.bytes for p in pulled.values()):,} bytes checked by digest",
            not lost and set(pulled) == set(self.tags),
        )
        show.claim(
            "the configuration has its original bytes",
            "comment and all",
            self.config_file.read_bytes() == self.original,
        )
        show.regctl("registry", "import", "--yes")
        show.regctl("registry", "verify")
        status = show.data("status", expect=None)
        show.regctl("status", expect=None)
        show.claim("status", f"healthy: {status['healthy']}", status["healthy"] is True)
        show.regctl("run", "list")
        runs = show.data("run", "list")["runs"]
        collected = next(run["id"] for run in runs if run["recipe"] == "gc")
        show.regctl("run", "show", collected)
        steps = show.data("run", "show", collected)["steps"]
        show.claim(
            "the run is on record",
            f"{collected}: {len(steps)} steps",
            bool(steps) and all(step["ended_at"] for step in steps),
        )

    def stop(self) -> None:
        """Stop what was started, by regctl itself."""
        self.show.stage("Stopping")
        self.show.regctl("service", "stop", "--yes", expect=None)
        self.show.regctl("database", "stop", "--yes", expect=None)


def _manifests(pulled: dict[tuple[str, str], Any], tag: tuple[str, str]) -> set[str]:
    return pulled[tag].manifests if tag in pulled else set()


def _migrations(status: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = next(iter(status["databases"].values()))["migrations"]
    return found


def main() -> int:
    """Play the demo in a temporary folder that is removed afterwards (kept when it fails)."""
    folder = Path(tempfile.mkdtemp(prefix="regctl-demo-"))
    os.chmod(folder, 0o711)  # noqa: S103  PostgreSQL's user must get through to its own folder
    demo = Demo(folder)
    good = False
    try:
        good = demo.play()
    except (DemoFailedError, RuntimeError, AssertionError) as error:
        sys.stdout.write(f"\n   NOT  {' '.join(str(error).split())}\n")
    finally:
        demo.stop()
    survivors = _survivors(folder)
    if survivors:
        sys.stdout.write("   NOT  still running: " + "; ".join(survivors) + "\n")
        good = False
    if good:
        shutil.rmtree(folder)
        sys.stdout.write("\nThe demo is done: every claim holds, and nothing is left running.\n")
    else:
        sys.stdout.write(f"\nThe demo failed; its folder is kept: {folder}\n")
    return 0 if good else 1


def _survivors(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                found.append(f"{entry.name} {line[:80]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
