"""The charts: their values and what they render, each against its schema, and the calls in them."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from ctl.config.load import load_site
from ctl.errors import EXIT_CODES, Outcome
from tests.support.charts import Chart, TemplateError, parse
from tests.unit.docs.test_shown_commands import mistake

FOLDER = Path(__file__).parents[3] / "examples" / "charts" / "regctl-jobs"
CHART = Chart(FOLDER)
SCHEMA = json.loads((FOLDER / "values.schema.json").read_text())
IMAGE = {"repository": "registry.example.com/regctl", "tag": "1.0"}
OLDEST, NEWEST = "1.31", kubernetes_validate.latest_version()
FULL: dict[str, Any] = {
    "image": {**IMAGE, "pullSecrets": [{"name": "pull"}]},
    "import": {"enabled": True, "step": "two"},
    "collect": {"enabled": True, "deleteUntagged": True},
    "registry": {"credentials": {"username": "regctl", "secret": "registry-user"}},
    "database": {"caSecret": "database-ca"},
    "recipes": {"mine": "version: 1\nname: mine\n"},
    "site": {"features": {"enforce_lockfiles": True}},
    "state": {"storageClass": "fast"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "jobs", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"team": "registry"},
}
FULL_VALUES = CHART.values(**FULL)
SETS = {
    "least": {"image": IMAGE},
    "full": FULL,
    "nothing": {"image": IMAGE, "migrate": {"enabled": False}, "watch": {"enabled": False}},
    "own-claim": {"image": IMAGE, "state": {"claim": "mine"}, "migrate": {"postDeployment": False}},
}


def validated(values: dict[str, Any]) -> dict[str, Any]:
    jsonschema.validate(values, SCHEMA)
    return values


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each job's name, its own spec and its pod's spec."""
    for one in manifests:
        if one["kind"] in ("Job", "CronJob"):
            spec = one["spec"] if one["kind"] == "Job" else one["spec"]["jobTemplate"]["spec"]
            yield one["metadata"]["name"], spec, spec["template"]["spec"]


@pytest.fixture(params=sorted(SETS))
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return CHART.manifests(validated(CHART.values(**SETS[request.param])))


@pytest.mark.parametrize(
    ("name", "version"), [("full", OLDEST), ("full", NEWEST), ("least", NEWEST), ("own-claim", NEWEST)]
)
def test_what_is_rendered_is_what_kubernetes_takes(name: str, version: str) -> None:
    found = CHART.manifests(validated(CHART.values(**SETS[name])))
    assert len(found) >= 3
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_key_would_be_noticed() -> None:
    """The control: neither the values nor the manifests may say anything that nobody reads."""
    job = next(one for one in CHART.manifests(CHART.values(image=IMAGE)) if one["kind"] == "Job")
    for path in (("spec",), ("spec", "template", "spec"), ("spec", "podFailurePolicy")):
        broken = copy.deepcopy(job)
        inner = broken
        for part in path:
            inner = inner[part]
        inner["backoffLimits"] = 3
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, NEWEST, strict=True)


