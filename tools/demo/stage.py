"""What the demo prints and how it calls regctl: stages, commands with their output, claims with proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REGCTL = ROOT / ".venv" / "bin" / "regctl"


class DemoFailedError(Exception):
    """Something that the demo claims is not so."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float


@dataclass
class Show:
    """The narrator: prints each stage, runs the installed regctl, keeps the claims for the closing table."""

    environment: dict[str, str]
    folder: Path
    claims: list[tuple[str, str, bool]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def stage(self, title: str, why: str = "") -> None:
        """Open a stage."""
        elapsed = time.monotonic() - self.started
        self._print(f"\n== {title}  [{elapsed:.0f} s]")
        if why:
            self._print(f"   {why}")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(f"   {text}")

    def claim(self, what: str, proof: str, true: bool) -> None:
        """Print a claim with the figures that prove it, and keep it."""
        self.claims.append((what, proof, true))
        self._print(f"   {'ok ' if true else 'NOT'} {what}: {proof}")

    def regctl(self, *arguments: str, expect: int | None = 0, show: bool = True, live: bool = False) -> Done:
        """Run the installed command; print call and output. `expect` None takes any exit code.

        `live` lets it draw its progress on the terminal, if there is one.
        """
        if show:
            self._print(f"\n   $ regctl {' '.join(arguments)}")
        begin = time.monotonic()
        done = subprocess.run(
            [str(REGCTL), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if live and sys.stderr.isatty() else subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
            timeout=150,
        )
        result = Done(
            done.returncode,
            done.stdout.decode(errors="replace"),
            (done.stderr or b"").decode(errors="replace"),
            time.monotonic() - begin,
        )
        if show:
            self._quote(result)
        if expect is not None and result.exit_code != expect:
            if not show:
                self._quote(result)
            raise DemoFailedError(
                f"regctl {' '.join(arguments)} ended with {result.exit_code}, expected {expect}"
            )
        return result

    def data(self, *arguments: str, expect: int | None = 0) -> dict[str, Any]:
        """Run regctl with --output json, silently; return the object."""
        done = self.regctl(*arguments, "--output", "json", expect=expect, show=False)
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            self._quote(done)
            raise DemoFailedError(f"regctl {' '.join(arguments)} printed no JSON") from error
        return found

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start regctl in the background; `quote` prints what it said when it is done."""
        self._print(f"\n   $ regctl {' '.join(arguments)} &")
        return subprocess.Popen(
            [str(REGCTL), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
        )

    def finish(self, process: subprocess.Popen[bytes], timeout: float = 120) -> Done:
        """Wait for a command in the background and print what it said on stderr."""
        stdout, stderr = process.communicate(timeout=timeout)
        result = Done(
            process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"), 0.0
        )
        self._quote(Done(result.exit_code, "", result.stderr, 0.0))
        return result

    def closing_table(self) -> bool:
        """Print every claim; say whether all hold."""
        self._print("\n== What was shown\n")
        width = max(len(what) for what, _, _ in self.claims)
        for what, proof, true in self.claims:
            self._print(f"   {'ok ' if true else 'NOT'}  {what:<{width}}  {proof}")
        elapsed = time.monotonic() - self.started
        wrong = [what for what, _, true in self.claims if not true]
        self._print(
            f"\n   {len(self.claims) - len(wrong)} of {len(self.claims)} claims hold; {elapsed:.0f} s"
        )
        return not wrong

    def _quote(self, done: Done) -> None:
        for text in (done.stderr, done.stdout):
            for line in text.rstrip().splitlines():
                self._print(f"     {line}")
        if done.exit_code:
            self._print(f"     (exit code {done.exit_code})")

    def _print(self, text: str) -> None:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for regctl: its site and state in the demo's folder, nothing of ours."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    return {
        **kept,
        "PATH": kept.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
        "REGCTL_SITE": str(folder / "site.yml"),
        "REGCTL_STATE_DIR": str(folder / "state"),
        "NO_COLOR": "1",
        "COLUMNS": "110",
    }
