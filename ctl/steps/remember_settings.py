"""Remember a registry's settings in the site's own drop-in, and bring that back byte for byte."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from typing import Any, ClassVar

from ctl.config.dump import to_yaml
from ctl.config.files import locked, write_atomically
from ctl.config.load import drop_in_folder
from ctl.config.persist import drop_in_path, persist, preview
from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, StepReport, Target, Undoable
from ctl.report.model import Text
from ctl.steps.node_doors import sha256


class RememberSettings(Undoable):
    """Lay settings over `registries.NAME.config` in regctl's drop-in; passwords stay references."""

    registry: str
    site: str  # the site file
    values: dict[str, dict[str, Any]]  # by section

    retries: ClassVar[int] = 0

    def title(self) -> str:
        return f"remember {' and '.join(self.values)} of {self.registry} in the site"

    def check(self, here: Target) -> Iterator[Problem]:
        try:
            self._text(here)
        except RegctlError as error:
            text = "; ".join((error.message, *error.details))
            yield Problem(text, hint=error.hint, outcome=error.outcome)

    def observe(self, here: Target) -> Before:
        data = self._read()
        return {
            "folder": os.path.isdir(drop_in_folder(self.site)),
            "before": base64.b64encode(data).decode() if data is not None else None,
            "ours": sha256(self._text(here).encode()),
        }

    def preview(self, here: Target) -> Preview:
        if (self._read() or b"") == self._text(here).encode():
            return Preview(f"the site remembers it already: {self.title()}", changes=False)
        return Preview(self.title(), True, (Text(f"{drop_in_path(self.site)}\n{to_yaml(self._changes())}"),))

    def apply(self, here: Target, before: Before) -> StepReport:
        if (self._read() or b"") == self._text(here).encode():
            return StepReport(changed=False)
        here.run.guard()
        persist(self.site, self._changes(), type(here.world.site))
        return StepReport({"file": drop_in_path(self.site)})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        return "pending"  # laying the same over it again changes nothing

    def undo(self, here: Target, before: Before) -> None:
        path, folder = drop_in_path(self.site), drop_in_folder(self.site)
        if not os.path.isdir(folder):
            return
        was = base64.b64decode(before["before"]) if before["before"] is not None else None
        with locked(folder):
            data = self._read()
            if data == was:
                pass
            elif data is None or sha256(data) != before["ours"]:
                raise RefusedError(
                    f"{path} was changed meanwhile; it is not overwritten",
                    hint=f"take out of it by hand what registries.{self.registry}.config says too much",
                )
            elif was is not None:
                write_atomically(path, was, 0o640)
            else:
                os.unlink(path)
        if not before["folder"]:
            with contextlib.suppress(OSError):  # stays where something else has come to be in it
                os.rmdir(folder)

    def _changes(self) -> dict[str, Any]:
        return {"registries": {self.registry: {"config": self.values}}}

    def _text(self, here: Target) -> str:
        return preview(self.site, self._changes(), type(here.world.site))[0]

    def _read(self) -> bytes | None:
        try:
            with open(drop_in_path(self.site), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
