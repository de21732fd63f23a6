"""Ask for settings of a file that gitlab-ctl writes, wait for its reconfigure, and prove what they did."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ctl.config.files import make_folder, write_atomically
from ctl.config.gitlab_rb import Fragment
from ctl.errors import RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, Problem, StepReport, Target
from ctl.report.events import Message
from ctl.report.model import Text
from ctl.steps.ask_reconfigure import AskReconfigure
from ctl.steps.omnibus import RECONFIGURE, SETTINGS_FILE, Asked, asked, fragment_path
from ctl.steps.switch_node import SwitchNode


class AskSettings(AskReconfigure):
    """Have gitlab-ctl write these settings: the lines are shown and kept in a file, and waited for.

    With `wait` 0 it ends there, refused, and the same command goes on once the reconfigure was made. What
    comes later in a recipe is never asked for before its turn.
    """

    values: dict[str, dict[str, Any]]  # by section; secrets as references
    what: str  # in a few words, for people
    closed: bool | None = None  # what a write must meet then; None: whatever it meets now
    database: bool | None = None  # what the registry must serve then

    def title(self) -> str:
        return f"have gitlab-ctl {self.what}: {self.registry} on {self.node}"

    def preview(self, here: Target) -> Preview:
        if self._asked(here).fragment is None:
            return Preview(f"{self.title()}: its file says so already", changes=False)
        return Preview(
            self.title(), True, (Text(f"the lines for {SETTINGS_FILE} are shown when its turn comes"),)
        )

    def apply(self, here: Target, before: Before) -> StepReport:
        made = self._asked(here).fragment
        if made is None:
            return self._prove(here, changed=False)
        self._tell(here, made)
        if not self.wait:
            raise RefusedError(
                f"{self.registry}/{self.node}: {SETTINGS_FILE} is to {self.what}; regctl does not write it",
                hint=f"put these lines into {SETTINGS_FILE} in place of those of the same name (with secrets "
                f"they are in {fragment_path(here.world, self.registry, self.node)}), run `{RECONFIGURE}`, "
                f"then the same command again:\n{made.shown}",
            )
        self._wait(here)
        return self._prove(here, changed=True)

    def verify(self, here: Target) -> Iterator[Problem]:
        yield from super().verify(here)
        node = SwitchNode(here, self.registry, self.node)
        try:
            if self.closed:
                node.prove_closed()
            if node.service.state().running and (self.closed is False or self.database is not None):
                node.prove_follows(closed=bool(self.closed), database=self.database)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)

    def _tell(self, here: Target, made: Fragment) -> None:
        path = fragment_path(here.world, self.registry, self.node)
        here.run.guard()
        make_folder(os.path.dirname(path), 0o700)
        write_atomically(path, f"{made.text}\n".encode(), 0o600)
        text = f"{SETTINGS_FILE} on {self.node} is to {self.what}: the lines are in {path}"
        here.run.emit(Message(f"{text}; put them in, then run: {RECONFIGURE}", "warning"))

    def _asked(self, here: Target) -> Asked:
        return asked(here.world, self.registry, self._on(here).read(), self.values)
