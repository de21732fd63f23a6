"""A stand-in for runit where it is not installed: executables `runsv` and `sv`, as the real ones were seen.

`sv VERB FOLDER` sends and does not wait, except for `status`. A service that ends is started again, after a
second if it lived for less than one; `down` keeps it down; TERM is sent on `down` and on `term`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import wait_until

_RUNSV = """#!{python} -IS
import json, os, subprocess, sys, time
folder = sys.argv[1]
place = os.path.join(folder, "supervise")
os.makedirs(place, exist_ok=True)
want = "down" if os.path.exists(os.path.join(folder, "down")) else "up"
child, since, term = None, time.time(), False
not_before = 0.0

def say():
    status = {{"pid": child.pid if child else 0, "since": since, "want": want, "term": term}}
    with open(os.path.join(place, "status.new"), "w") as file:
        json.dump(status, file)
    os.rename(file.name, os.path.join(place, "status"))

while True:
    if child is not None and child.poll() is not None:
        not_before = since + 1.0
        child, since, term = None, time.time(), False
    if child is None and want == "up" and time.time() >= not_before:
        child = subprocess.Popen([os.path.join(folder, "run")], stdin=subprocess.DEVNULL,
                                 start_new_session=True)
        since = time.time()
    for name in sorted(os.listdir(place)):
        if not name.startswith("command-"):
            continue
        word = open(os.path.join(place, name)).read()
        os.remove(os.path.join(place, name))
        want = {{"up": "up", "down": "down"}}.get(word, want)
        if child is not None and word in ("down", "term"):
            child.terminate(); term = True
        if child is not None and word == "kill":
            child.kill()
    say()
    if os.path.exists(os.path.join(place, "stop")):
        if child is not None:
            child.kill()
        break
    time.sleep(0.01)
"""

_SV = """#!{python} -IS
import json, os, sys, time
verb, folder = sys.argv[1:]
place = os.path.join(folder, "supervise")
if not os.path.isdir(folder):
    print(f"fail: {{folder}}: unable to change to service directory: file does not exist"); sys.exit(1)
if not os.path.exists(os.path.join(place, "status")):
    print(f"fail: {{folder}}: runsv not running"); sys.exit(1)
if verb != "status":
    name = f"command-{{time.time_ns()}}"
    with open(os.path.join(place, "new-" + name), "w") as file:
        file.write(verb)
    os.rename(file.name, os.path.join(place, name))
    while os.path.exists(os.path.join(place, name)):
        time.sleep(0.005)
    time.sleep(0.03)
    sys.exit(0)
status = json.load(open(os.path.join(place, "status")))
normally = "down" if os.path.exists(os.path.join(folder, "down")) else "up"
state = "run" if status["pid"] else "down"
words = [f"{{int(time.time() - status['since'])}}s"]
if status["pid"]:
    words[0] = f"(pid {{status['pid']}}) " + words[0]
if {{"run": "up", "down": "down"}}[state] != normally:
    words.append(f"normally {{normally}}")
if {{"run": "up", "down": "down"}}[state] != status["want"]:
    words.append(f"want {{status['want']}}")
if status["term"]:
    words.append("got TERM")
print(f"{{state}}: {{folder}}: " + ", ".join(words))
"""


def real_programs() -> str:
    """The folder of the real runsv and sv; "" where they are not installed."""
    found = os.environ.get("REGCTL_TEST_RUNIT") or os.path.dirname(shutil.which("runsv") or "")
    return found if found and all(os.path.exists(f"{found}/{name}") for name in ("runsv", "sv")) else ""


class Runit:
    """One supervised folder, stopped at first; `real` takes the programs of runit itself."""

    def __init__(self, folder: Path, run: str, *, real: bool = False) -> None:
        self.service = folder / "service"
        self.service.mkdir(parents=True)
        (self.service / "down").touch()
        script = self.service / "run"
        log = self.service / "log" / "main"  # where svlogd would write
        log.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\nexec >>{log}/current 2>&1\nexec {run}\n")
        script.chmod(0o755)
        (log.parent / "run").write_text("#!/bin/sh\nexec cat >/dev/null\n")
        (log.parent / "run").chmod(0o755)
        programs = Path(real_programs()) if real else folder
        if not real:
            for name, text in (("runsv", _RUNSV), ("sv", _SV)):
                (folder / name).write_text(text.format(python=sys.executable))
                (folder / name).chmod(0o755)
        self.sv = str(programs / "sv")
        self.supervisor = subprocess.Popen(
            [str(programs / "runsv"), str(self.service)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until((self.service / "supervise" / "status").exists, what="runsv")

    def close(self) -> None:
        """End the service, then its supervisor."""
        subprocess.run([self.sv, "down", str(self.service)], capture_output=True, check=False)
        subprocess.run([self.sv, "kill", str(self.service)], capture_output=True, check=False)
        with suppress(FileNotFoundError):
            (self.service / "supervise" / "stop").touch()
        with suppress(ProcessLookupError):
            self.supervisor.send_signal(signal.SIGTERM)
        self.supervisor.wait(10)
