"""Measure one runbook over many hosts three ways: regctl, Ansible, and OpenSSH bare.

Run it as `python -m tests.benchmarks.fanout --hosts 20`. Every host is a real sshd on the loopback with a
service of its own under a real runsv. The runbook has three steps: write a file, run a command, restart the
service. Each way begins without a connection; all work on --at-once hosts side by side; the order of the
ways turns with each round; seconds are medians, and ratios are medians of each round's own ratio. Ansible
(pipelining, ControlPersist, no facts) is installed once into a folder of its own below the user's cache,
for this comparison only. Bare OpenSSH is one master per host and one `ssh` per step: no plan, no check, no
journal, no proof. Then the controller's peak memory is taken for 20 and for 100 hosts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.fleet import Fleet
from tests.support.programs import find
from tests.support.waiting import clean_environment, stop_process, wait_until

RECIPE = "fanout"


def say(text: str) -> None:
    """Tell how far we are."""
    sys.stderr.write(text + "\n")


@dataclass
class Run:
    """One way, once: wall seconds, processor seconds of the controller, its peak memory in MiB."""

    seconds: float
    cpu: float
    megabytes: int


class Hosts:
    """The servers, each with a service that can be restarted."""

    def __init__(self, folder: Path, count: int) -> None:
        self.fleet = Fleet(folder, count)
        self._supervisors: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Hosts:
        for server in self.fleet.servers.values():
            service = server.root / "service"
            service.mkdir()
            (service / "run").write_text("#!/bin/sh\nexec sleep 1000000\n")
            (service / "run").chmod(0o755)
            self._supervisors.append(subprocess.Popen([find("runsv"), str(service)], env=clean_environment()))
        self.fleet.__enter__()
        for name in self.names:
            wait_until(lambda name=name: self.pid(name), what=f"the service of {name}")  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.__exit__()
        for supervisor in self._supervisors:
            stop_process(supervisor)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self.fleet.servers)

    def root(self, name: str) -> Path:
        """The folder that stands for the whole host."""
        return self.fleet.servers[name].root

    def pid(self, name: str) -> str:
        """The process of the host's service now."""
        path = self.root(name) / "service" / "supervise" / "pid"
        return path.read_text().strip() if path.exists() else ""

    def snapshot(self) -> dict[str, str]:
        """The services' processes."""
        return {name: self.pid(name) for name in self.names}

    def demand_done(self, content: str, before: dict[str, str], way: str) -> None:
        """Demand that all three steps were done on every host."""
        for name in self.names:
            assert (self.root(name) / "app.conf").read_text() == content, (way, name)
            assert (self.root(name) / "ran").read_text().splitlines()[-1] == content.strip(), (way, name)
            assert self.pid(name) not in ("", before[name]), (way, name, "not restarted")


def measured(argv: list[str], environment: dict[str, str], folder: Path) -> Run:
    """Run a controller to its end; AssertionError with its words where it failed."""
    began = time.monotonic()
    with (folder / "said").open("wb") as said:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=folder
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, (folder / "said").read_text()[-4000:]
    return Run(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)


def regctl(hosts: Hosts, content: str, at_once: int) -> Run:
    """The runbook as a recipe of regctl."""
    fleet = hosts.fleet
    root = f"{fleet.folder}/$host/root"
    steps = [
        {
            "step": "write-file",
            "with": {"host_name": "$host", "path": f"{root}/app.conf", "content": content},
        },
        {
            "step": "run-program",
            "with": {"host_name": "$host", "argv": ["/bin/sh", f"{root}/command", content.strip()]},
        },
        {
            "step": "run-service",
            "with": {
                "host_name": "$host",
                "kind": "runit",
                "name": f"{root}/service",
                "verb": "restart",
                "settle_seconds": 0,
            },
        },
    ]
    recipe = {
        "version": 1,
        "name": RECIPE,
        "summary": "Write a file, run a command, restart the service",
        "why": "For comparison.",
        "items": [{"across": {"hosts": ["all"]}, "at_once": at_once, "do": steps}],
    }
    recipes = fleet.folder / "recipes.d"
    recipes.mkdir(exist_ok=True)
    (recipes / f"{RECIPE}.yml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    argv = fleet.command("--yes", "recipe", "run", RECIPE)
    return measured(argv, fleet.environment(), fleet.folder)


def ansible(hosts: Hosts, content: str, at_once: int, program: Path) -> Run:
    """The runbook as a playbook."""
    fleet = hosts.fleet
    folder = fleet.folder / "ansible"
    folder.mkdir(exist_ok=True)
    inventory = {
        "all": {
            "hosts": {
                name: {
                    "ansible_host": "127.0.0.1",
                    "ansible_port": server.port,
                    "ansible_user": "root",
                    "ansible_ssh_private_key_file": str(server.identity),
                    "ansible_ssh_common_args": f"-o UserKnownHostsFile={server.known_hosts}",
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "root": str(server.root),
                }
                for name, server in fleet.servers.items()
            }
        }
    }
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    tasks = [
        {"copy": {"content": content, "dest": "{{ root }}/app.conf", "mode": "0644"}},
        {"command": {"argv": ["/bin/sh", "{{ root }}/command", content.strip()]}},
        {"command": {"argv": [find("sv"), "restart", "{{ root }}/service"]}},
    ]
    book = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (folder / "book.yml").write_text(yaml.safe_dump(book))
    (folder / "ansible.cfg").write_text(
        f"[defaults]\nforks = {at_once}\nhost_key_checking = True\n"
        "[ssh_connection]\npipelining = True\n"
        f"ssh_args = -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = {folder}/cp\n"
    )
    environment = {**clean_environment(), "ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "HOME": str(folder)}
    try:
        return measured([str(program), "-i", "inventory.yml", "book.yml"], environment, folder)
    finally:
        for socket in (folder / "cp").glob("*") if (folder / "cp").is_dir() else ():
            subprocess.run(
                [find("ssh"), "-O", "exit", "-o", f"ControlPath={socket}", "x"], capture_output=True
            )


def openssh(hosts: Hosts, content: str, at_once: int) -> Run:
    """The runbook with a master connection per host and one call of ssh per step."""
    fleet, ssh = hosts.fleet, find("ssh")
    began, before = time.monotonic(), os.times()

    def one(name: str) -> None:
        server = fleet.servers[name]
        # a short path: a socket's may have 107 bytes
        socket = Path(tempfile.gettempdir()) / f"fo-{os.getpid()}-{name}"
        common = [ssh, "-i", str(server.identity), "-p", str(server.port), "-o", "BatchMode=yes"]
        common += ["-o", f"UserKnownHostsFile={server.known_hosts}", "-o", f"ControlPath={socket}"]
        common += ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "root@127.0.0.1"]
        root = server.root

        def call(line: str, stdin: bytes = b"") -> None:
            subprocess.run([*common, line], input=stdin, check=True, capture_output=True)

        call(f"cat > {root}/app.conf.new && mv {root}/app.conf.new {root}/app.conf", content.encode())
        call(f"/bin/sh {root}/command {content.strip()}")
        call(f"{find('sv')} restart {root}/service")
        subprocess.run([*common[:-1], "-O", "exit", "x"], capture_output=True)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, hosts.names))
    after = os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    return Run(time.monotonic() - began, cpu, 0)


