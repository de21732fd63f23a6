"""The switch of a node's backend, killed at every change of the world, goes on or comes back whole."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from packaging.version import Version

from ctl.config.models import Site, site_model
from ctl.engines.gitlab import Gitlab
from ctl.errors import CommandFailedError, RefusedError, RegctlError
from ctl.http import RegistryClient
from ctl.http_values import Answer
from ctl.steps import read_only_node, switch_node
from ctl.steps.accept_backend import AcceptBackend
from ctl.steps.switch_backend import SwitchBackend
from ctl.steps.switch_window import SwitchWindow
from ctl.testing.world import MemoryRun
from ctl.testing_http import MemoryRegistry
from tests.support.memory_node import CLOSED, CONFIG, CONFIG_FILE, Crash, Node, RegistryService

VALUES: dict[str, dict[str, Any]] = {
    "database": {"enabled": True, "host": "db", "dbname": "r", "user": "r", "password": "file:/p"},
    "gc": {"disabled": True},
}
WINDOW = SwitchWindow(registry="main", node="here", to="database", values=VALUES, secrets="/secrets")
SWITCH = SwitchBackend(registry="main", to="database")
ACCEPT = AcceptBackend(registry="main", to="database")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not answer as it should never will, in memory."""
    monkeypatch.setattr(switch_node, "SETTLE", 0.0)
    monkeypatch.setattr(read_only_node, "SETTLE", 0.0)


@dataclass
class GitlabInMemory(MemoryRegistry):
    """Says on /v2/ which backend it serves."""

    database: bool = False

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = super().send(method, url, headers, body)
        if answer.status == 401:  # the real one says nothing to strangers
            return answer
        says = {"gitlab-container-registry-database-enabled": str(self.database).lower()}
        return Answer(answer.status, {**answer.headers, **says}, answer.body)


@dataclass
class GitlabService(RegistryService):
    """Serves what its file asks for when it starts."""

    without_database: bool = False  # it does not start on the database

    def _start(self) -> None:
        config = yaml.safe_load(self.host.read(self.config_file))
        enabled = bool((config.get("database") or {}).get("enabled"))
        if enabled and self.without_database:
            raise CommandFailedError("the service ended at once")
        super()._start()
        assert isinstance(self.registry, GitlabInMemory)
        self.registry.database = enabled


@functools.cache
def model() -> type[Site]:
    """Made once: it takes longer than all else here."""
    return site_model()


class GitlabNode(Node):
    """A node of GitLab's registry in memory."""

    def __init__(self, state_dir: str, *, config: bytes = CONFIG, running: bool = True) -> None:
        super().__init__(state_dir, config=config, running=False)
        self.registry: GitlabInMemory = GitlabInMemory(running=False)
        self.service: GitlabService = GitlabService(self.host, registry=self.registry)
        described = self.world.site.model_dump(mode="json", exclude_none=True)
        described["registries"]["main"]["engine"] = "gitlab"
        self.world.site = model().model_validate(described)
        self.world.engines["main"] = Gitlab()
        self.world.versions["main", "here"] = Version("4.32.0")
        self.world.services["main", "here"] = self.service
        self.world.secrets["file:/p"] = "canary-password"
        client = RegistryClient("http://127.0.0.1:5000", transport=self.registry)
        self.world.clients["main", "here"] = client
        self.arm(0)
        if running:
            self.service.start()

    def says(self) -> dict[str, Any]:
        """The configuration as it stands."""
        found = yaml.safe_load(self.config())
        assert isinstance(found, dict)
        return found


@dataclass
class Story:
    """What the journal would remember of a run: what a step saw before, and which are done."""

    node: GitlabNode
    run: MemoryRun = field(default_factory=MemoryRun)
    before: dict[str, Any] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def forward(self) -> None:
        """Do what is not done yet, as the runner would after a crash too."""
        here = self.node.target()
        here = type(here)(here.world, self.run)
        self.before.setdefault("window", None) or self.before.update(window=WINDOW.observe(here))
        if "window" not in self.done:
            WINDOW.apply(here, self.before["window"])
            self.done.add("window")
        self.before.setdefault("switch", None) or self.before.update(switch=SWITCH.observe(here))
        if "switch" not in self.done:
            SWITCH.apply(here, self.before["switch"])
            self.done.add("switch")
        self.run.step = "AcceptBackend"
        ACCEPT.apply(here, {})
        WINDOW.leave(here, self.before["window"])

    def back(self) -> None:
        """Undo the switch, if it was begun and not accepted, and leave the window."""
        here = self.node.target()
        here = type(here)(here.world, self.run)
        if self.before.get("switch") and not self.run.notes("AcceptBackend"):
            SWITCH.undo(here, self.before["switch"])
        if self.before.get("window"):
            WINDOW.leave(here, self.before["window"])

    def safe(self) -> None:
        """From the window's proof to the decision nobody may push, and never is the tree open after it."""
        open_now = self.node.registry.running and not self.node.registry.read_only
        accepted = bool(self.run.notes("AcceptBackend"))
        if "window" in self.done and not accepted:
            assert not open_now
        if accepted and open_now:
            assert self.node.registry.database


def node_of(state_dir: str, kind: str) -> GitlabNode:
    return GitlabNode(state_dir, config=CLOSED if kind == "closed" else CONFIG, running=kind != "stopped")


KINDS = ("open", "closed", "stopped")


