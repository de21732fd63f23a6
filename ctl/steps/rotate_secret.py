"""Replace a secret that a registry's nodes share by a new one, with a way back until all of them use it."""

from __future__ import annotations

import os
import secrets as random
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ctl.config.files import create, write_atomically
from ctl.config.secrets import is_secret_key, read_secret_file
from ctl.errors import LockedError, Outcome, RefusedError, RegctlError
from ctl.recipes.model import Before, Preview, ProbeAnswer, Problem, Step, StepReport, Target, Undoable
from ctl.steps.config_plan import GeneratedPlan, plan_config, secret_reference

if TYPE_CHECKING:
    from ctl.world import World

MADE_BY_US = "http.secret"  # the one that may be any random text; others are agreed upon with somebody else
BYTES = 32


def reference_of(world: World, registry: str, setting: str, secrets: str) -> str:
    """Return where the site says that a setting's secret comes from; "" if it says nothing of it."""
    if setting == MADE_BY_US:
        return secret_reference(world, registry, secrets)
    found: Any = world.registry(registry).config
    for part in setting.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


class _SecretStep(Step):
    """What the two share: which secret of which registry."""

    registry: str
    secrets: str  # the folder of the site's secrets
    setting: str = MADE_BY_US

    def _path(self, here: Target) -> str:
        reference = reference_of(here.world, self.registry, self.setting, self.secrets)
        return reference.removeprefix("file:") if reference.startswith("file:") else ""

    def _kept(self, here: Target, run: str) -> str:
        folder, name = os.path.split(self._path(here))
        return os.path.join(folder, f".{name}.regctl-old-{run}")


class RotateSecret(_SecretStep, Undoable):
    """Put a new secret into the file that the site names; the old one is kept beside it until all is done.

    `http.secret` is made, 32 random bytes; the new value of any other comes from a file of the operator's.
    """

    new_value_file: str | None = None

    def title(self) -> str:
        return f"put a new {self.setting} of {self.registry} in its file"

    def check(self, here: Target) -> Iterator[Problem]:
        reference = reference_of(here.world, self.registry, self.setting, self.secrets)
        if not is_secret_key(self.setting.rpartition(".")[2]):
            yield Problem(f"{self.setting} is no secret by its name", outcome=Outcome.USAGE)
            return
        if not reference.startswith("file:"):
            kind = reference.partition(":")[0]
            what = f"comes from {kind}:" if kind in ("env", "command") else "is not in the site"
            yield Problem(
                f"{self.setting} of {self.registry} {what}, so there is no file to write",
                f"name it under registries.{self.registry}.config as file:/path, or change it at its source",
                outcome=Outcome.CONFIG,
            )
            return
        try:
            read_secret_file(self._path(here))
            if self.new_value_file is not None:
                read_secret_file(self.new_value_file)
        except RegctlError as error:
            yield Problem(error.message, error.hint, outcome=error.outcome)
        if self.new_value_file is None and self.setting != MADE_BY_US:
            yield Problem(
                f"{self.setting} cannot be made by regctl: somebody else must know it too",
                "put the new one in a file (mode 0600) and name it: --set new_value_file=/path",
                outcome=Outcome.USAGE,
            )
        yield from self._others(here, reference)
        yield from self._nodes(here)

    def _others(self, here: Target, reference: str) -> Iterator[Problem]:
        for name, described in here.world.site.registries.items():
            if name != self.registry and reference in str(described.config):
                yield Problem(
                    f"{name} uses {reference.removeprefix('file:')} too, and would not be restarted",
                    "give each registry a file of its own, or rotate both by hand",
                )

    def _nodes(self, here: Target) -> Iterator[Problem]:
        """Every node's file must be what the site says already: then nothing but the secret changes."""
        for node in here.world.registry(self.registry).nodes:
            if os.path.lexists(self._kept(here, here.run.id)):
                return  # this run, resumed: the files are on their way
            plan = plan_config(here.world, self.registry, node.host, self.secrets)
            if isinstance(plan, GeneratedPlan):
                text = f"{plan.before.path} on {node.host} is written by gitlab-ctl: rotate it in gitlab.rb"
                yield Problem(text, "registry['registry_http_secret'], then: gitlab-ctl reconfigure")
            elif plan.before.ownership.state != "managed" or plan.changes:
                yield Problem(
                    f"{plan.before.path} on {node.host} is not what the site says: more would change",
                    f"`regctl config diff {self.registry}` shows it; run `regctl config apply` first",
                )

    def observe(self, here: Target) -> Before:
        return {"path": self._path(here), "kept": self._kept(here, here.run.id)}

    def preview(self, here: Target) -> Preview:
        return Preview(f"{self.title()}, {self._path(here)}")

    def apply(self, here: Target, before: Before) -> StepReport:
        path, kept = str(before["path"]), str(before["kept"])
        here.run.guard()
        if not os.path.lexists(kept):
            create(kept, read_secret_file(path), 0o600)
        if read_secret_file(path) == read_secret_file(kept):
            here.run.guard()
            write_atomically(path, self._new(), stat.S_IMODE(os.stat(path).st_mode))
        return StepReport({"file": path})

    def _new(self) -> bytes:
        if self.new_value_file is not None:
            return read_secret_file(self.new_value_file)
        return random.token_hex(BYTES).encode() + b"\n"

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Doing it again is safe: a file that differs from the one that is kept is the new one."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        path, kept = self._path(here), self._kept(here, here.run.id)
        if os.path.lexists(kept) and read_secret_file(path) == read_secret_file(kept):
            yield Problem(f"{path} still holds the old secret", "is the new value the old one?")

    def undo(self, here: Target, before: Before) -> None:
        path, kept = str(before["path"]), str(before["kept"])
        if not os.path.lexists(kept):
            return
        here.run.guard()
        write_atomically(path, read_secret_file(kept), stat.S_IMODE(os.stat(path).st_mode))
        os.unlink(kept)


