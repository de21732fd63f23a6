"""A stand-in for systemd where none runs: executables `systemctl` and `journalctl` with a state in files.

It knows the few verbs that regctl uses, runs real processes, keeps an exit status, kills after the unit's
own timeout and restarts in one transaction, as the real one does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PROGRAM = """#!{python} -IS
import json, os, signal, subprocess, sys, time
FOLDER = {folder!r}

def load(name):
    try:
        return json.load(open(os.path.join(FOLDER, name)))
    except FileNotFoundError:
        return {{}}

def save(name, value):
    path = os.path.join(FOLDER, name)
    with open(f"{{path}}.{{os.getpid()}}", "w") as file:
        json.dump(value, file)
    os.rename(file.name, path)

def detach():
    if os.fork():
        return False
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    return True

def alive(pid):
    try:
        return pid and ") Z " not in open(f"/proc/{{pid}}/stat").read()
    except OSError:
        return False

def launch(unit):
    ready, done = os.pipe()
    if not detach():
        os.close(done)
        os.read(ready, 1)
        return
    os.close(ready)
    log = open(os.path.join(FOLDER, unit + ".journal"), "ab")
    child = subprocess.Popen(load("units.json")[unit]["exec"], stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log, cwd="/", env={{"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}})
    save(unit + ".state", {{"pid": child.pid, "active": "active", "sub": "running", "result": "success"}})
    os.write(done, b"x"); os.close(done)
    code = child.wait()
    state = load(unit + ".state")
    if state.get("pid") == child.pid:
        clean = code in (0, -signal.SIGTERM) and state["result"] == "success"
        result = state["result"] if state["result"] != "success" else ("success" if clean else "exit-code")
        save(unit + ".state", {{"pid": 0, "active": "inactive" if clean else "failed",
                                "sub": "dead" if clean else "failed", "result": result}})
    os._exit(0)

def end(unit):
    state = load(unit + ".state")
    pid = state.get("pid")
    if not pid:
        return
    save(unit + ".state", state | {{"active": "deactivating", "sub": "stop-sigterm"}})
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + load("units.json")[unit]["timeout_stop"]
    while alive(pid):
        if time.monotonic() > deadline:
            save(unit + ".state", load(unit + ".state") | {{"result": "timeout"}})
            os.kill(pid, signal.SIGKILL)
            deadline += 60
        time.sleep(0.01)
    while load(unit + ".state").get("pid"):
        time.sleep(0.01)

def show(unit, wanted):
    state = load(unit + ".state")
    known = load("units.json").get(unit)
    values = {{
        "LoadState": "loaded" if known else "not-found",
        "ActiveState": state.get("active", "inactive"), "SubState": state.get("sub", "dead"),
        "Result": state.get("result", "success"), "MainPID": state.get("pid", 0),
        "ExecMainStartTimestamp": "",
        "UnitFileState": "enabled" if known and known["enabled"] else "disabled",
        "ExecStart": " ".join(known["exec"]) if known else "",
    }}
    for name in wanted:
        print(f"{{name}}={{values[name]}}")

def main(verb, *words):
    unit, options = words[-1], words[:-1]
    with open(os.path.join(FOLDER, "calls"), "a") as calls:
        calls.write(verb + "\\n")
    if verb == "show":
        return show(unit, options[options.index("-p") + 1].split(","))
    if unit not in load("units.json"):
        sys.exit(f"Failed to {{verb}} {{unit}}.service: Unit {{unit}}.service not found.")
    pid = load(unit + ".state").get("pid")
    if verb == "kill":
        os.kill(pid, signal.SIGKILL)
    elif verb == "start" and not pid:
        launch(unit)
    elif verb in ("stop", "restart"):
        if "--no-block" in options:
            if not detach():
                return
        end(unit)
        if verb == "restart":
            launch(unit)

main(*sys.argv[1:])
"""

_JOURNAL = """#!/bin/sh
for last; do :; done
while [ "$1" != -n ]; do shift; done
exec tail -n "$2" "{folder}/$last.journal"
"""


class FakeSystemd:
    """Units by name, below a folder; `path` is a PATH on which its systemctl comes first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name, text in (("systemctl", _PROGRAM), ("journalctl", _JOURNAL)):
            program = programs / name
            program.write_text(text.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)
        self.path = f"{programs}:/usr/bin:/bin"
        self._units: dict[str, object] = {}
        self._save()

    def _save(self) -> None:
        (self.folder / "units.json").write_text(json.dumps(self._units))

    def add(
        self, name: str, program: Sequence[str], *, enabled: bool = True, timeout_stop: float = 90.0
    ) -> None:
        """Install a unit, stopped. `timeout_stop` is TimeoutStopSec, in seconds."""
        self._units[name] = {"exec": list(program), "enabled": enabled, "timeout_stop": timeout_stop}
        self._save()
        (self.folder / f"{name}.journal").touch()

    def calls(self) -> list[str]:
        """The verbs that systemctl was called with."""
        return (self.folder / "calls").read_text().split()

    def main_pid(self, name: str) -> int:
        """The unit's main process, 0 if there is none."""
        with suppress(FileNotFoundError):
            return int(json.loads((self.folder / f"{name}.state").read_text())["pid"])
        return 0

    def close(self) -> None:
        """End what still runs, by its pid."""
        for name in self._units:
            if pid := self.main_pid(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
