"""Make a registry's http.secret once, in a file of its own, and let the site point to it."""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Iterator

from ctl.config.files import create, make_folder
from ctl.config.persist import persist, preview
from ctl.config.secrets import read_secret_file
from ctl.errors import RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target
from ctl.steps.config_plan import secret_path, secret_reference

BYTES = 32


class MakeHttpSecret(Step):
    """Make the secret that a registry's nodes share, unless the site names one already."""

    registry: str
    site: str  # the site file
    secrets: str  # the folder of its secrets

    def title(self) -> str:
        """Name the registry."""
        return f"make the http.secret of {self.registry}"

    def check(self, here: Target) -> Iterator[Problem]:
        """The drop-in must be ours to extend."""
        if self._is_ours(here):
            try:
                preview(self.site, self._reference(), type(here.world.site))
            except RegctlError as error:
                yield Problem(error.message, hint=error.hint, outcome=error.outcome)

    def observe(self, here: Target) -> Before:
        """Remember whether it was there."""
        return {"existed": os.path.lexists(self._path())}

    def preview(self, here: Target) -> Preview:
        """Name the file."""
        return Preview(f"{self.title()} in {self._path()}", self._pending(here))

    def apply(self, here: Target, before: Before) -> StepReport:
        """Write the file, then the reference."""
        if not self._pending(here):
            return StepReport(changed=False, not_applicable="the site names one already")
        here.run.guard()
        if not os.path.lexists(self._path()):
            make_folder(self.secrets, 0o700)
            create(self._path(), random.token_hex(BYTES).encode() + b"\n", 0o600)
        persist(self.site, self._reference(), type(here.world.site))
        return StepReport({"file": self._path()})

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Doing it again is safe: a file that is there is kept."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        """The file must be there and closed to others."""
        if self._is_ours(here):
            try:
                read_secret_file(self._path())
            except RegctlError as error:
                yield Problem(error.message, hint=error.hint, outcome=error.outcome)

    def _is_ours(self, here: Target) -> bool:
        return secret_reference(here.world, self.registry, self.secrets) == f"file:{self._path()}"

    def _pending(self, here: Target) -> bool:
        return self._is_ours(here) and not os.path.lexists(self._path())

    def _path(self) -> str:
        return secret_path(self.secrets, self.registry)

    def _reference(self) -> dict[str, object]:
        return {"registries": {self.registry: {"config": {"http": {"secret": f"file:{self._path()}"}}}}}
