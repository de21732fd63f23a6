"""The registry's own program as its service runs it; feature flags; whose file it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ctl.config.models import GitlabRegistry, Site, site_model
from ctl.engines.distribution import Distribution
from ctl.engines.gitlab import Gitlab
from ctl.errors import ConfigError, RefusedError
from ctl.hosts.base import Command
from ctl.recipes.model import Target
from ctl.steps.config_environment import mistakes, wrong_flags
from ctl.steps.metadata_doors import metadata_database, programs
from ctl.steps.omnibus import asked_of_site, generated_reason
from ctl.steps.registry_program import program
from ctl.steps.set_feature_flags import SetFeatureFlags, writes_flags
from ctl.testing import MemoryHost, MemoryService
from ctl.testing.world import MemoryRun, MemoryWorld

VARIABLES = "/etc/default/registry"
SERVICES = ("REGISTRY_FF_ENFORCE_LOCKFILES", "REGISTRY_FF_BBM")


def world(engine: str = "gitlab", kind: str = "systemd", **node: Any) -> MemoryWorld:
    described = {
        "version": 1,
        "hosts": {"here": {"connection": "local"}},
        "databases": {"metadata": {"embedded": True}},
        "registries": {
            "main": {
                "engine": engine,
                "storage": {"filesystem": {"rootdirectory": "/srv"}},
                "nodes": [
                    {
                        "host": "here",
                        "binary": "/opt/registry",
                        "config_file": "/etc/registry.yml",
                        "url": "http://127.0.0.1:5000",
                        "service": {"kind": kind, "name": "registry"},
                        "user": "registry",
                        **node,
                    }
                ],
            }
        },
    }
    site: Site = site_model().model_validate(described)
    host = MemoryHost("here")
    host.make_directory("/etc/default", mode=0o755)
    return MemoryWorld(
        site,
        hosts={"here": host},
        engines={"main": Gitlab() if engine == "gitlab" else Distribution()},
    )


def test_fault_07_the_services_user_and_environment_are_applied() -> None:
    made = world(environment_file=VARIABLES)
    made.hosts["here"].write(
        VARIABLES, b"SSL_CERT_DIR=/certs\nPGCONNECT_TIMEOUT=3\nPGAPPNAME=x\n", mode=0o640
    )
    command = program(made, "main", "here", Command(("/opt/registry", "database", "import"), env={"A": "b"}))
    assert command.user == "registry"
    assert command.timeout == timedelta(minutes=10)
    assert command.env == {
        "SSL_CERT_DIR": "/certs",
        "PGCONNECT_TIMEOUT": "3",  # the operator's own stays
        "PGAPPNAME": "regctl",
        "REGISTRY_FF_ENFORCE_LOCKFILES": "true",
        "REGISTRY_FF_BBM": "false",
        "REGISTRY_FF_DYNAMIC_MEDIA_TYPES": "false",
        "REGISTRY_FF_ONGOING_RENAME_CHECK": "false",
        "A": "b",
    }


def test_a_silent_database_host_never_hangs_a_call() -> None:
    assert program(world(), "main", "here", Command(("/opt/registry",))).env["PGCONNECT_TIMEOUT"] == "10"


def test_the_commands_own_environment_and_timeout_win() -> None:
    given = Command(("/r",), env={"REGISTRY_FF_BBM": "true"}, timeout=timedelta(seconds=5))
    made = program(world(), "main", "here", given, timeout=None)
    assert (made.env["REGISTRY_FF_BBM"], made.timeout) == ("true", timedelta(seconds=5))
    assert program(world(), "main", "here", Command(("/r",)), timeout=None).timeout is None


def test_half_an_environment_is_none() -> None:
    made = world(environment_file=VARIABLES)
    with pytest.raises(ConfigError, match="is not there"):
        program(made, "main", "here", Command(("/r",)))
    made.hosts["here"].write(VARIABLES, b"GOOD=1\nexport SECRET hunter2\n", mode=0o640)
    with pytest.raises(ConfigError, match=r"registry:2") as caught:
        program(made, "main", "here", Command(("/r",)))
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_folder_of_variables_is_read_as_runit_does() -> None:
    made = world(environment_file="/opt/env")
    host = made.hosts["here"]
    host.make_directory("/opt/env", mode=0o755)
    for name, text in (("SSL_CERT_DIR", b"/certs  \nignored\n"), ("EMPTY", b""), ("not-a-name", b"x")):
        host.write(f"/opt/env/{name}", text, mode=0o600)
    env = program(made, "main", "here", Command(("/r",))).env
    assert env["SSL_CERT_DIR"] == "/certs"
    assert "EMPTY" not in env
    assert "not-a-name" not in env


def test_distribution_has_no_flags_and_no_metadata_database() -> None:
    made = world("distribution")
    assert set(program(made, "main", "here", Command(("/r",))).env) == {"PGCONNECT_TIMEOUT", "PGAPPNAME"}
    with pytest.raises(RefusedError, match="has no metadata database"):
        programs(made, "main")
    with pytest.raises(RefusedError):
        metadata_database(made, "main")


def test_a_registry_without_a_named_database_is_told_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="names no metadata database") as caught:
        metadata_database(world(), "main")
    assert "registries.main.database" in caught.value.hint


# -- feature flags ------------------------------------------------------------------------------------------


def on(made: MemoryWorld) -> Target:
    return Target(made, MemoryRun())


STEP = SetFeatureFlags(registry="main", node="here")
BEFORE = b"# mine\nREGISTRY_FF_BBM=true\nAWS_KEY=secret"


def test_flags_are_written_once_and_everything_else_stays() -> None:
    made = world(environment_file=VARIABLES)
    host = made.hosts["here"]
    host.write(VARIABLES, BEFORE, mode=0o640)
    assert writes_flags(made, "main", "here")
    here = on(made)
    assert list(STEP.check(here)) == []
    before = STEP.observe(here)
    assert "secret" not in str(before)
    assert "secret" not in str(STEP.preview(here))
    assert STEP.probe(here, before) == "pending"
    STEP.apply(here, before)
    text = host.read(VARIABLES).decode()
    assert text.startswith("# mine\nAWS_KEY=secret\n")
    assert text.count("REGISTRY_FF_BBM=") == 1
    assert "REGISTRY_FF_BBM=false\n" in text
    assert (STEP.probe(here, before), list(STEP.verify(here))) == ("done", [])
    assert wrong_flags(made, "main", "here") == {}
    assert not writes_flags(made, "main", "here")
    STEP.apply(here, before)  # again after a crash: nothing more
    assert host.read(VARIABLES).decode() == text
    STEP.undo(here, before)
    assert host.read(VARIABLES) == BEFORE
    info = host.stat(VARIABLES)
    assert info is not None
    assert info.mode == 0o640


def test_a_file_that_changed_meanwhile_is_not_overwritten() -> None:
    made = world(environment_file=VARIABLES)
    made.hosts["here"].write(VARIABLES, BEFORE, mode=0o640)
    here = on(made)
    before = STEP.observe(here)
    made.hosts["here"].write(VARIABLES, BEFORE + b"\nMORE=1\n", mode=0o640)
    with pytest.raises(RefusedError, match="changed since"):
        STEP.apply(here, before)


def test_a_file_that_was_not_there_goes_again() -> None:
    made = world(environment_file=VARIABLES)
    here = on(made)
    before = STEP.observe(here)
    STEP.apply(here, before)
    assert wrong_flags(made, "main", "here") == {}
    STEP.undo(here, before)
    assert made.hosts["here"].stat(VARIABLES) is None


def test_a_process_that_regctl_starts_needs_no_file() -> None:
    assert wrong_flags(world(kind="process"), "main", "here") == {}
    made = world()
    assert set(SERVICES) <= set(wrong_flags(made, "main", "here"))
    assert not writes_flags(made, "main", "here")  # nowhere to write them: `config check` says so


def test_gitlab_ctl_is_asked_for_flags_only_where_it_is_seen_that_they_lack() -> None:
    """Asked for although they are there, they would be waited for without end."""
    made = world(kind="runit", generated_by="omnibus")
    service = MemoryService(made.hosts["here"])
    made.services["main", "here"] = service
    text = b"version: 0.1\n"
    assert asked_of_site(made, "main", "here", text).fragment is None  # it does not run: nobody knows
    service.start()
    process = service.state().process
    assert process is not None
    flags = Gitlab().feature_environment(made.registry("main").features.model_dump())
    environ = "\0".join(f"{name}={value}" for name, value in flags.items())
    place = f"/proc/{process.pid}"
    made.hosts["here"].make_directory(place, mode=0o755)
    made.hosts["here"].write(f"{place}/environ", b"PATH=/bin\0", mode=0o400)
    lacking = asked_of_site(made, "main", "here", text).fragment
    assert lacking is not None
    assert "'REGISTRY_FF_ENFORCE_LOCKFILES' => 'true'" in lacking.text
    made.hosts["here"].write(f"{place}/environ", environ.encode(), mode=0o400)
    assert asked_of_site(made, "main", "here", text).fragment is None
    assert list(mistakes(made, "main", "here", {})) == []


def test_a_folder_of_variables_is_not_written() -> None:
    made = world(environment_file="/opt/env")
    made.hosts["here"].make_directory("/opt/env", mode=0o755)
    assert set(SERVICES) <= set(wrong_flags(made, "main", "here"))
    assert not writes_flags(made, "main", "here")


# -- whose file it is -------------------------------------------------------------------------------------

OMNIBUS = (
    b'version: 0.1\nlog:\n  fields:\n    service: registry\n    environment: production\nstorage: {"a":{}}\n'
)


@pytest.mark.parametrize(
    ("node", "data", "generated"),
    [
        ({}, b"version: 0.1\n", False),
        ({}, OMNIBUS, True),
        ({}, b"# written by gitlab-ctl reconfigure\nversion: 0.1\n", True),
        ({"generated_by": "omnibus"}, b"version: 0.1\n", True),
        ({"config_file": "/var/opt/gitlab/registry/config.yml"}, None, True),
        ({"generated_by": "nobody", "config_file": "/var/opt/gitlab/registry/config.yml"}, OMNIBUS, False),
    ],
)
def test_a_generated_file_is_told_by_the_site_its_place_or_its_text(
    node: dict[str, str], data: bytes | None, generated: bool
) -> None:
    registry = world(**node).registry("main")
    assert isinstance(registry, GitlabRegistry)
    assert bool(generated_reason(registry, registry.nodes[0], data)) is generated


def test_another_engines_file_is_never_gitlab_ctls() -> None:
    registry = world("distribution").registry("main")
    assert generated_reason(registry, registry.nodes[0], OMNIBUS) == ""