class ForgetSecret(_SecretStep):
    """Remove the old secret, once every node uses the new one: the copy of it, and files beside the
    configurations that hold it. What else holds it there is named."""

    def title(self) -> str:
        return f"remove the old {self.setting} of {self.registry}"

    def preview(self, here: Target) -> Preview:
        return Preview(self.title())

    def apply(self, here: Target, before: Before) -> StepReport:
        kept = self._kept(here, here.run.id)
        if not os.path.lexists(kept):
            return StepReport(changed=False)
        old = read_secret_file(kept).strip()
        if old in read_secret_file(self._path(here)):
            raise RefusedError(f"{self._path(here)} still holds the old secret; nothing is removed")
        removed, warnings = 0, []
        for node in here.world.registry(self.registry).nodes:
            # The new secret is in use everywhere: what cannot be removed is told, and takes nothing back.
            try:
                for path in list(self._holding(here, node.host, node.config_file, old)):
                    if ".before-" in os.path.basename(path):
                        here.run.guard()
                        here.world.host(node.host).remove(path)
                        removed += 1
                    else:
                        warnings.append(f"{path} on {node.host} still holds the old secret: remove it there")
            except LockedError:
                raise  # somebody has taken this run over
            except (RegctlError, OSError) as error:
                warnings.append(f"copies of the old secret may be left on {node.host}: {error}")
        here.run.guard()
        os.unlink(kept)
        return StepReport({"removed_copies": removed}, warnings=tuple(warnings))

    def _holding(self, here: Target, host_name: str, config_file: str, old: bytes) -> Iterator[str]:
        host, folder = here.world.host(host_name), os.path.dirname(config_file)
        for name in host.list_directory(folder):
            path = os.path.join(folder, name)
            info = host.stat(path)
            if info is not None and info.kind == "file" and info.size < 1 << 20 and old in host.read(path):
                yield path

    def probe(self, here: Target, before: Before) -> ProbeAnswer:
        """Removing again is safe."""
        return "pending"

    def verify(self, here: Target) -> Iterator[Problem]:
        kept = self._kept(here, here.run.id)
        if os.path.lexists(kept):
            yield Problem(f"{kept} is still there")