@pytest.mark.parametrize(
    "over",
    [
        {},  # no image: there is none to fall back on
        {"image": IMAGE, "improt": {}},
        {"image": IMAGE, "import": {"step": "four"}},
        {"image": IMAGE, "import": {"enabled": "yes"}},
        {"image": IMAGE, "registry": {"url": "registry:5000"}},
        {"image": IMAGE, "registry": {"url": "http://user:word@registry:5000"}},
        {"image": IMAGE, "database": {"password": "in plain sight"}},
        {"image": IMAGE, "database": {"port": "5432"}},
        {"image": IMAGE, "collect": {"schedule": "daily"}},
        {"image": IMAGE, "state": {"size": "10"}},
        {"image": IMAGE, "recipes": {"Not a name": "version: 1"}},
        {"image": IMAGE, "site": {"nodes": []}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(over: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validated(CHART.values(**over))


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    def keys(schema: dict[str, Any], path: str = "") -> set[str]:
        found = set()
        for name, below in schema.get("properties", {}).items():
            found |= keys(below, f"{path}{name}.") or {path + name}
        return found

    def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
        found = set()
        for name, value in values.items():
            below = schema["properties"][name]
            deeper = isinstance(value, dict) and "properties" in below
            found |= leaves(value, below, f"{path}{name}.") if deeper else {path + name}
        return found

    values = yaml.safe_load((FOLDER / "values.yaml").read_text())
    assert keys(SCHEMA) - {"global"} == leaves(values, SCHEMA)


@pytest.mark.parametrize("name", ["least", "full"])
def test_the_site_is_one_that_regctl_reads(tmp_path: Path, name: str) -> None:
    manifests = CHART.manifests(validated(CHART.values(**SETS[name])))
    text = next(one for one in manifests if one["metadata"]["name"] == "jobs-regctl")["data"]["site.yml"]
    path = tmp_path / "site.yml"
    path.write_text(text)
    registry = load_site(str(path)).site.registries["main"]
    assert (registry.engine, registry.database) == ("gitlab", "registry")
    for _, _, pod in pods(manifests):
        mounted = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        node = registry.nodes[0]
        for wanted in (node.config_file, registry.storage.filesystem.rootdirectory, "/var/lib/regctl/state"):
            assert any(wanted.startswith(place) for place in mounted), wanted
        if name == "full":
            assert registry.credentials is not None
            assert registry.credentials.password == "file:/etc/regctl/secrets/registry.password"


def test_no_secret_is_in_a_manifest(manifests: list[dict[str, Any]]) -> None:
    """Passwords come from Secrets that the operator has made; nothing of them passes through the chart."""
    assert {one["kind"] for one in manifests} <= {"Job", "CronJob", "ConfigMap", "PersistentVolumeClaim"}
    for _, _, pod in pods(manifests):
        for container in (*pod["initContainers"], *pod["containers"]):
            assert [one["name"] for one in container["env"]] == ["REGCTL_SITE", "REGCTL_STATE_DIR", "HOME"]
        files = next(one for one in pod["volumes"] if one["name"] == "secrets")["projected"]
        assert files["defaultMode"] & 0o037 == 0, "regctl refuses a password that others may read"


def test_pods_may_do_as_little_as_they_can(manifests: list[dict[str, Any]]) -> None:
    for _, _, pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["restartPolicy"] == "Never"
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_every_job_calls_something_that_there_is(manifests: list[dict[str, Any]]) -> None:
    for name, _, pod in pods(manifests):
        arguments = pod["containers"][0]["args"]
        assert arguments[:2] == ["--output", "jsonl"]
        assert mistake(shlex.join(arguments)) == ""
        if "watch" not in name:
            assert arguments[2] == "--yes"
        assert pod["initContainers"][-1]["args"] == ["--output", "jsonl", "--yes", "run", "resume"]


def test_what_fails_for_good_is_not_tried_again(manifests: list[dict[str, Any]]) -> None:
    final = {EXIT_CODES[word] for word in (Outcome.USAGE, Outcome.REFUSED, Outcome.CONFIG)}
    for name, spec, pod in pods(manifests):
        if "watch" in name:
            assert spec["backoffLimit"] == 0
            assert pod["containers"][0]["command"] == ["regctl"]
            continue
        first, second = spec["podFailurePolicy"]["rules"]
        assert (first["action"], set(first["onExitCodes"]["values"])) == ("FailJob", final)
        assert first["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
        assert (second["action"], second["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")


@pytest.mark.parametrize(("code", "becomes"), [(0, 0), (1, 1), (3, 0), (5, 5), (6, 6), (10, 10), (130, 130)])
def test_findings_are_no_failure_of_a_job(tmp_path: Path, code: int, becomes: int) -> None:
    """The very shell line of the chart, around a program that ends with each exit code."""
    import subprocess

    program = tmp_path / "regctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {code}\n')
    program.chmod(0o755)
    found = pods(CHART.manifests(CHART.values(image=IMAGE)))
    pod = next(pod for name, _, pod in found if "migrate" in name)
    command = pod["containers"][0]["command"]
    arguments = ["a b", "$HOME", "'"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert (done.returncode, done.stdout.splitlines()) == (becomes, arguments)


def test_hooks_come_in_their_order() -> None:
    found = {
        one["metadata"]["name"]: one["metadata"].get("annotations", {})
        for one in CHART.manifests(FULL_VALUES)
    }
    weight = {name: int(notes.get("helm.sh/hook-weight", 0)) for name, notes in found.items()}
    assert weight["jobs-regctl"] < weight["jobs-regctl-migrate-pre"]
    assert weight["jobs-regctl-state"] < weight["jobs-regctl-migrate-pre"]
    assert found["jobs-regctl-migrate-pre"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert found["jobs-regctl-migrate-post"]["helm.sh/hook"] == "post-install,post-upgrade"
    assert "helm.sh/hook" not in found["jobs-regctl-import-two"]


@pytest.mark.parametrize(
    "text",
    ["{{ if .Values.x }}never ended", "{{ lookup .Values.x }}", "{{ .Values.missing }}", "{{ 1 + 1 }}"],
)
def test_what_is_not_in_the_subset_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "one.yaml").write_text(text)
    with pytest.raises((TemplateError, IndexError)):
        Chart(tmp_path).render({"x": 1})


def test_the_subset_trims_as_helm_does() -> None:
    nodes, _ = parse("a:\n  {{- /* said */ -}}\n  b\n")
    assert [(node.kind, node.words) for node in nodes] == [("text", "a:"), ("text", "b\n")]
