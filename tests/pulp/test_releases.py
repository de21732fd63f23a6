"""What is left to do over several releases of Pulp: who did the first part runs only the rest of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pulp.test_fields import differences
from tests.support import programs
from tests.support.pulp import PulpLab, PulpUnderTest, Seed
from tests.support.pulp_services import OCI, PulpServices, digest_of
from tests.support.pulp_site import NAME, SERVER, PulpSite

NONE = {"image-nature": 0, "artifactless-manifests": 0, "image-details": 0}


def copied(services: PulpServices, image: str, folder: Path) -> bool:
    """Say whether a usual client can pull an image, with all that belongs to it."""
    address = f"docker://127.0.0.1:{services.pulp.api_port}/{image}"
    argv = [programs.find("skopeo"), "copy", "--insecure-policy", "--src-tls-verify=false", address]
    return subprocess.run([*argv, f"dir:{folder}"], capture_output=True, timeout=100).returncode == 0


def survey(pulp: PulpUnderTest) -> dict[str, Any]:
    code, answers = pulp.ask("survey", sample=0)
    assert code == 0
    return answers[-1]


def test_who_did_the_first_release_runs_only_the_second_and_who_skipped_it_runs_both(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    """The server was prepared on 2.20 and the proxy never; both are on 2.24 now."""
    did, skipped = Seed(images=24, lists=4, release="2.20"), Seed(images=24, lists=4)
    server, proxy = pulp_lab.clone(did), pulp_lab.clone(skipped)
    # Were the first part done again, this word of somebody's would be gone.
    server.query("UPDATE container_manifest SET labels = labels || '{\"kept\": \"1\"}' WHERE labels <> '{}'")

    with PulpSite(tmp_path / "site", server, {"proxy1": proxy}) as site:
        before = site.ok("content", "status")
        hosts = {one["host"]: one["pre_migrations"] for one in before["hosts"]}
        everything = {"image-nature": 28, "artifactless-manifests": 28, "image-details": 28}
        assert hosts[SERVER] == {**NONE, "image-details": 28, "artifactless-config-blobs": None}
        assert hosts["proxy1"] == {**everything, "artifactless-config-blobs": None}

        site.ok("content", "prepare", NAME, "--yes")

    assert (server.counts().todo, proxy.counts().todo) == (0, 0)
    found = differences(server.manifests(), proxy.manifests())
    assert {name for _, name, _, _ in found} == {
        "labels"
    }  # those that were changed, above, and no other field
    assert len(found) > 10
    assert all(here == {**there, "kept": "1"} for _, _, here, there in found)


@pytest.mark.soak
def test_two_real_releases(pulp_labs: Callable[[str], PulpLab]) -> None:
    """Prepared by 2.20.14 itself and then brought to 2.24.15: the same, with nothing rewound."""
    seed = Seed(images=60, lists=6)
    did, skipped = pulp_labs("20").clone(seed), pulp_labs("20").clone(seed)
    assert did.stock().returncode == 0
    pulps = [one.on("24") for one in (did, skipped)]
    for pulp in pulps:
        pulp.migrate()
    named = [survey(pulp)["named"] for pulp in pulps]
    assert named[0] == {**NONE, "image-details": 66}
    assert named[1]["artifactless-manifests"] == named[1]["image-details"] == 66

    for pulp in pulps:
        code, answers = pulp.ask("prepare")
        assert (code, answers[-1]["done"], answers[-1]["remaining"]) == (0, 66, 0)
    assert differences(pulps[0].manifests(), pulps[1].manifests()) == []


@pytest.mark.soak
def test_what_was_pushed_on_2_18_is_pulled_from_2_27_only_when_it_was_prepared(
    pulp_labs: Callable[[str], PulpLab], tmp_path: Path
) -> None:
    """The whole way: pushed on 2.18.1, migrated through 2.24.15 to 2.27.14."""
    old = pulp_labs("18").clone(None)
    with PulpServices(old, ("api", "content", "worker")) as services:
        services.set_password()
        digests = [services.push("lab/app", f"t{number}", labels={"n": str(number)}) for number in range(3)]
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {
                    "mediaType": OCI,
                    "digest": digest,
                    "size": 500,
                    "platform": {"architecture": "amd64", "os": "linux"},
                }
                for digest in digests
            ],
        }
        digests.append(services.push_manifest("lab/app", "all", index))
        assert [digest_of(services.pull("lab/app", one).body) for one in digests] == digests
    for line in ("24", "27"):
        old.on(line).migrate()
    new = old.on("27")

    with PulpServices(new) as services, PulpSite(tmp_path / "site", new) as site:
        assert services.status()["database_connection"]["connected"]  # all looks well
        before = [services.pull("lab/app", one) for one in digests]
        # Each says 200 and names the right digest, and not a byte follows: no client can use it.
        assert {(one.status, one.headers["docker-content-digest"], one.body) for one in before} == {
            (200, digest, b"") for digest in digests
        }
        assert not copied(services, "lab/app:t2", tmp_path / "before")
        site.ok("content", "prepare", NAME, "--yes")
        after = [services.pull("lab/app", one) for one in digests]
        assert [(one.status, digest_of(one.body)) for one in after] == [(200, digest) for digest in digests]
        assert services.pull("lab/app", "t2").body == after[2].body
        assert copied(services, "lab/app:t2", tmp_path / "after")
    assert new.counts().todo == 0
    assert {row["type"] for row in new.manifests().values()} == {"image", "index"}
