"""Bring a node back to the file, the program and the process that it had, from wherever it stands."""

from __future__ import annotations

import time

from ctl.errors import RefusedError, RegctlError
from ctl.hosts.base import Command
from ctl.recipes.model import Before
from ctl.steps.node_doors import identity, sha256
from ctl.steps.read_only_node import READY, SETTLE
from ctl.steps.rolling_node import RollingNode


def bring_back(node: RollingNode, before: Before) -> bool:
    """Bring back what is not as it was; True if anything was not. RegctlError where it cannot be proved."""
    process = node.process()
    untouched = identity(process) == before["process"]
    if not _switched(node, before) and (untouched or (not before["running"] and process is None)):
        return False
    if not untouched and process is not None:
        node.stop()
    if sha256(node.old.read()) != before["sha256"]:
        _put_file(node, before)
    if node.roll.way == "link" and node.link() != before["link"]:
        node.lead_link(before["link"])
    if _replaced(node, before):
        node.copy_program(before["kept_program"], node.roll.was)
    if before["running"]:
        node.here.run.guard()
        node.old.service.start()
        node.old.client.wait_ready(READY)
        prove_answers(node, str(before["answers"]))
    return True


def write_config(node: RollingNode, before: Before, data: bytes) -> None:
    """Write the node's file with the mode and owner that it had."""
    node.here.run.guard()
    path, mode = str(before["config_file"]), int(before["mode"])
    node.host.write(path, data, mode=mode, owner=before["owner"], group=before["group"])


def prove_answers(node: RollingNode, wanted: str) -> None:
    """Prove that a node accepts or refuses writes as it did; RegctlError otherwise."""
    deadline = time.monotonic() + SETTLE
    while (probe := node.old.client.probe_write()).state != wanted:
        if time.monotonic() > deadline:
            raise RegctlError(
                f"{node.roll.name} is {probe.state}, and was {wanted} before: {probe.detail}".rstrip(": "),
                hint="see its log: regctl service tail",
            )
        time.sleep(0.1)


def _switched(node: RollingNode, before: Before) -> bool:
    if node.roll.way == "link" and node.link() != before["link"]:
        return True
    return _replaced(node, before) or sha256(node.old.read()) != before["sha256"]


def _replaced(node: RollingNode, before: Before) -> bool:
    """Say whether a package has replaced the program since it was kept."""
    if node.roll.way != "in-place" or node.host.stat(before["kept_program"]) is None:
        return False
    return not node.same_program(before["kept_program"], node.roll.was)


def _put_file(node: RollingNode, before: Before) -> None:
    path, kept = str(before["config_file"]), str(before["kept"])
    if sha256(node.old.read()) != before["ours"]:
        raise RefusedError(
            f"{node.roll.name}: somebody has changed {path} meanwhile; it is not overwritten. The file as it "
            f"was before is kept as {kept}",
            hint=f"settle it by hand: diff {kept} {path}",
        )
    original = node.host.read(kept)
    if sha256(original) != before["sha256"]:
        raise RefusedError(f"{kept} is not the file that was; {path} is left as it is")
    write_config(node, before, original)
    node.here.run.guard()
    node.host.run(Command(("touch", "-m", "-d", f"@{float(before['mtime']):.6f}", "--", path)))