def installed_ansible() -> Path:
    """Return ansible-playbook, installed into a folder of its own if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "registry-maintain" / "bench" / "ansible"
    program = place / "bin" / "ansible-playbook"
    if not program.exists():
        say(f"installing ansible-core into {place}")
        venv.create(place, with_pip=True)
        subprocess.run([place / "bin" / "pip", "install", "-q", "ansible-core"], check=True)
    return program


def memory(folder: Path, hosts: Hosts, count: int, at_once: int) -> int:
    """Return the controller's peak memory in MiB for a program on so many hosts, several on one server."""
    described = list(hosts.fleet.hosts().values())
    site = {
        "version": 1,
        "state_dir": str(folder / f"state-{count}"),
        "hosts": {
            f"m{number}": dict(described[number % len(described)], labels={}) for number in range(count)
        },
        "registries": {},
    }
    file = folder / f"site-{count}.yml"
    file.write_text(yaml.safe_dump(site))
    file.chmod(0o640)
    argv = [sys.executable, "-m", "ctl", "--site", str(file), "--output", "json", "host", "run"]
    argv += ["--serial", str(at_once), "all", "--", "/bin/true"]
    return measured(argv, hosts.fleet.environment(), folder).megabytes


def main() -> None:
    """Measure, and print the table as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fanout", description=__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--without-ansible", action="store_true")
    parser.add_argument("--without-memory", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanout-") as place:
        print(json.dumps(_measure(Path(place), asked), indent=2))


def _measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    ways: dict[str, Callable[[Hosts, str, int], Run]] = {"regctl": regctl, "openssh": openssh}
    if not asked.without_ansible:
        program = installed_ansible()
        ways["ansible"] = lambda hosts, content, at_once: ansible(hosts, content, at_once, program)
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    with Hosts(folder / "hosts", asked.hosts) as hosts:
        for name in hosts.names:
            (hosts.root(name) / "command").write_text(f'echo "$1" >> {hosts.root(name)}/ran\n')
        order = list(ways)
        for number in range(asked.rounds):
            for way in order[number % len(order) :] + order[: number % len(order)]:
                content, before = f"{way}-{number}\n", hosts.snapshot()
                runs[way].append(ways[way](hosts, content, asked.at_once))
                hosts.demand_done(content, before, way)
                say(f"round {number + 1}: {way} {runs[way][-1].seconds:.2f} s")
        megabytes = (
            {} if asked.without_memory else {n: memory(folder, hosts, n, asked.at_once) for n in (20, 100)}
        )
    return _table(asked, runs, megabytes)


def _table(
    asked: argparse.Namespace, runs: dict[str, list[Run]], megabytes: dict[int, int]
) -> dict[str, Any]:
    medians = {way: statistics.median(run.seconds for run in found) for way, found in runs.items()}
    found: dict[str, Any] = {
        "hosts": asked.hosts,
        "steps": 3,
        "rounds": asked.rounds,
        "at_once": asked.at_once,
        "load_before": round(os.getloadavg()[2], 2),
        "ways": {
            way: {
                "seconds": round(medians[way], 2),
                "runs": [round(run.seconds, 2) for run in of_way],
                "controller_cpu_seconds": round(statistics.median(run.cpu for run in of_way), 2),
                "peak_mib": max(run.megabytes for run in of_way),
            }
            for way, of_way in runs.items()
        },
        "regctl_against_openssh": _ratio(runs, "openssh"),
        "goal_against_openssh": 1.5,
    }
    if "ansible" in medians:
        found["regctl_against_ansible"] = _ratio(runs, "ansible")
        found["goal_against_ansible"] = 0.25
    if megabytes:
        found["controller_peak_mib"] = {str(count): size for count, size in megabytes.items()}
    return found


def _ratio(runs: dict[str, list[Run]], other: str) -> float:
    """Return the median of the rounds' ratios: what else the machine does slows both of one round alike."""
    pairs = zip(runs["regctl"], runs[other], strict=True)
    return round(statistics.median(ours.seconds / theirs.seconds for ours, theirs in pairs), 2)


if __name__ == "__main__":
    main()
