"""One node on its way from one backend to the other: four texts of its file, and a process proved to follow.

    original          as it was                  closed            as it was, read-only
    switched          on the other backend       switched_closed   on the other backend, read-only

Both texts that cannot be told from the file are kept beside it, 0600, before the file changes; whichever of
the four stands there after a crash, the way to any other is known. A process is proved by what it answers:
the header of /v2/ says the backend, a refused or accepted write the mode.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before
from ctl.steps.backend_evidence import HEADER
from ctl.steps.node_doors import sha256
from ctl.steps.node_settings import Values, text_with
from ctl.steps.read_only_node import SETTLE, ReadOnlyNode
from ctl.steps.read_only_record import read_record, remove_record

Text = Literal["original", "closed", "switched", "switched_closed"]
TEXTS: tuple[Text, ...] = ("original", "closed", "switched", "switched_closed")


@dataclass(frozen=True)
class SwitchNode(ReadOnlyNode):
    """A node that is closed, switched and opened again."""

    def switched_path(self, run: str) -> str:
        """Return where a run keeps the switched text."""
        folder, name = os.path.split(self.config_file)
        return os.path.join(folder, f".{name}.regctl-switched-{run}")

    def observe_switch(self, run: str, values: Values, secrets: str) -> dict[str, Any]:
        """Describe the node and the checksums of its four texts; JSON-able, holds no secret."""
        original = self.recorded()
        data = original if original is not None else self.read()
        switched = text_with(self, data, values, secrets)
        return {
            **self.observe(run),
            "kept_switched": self.switched_path(run),
            "recorded": original is not None,
            "texts": {name: sha256(text) for name, text in self._four(data, switched).items()},
        }

    def recorded(self) -> bytes | None:
        """Return the file as it was before `regctl read-only on`; None where regctl keeps it open."""
        record = read_record(self.here.world.state_dir, self.registry, self.host_name)
        return record.original if record is not None else None

    def observe_kept(self, run: str) -> dict[str, Any]:
        """Describe the node within the window, from what the window has kept; RefusedError without it."""
        paths = {"kept": self.kept_path(run), "kept_switched": self.switched_path(run)}
        original, switched = (self._read_kept(path) for path in paths.values())
        if original is None or switched is None:
            raise RefusedError(
                f"{self.name}: what was kept beside {self.config_file} is gone",
                hint="run `regctl run resume --leave-only` and begin anew",
            )
        info = self.info()
        return {
            **paths,
            "config_file": self.config_file,
            "running": self.service.state().running,
            "texts": {name: sha256(text) for name, text in self._four(original, switched).items()},
            "mode": info.mode,
            "owner": info.owner,
            "group": info.group,
        }

    def close_for_switch(self, before: Before, values: Values, secrets: str) -> list[str]:
        """Keep both texts, make the node read-only and prove it; return warnings."""
        if self.standing(before) in ("original", "closed"):
            original = self._kept(before, "original") or self.recorded() or self.read()
            if sha256(original) == before["texts"]["original"]:
                self._keep(before, original, text_with(self, original, values, secrets))
            self.put(before, "closed")
        return self.follow(before, closed=True)

    def standing(self, before: Before) -> Text:
        """Say which of the four texts the file holds; RefusedError if somebody has changed it."""
        current = sha256(self.read())
        for name in TEXTS:
            if before["texts"][name] == current:
                return name
        raise RefusedError(
            f"{self.name}: somebody has changed {self.config_file} meanwhile; it is not overwritten. The "
            f"file as it was before is kept as {before['kept']}",
            hint=f"settle it by hand: diff {before['kept']} {self.config_file}",
        )

    def put(self, before: Before, wanted: Text) -> bool:
        """Have the file hold one of the four texts; True if it changed."""
        if self.standing(before) != wanted and before["texts"][wanted] != sha256(self.read()):
            data = self._bytes(before, wanted)
            self.here.run.guard()
            self._write(data, before)
            return True
        return False

    def follow(self, before: Before, *, closed: bool, database: bool | None = None) -> list[str]:
        """Have the process follow the file, restarted or started where it does not, and prove that it does.

        `database` says what it must serve, None where that has not changed. What was stopped stays so,
        proved by its port.
        """
        state = self.service.state()
        if not state.running and not before["running"]:
            if closed:
                self.prove_closed()
            return []
        warnings = [] if before["running"] else [f"{self.name} was started by somebody meanwhile"]
        if not state.running or not self._is("read-only" if closed else "writable", database):
            warnings += self._restart()
        self.prove_follows(closed=closed, database=database)
        return warnings

    def prove_follows(self, *, closed: bool, database: bool | None) -> None:
        """Prove what the process answers to a write, and what it serves; RegctlError otherwise."""
        wanted = "read-only" if closed else "writable"
        deadline = time.monotonic() + SETTLE
        while not self._is(wanted, database):
            if time.monotonic() > deadline:
                raise RegctlError(self._unproven(wanted, database), hint="see its log: regctl service tail")
            time.sleep(0.1)

    def serves_database(self) -> bool | None:
        """Say what the process serves by its own word; None where it does not say."""
        try:
            value = self.client.root().headers.get(HEADER, "").strip().lower()
        except RegctlError:
            return None
        return {"true": True, "false": False}.get(value)

    def is_closed_text(self, before: Before, wanted: Text) -> bool:
        """Say whether a text keeps the node read-only by itself."""
        twin = {"original": "closed", "switched": "switched_closed"}.get(wanted, wanted)
        return bool(before["texts"][wanted] == before["texts"][twin])

    def forget(self, before: Before, *, switched: bool) -> None:
        """Remove what was kept, and a record of `read-only on` that led back to the former backend."""
        record = read_record(self.here.world.state_dir, self.registry, self.host_name)
        if switched and record is not None:
            self.here.run.guard()
            self.host.remove(str(record.before["kept"]))
            remove_record(self.here.world.state_dir, self.registry, self.host_name)
        for path in (before["kept_switched"], before["kept"]):
            self.here.run.guard()
            self.host.remove(path)

    # -- inside ----------------------------------------------------------------------------------

    def _is(self, wanted: str, database: bool | None) -> bool:
        if database is not None and self.serves_database() is not database:
            return False
        return self.client.probe_write().state == wanted

    def _unproven(self, wanted: str, database: bool | None) -> str:
        probe = self.client.probe_write()
        serves = {True: "the database", False: "the tree", None: "nobody knows what"}[self.serves_database()]
        meant = "" if database is None else " on " + ("the database" if database else "the tree")
        return (
            f"{self.name} is not proved {wanted}{meant}: it is {probe.state} and serves {serves}"
            f"{': ' + probe.detail if probe.detail else ''}"
        )

    def _four(self, original: bytes, switched: bytes) -> dict[Text, bytes]:
        return {
            "original": original,
            "closed": self._closed(original),
            "switched": switched,
            "switched_closed": self._closed(switched),
        }

    def _closed(self, data: bytes) -> bytes:
        closed = self.engine.is_read_only(self.parsed(data).data)
        return data if closed else self.engine.read_only_text(data)

    def _keep(self, before: Before, original: bytes, switched: bytes) -> None:
        if sha256(switched) != before["texts"]["switched"]:
            raise RefusedError(f"{self.name}: what its file is to become has changed; run the command again")
        for path, data in ((before["kept_switched"], switched), (before["kept"], original)):
            if self._read_kept(path) != data:
                self.here.run.guard()
                self.host.write(path, data, mode=0o600)

    def _kept(self, before: Before, which: Literal["original", "switched"]) -> bytes | None:
        data = self._read_kept(before["kept" if which == "original" else "kept_switched"])
        return data if data is not None and sha256(data) == before["texts"][which] else None

    def _read_kept(self, path: str) -> bytes | None:
        try:
            return self.host.read(path)
        except FileNotFoundError:
            return None

    def _bytes(self, before: Before, wanted: Text) -> bytes:
        which: Literal["original", "switched"] = (
            "original" if wanted in ("original", "closed") else "switched"
        )
        data = self._kept(before, which)
        if data is None:
            path = before["kept" if which == "original" else "kept_switched"]
            raise RefusedError(
                f"{self.name} stays as it is: {path}, which {self.config_file} is to be made from, is gone "
                "or damaged",
                hint=f"put the settings into {self.config_file} by hand, then: regctl service restart",
            )
        return data if wanted == which else self._closed(data)