def switched(node: GitlabNode, kind: str, before: Any) -> None:
    now = node.standing()
    assert (now.running, now.read_only) == (before.running, before.read_only)
    assert (now.mode, now.owner, now.group, now.names) == (
        before.mode,
        before.owner,
        before.group,
        before.names,
    )
    says = node.says()
    assert says["database"] == {**VALUES["database"], "password": "canary-password"}
    assert says["gc"] == {"disabled": True}
    assert (says["storage"].get("maintenance") is not None) is (kind == "closed")
    assert b"# kept by hand" in now.config
    if now.running:
        assert node.registry.database


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_switched_and_as_open_as_it_was(tmp_path: Any, kind: str) -> None:
    node = node_of(str(tmp_path), kind)
    before = node.standing()
    Story(node).forward()
    switched(node, kind, before)


@pytest.mark.parametrize("kind", KINDS)
def test_taken_back_before_it_is_accepted_everything_is_as_it_was(tmp_path: Any, kind: str) -> None:
    node = node_of(str(tmp_path), kind)
    before = node.standing()
    story = Story(node)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AcceptBackend, "apply", _stop)
        with pytest.raises(Crash):
            story.forward()
    story.safe()
    story.back()
    assert node.standing() == before
    assert not node.registry.database


def _stop(*_: object) -> None:
    raise Crash


def crashes(state_dir: str, kind: str) -> int:
    """How many changes of the world a whole story makes."""
    node = node_of(state_dir, kind)
    bomb = node.arm(10_000)
    Story(node).forward()
    return bomb.passed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_change_it_goes_on(tmp_path: Any, kind: str, after: bool) -> None:
    total = crashes(str(tmp_path), kind)
    assert total >= (6 if kind == "open" else 3)
    for number in range(1, total + 1):
        node = node_of(str(tmp_path), kind)
        before, story = node.standing(), Story(node)
        node.arm(number, after=after)
        with pytest.raises(Crash):
            story.forward()
        story.safe()
        node.arm(0)
        story.forward()
        switched(node, kind, before)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_change_it_comes_back_unless_it_was_accepted(
    tmp_path: Any, kind: str, after: bool
) -> None:
    for number in range(1, crashes(str(tmp_path), kind) + 1):
        node = node_of(str(tmp_path), kind)
        before, story = node.standing(), Story(node)
        node.arm(number, after=after)
        with pytest.raises(Crash):
            story.forward()
        node.arm(0)
        accepted = bool(story.run.notes("AcceptBackend"))
        story.back()
        if accepted:
            switched(node, kind, before)
        else:
            assert node.standing() == before


def test_killed_while_it_comes_back_it_still_comes_back(tmp_path: Any) -> None:
    for number in range(1, 30):
        node = node_of(str(tmp_path), "open")
        before, story = node.standing(), Story(node)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AcceptBackend, "apply", _stop)
            with pytest.raises(Crash):
                story.forward()
        bomb = node.arm(number)
        with contextlib.suppress(Crash):
            story.back()
        if bomb.passed < number:
            return
        node.arm(0)
        story.back()
        assert node.standing() == before
    raise AssertionError("it never came to an end")


def test_a_node_that_does_not_start_on_the_database_is_brought_back(tmp_path: Any) -> None:
    node = node_of(str(tmp_path), "open")
    before, story = node.standing(), Story(node)
    node.service.without_database = True
    with pytest.raises(CommandFailedError):
        story.forward()
    story.safe()
    story.back()
    assert node.standing() == before


def test_a_process_that_stays_writable_is_no_window(tmp_path: Any) -> None:
    node = node_of(str(tmp_path), "open")
    before, story = node.standing(), Story(node)
    node.service.stuck_open = True
    with pytest.raises(RegctlError, match="could not be made read-only, and is as it was"):
        story.forward()
    assert node.standing() == before


def test_a_file_that_somebody_changed_in_the_window_is_not_overwritten(tmp_path: Any) -> None:
    node = node_of(str(tmp_path), "open")
    story = Story(node)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AcceptBackend, "apply", _stop)
        with pytest.raises(Crash):
            story.forward()
    node.edit(node.config() + b"# by hand\n")
    with pytest.raises(RefusedError, match="somebody has changed"):
        story.back()
    assert node.config().endswith(b"# by hand\n")
    assert node.host.stat(f"/etc/docker/registry/.config.yml.regctl-original-{story.run.id}") is not None


def test_no_password_is_in_what_is_journaled_or_shown(tmp_path: Any) -> None:
    node = node_of(str(tmp_path), "open")
    here = node.target()
    assert "canary-password" not in repr(WINDOW.observe(here))
    assert "canary-password" not in repr(WINDOW.preview(here))
    assert "canary-password" not in WINDOW.model_dump_json()
    Story(node).forward()
    assert b"canary-password" in node.host.read(CONFIG_FILE)


@pytest.mark.parametrize("name", ["REGISTRY_DATABASE_ENABLED", "REGISTRY_GC_DISABLED"])
def test_a_variable_that_overrides_the_switch_is_named(tmp_path: Any, name: str) -> None:
    node = node_of(str(tmp_path), "open")
    node.set_environment({name: "false", "REGISTRY_LOG_LEVEL": "info"})
    said = [problem.message for problem in WINDOW.check(node.target())]
    assert len(said) == 1, said
    assert f"{name} in the environment" in said[0]


def test_a_registry_that_asks_for_a_user_cannot_be_proved_without_one(tmp_path: Any) -> None:
    node = node_of(str(tmp_path), "open")
    assert list(WINDOW.check(node.target())) == []
    node.registry.users = {"somebody": "a-word"}
    assert any("does not say which backend" in one.message for one in WINDOW.check(node.target()))
