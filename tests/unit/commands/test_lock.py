"""`regctl lock`: who keeps a registry from being changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctl.recipes.claims import Claim
from ctl.recipes.identity import myself
from ctl.recipes.lock import Locks, new_info
from tests.unit.commands.test_run import Site


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path, capsys)


def test_status_is_what_a_bare_lock_says_and_writes_nothing(site: Site) -> None:
    for words in (("lock",), ("lock", "status"), ("lock", "status", "main")):
        code, data, _ = site.regctl(*words)
        assert code == 0
        assert [(lock["resource"], lock["state"]) for lock in data["locks"]] == [("registry/main", "free")]
    assert not (site.folder / "state").exists()
    assert site.regctl("lock", "status", "mian")[0] == 2


def test_a_lock_by_hand_is_shown_kept_and_given_back(site: Site) -> None:
    assert site.regctl("lock", "acquire", "main")[0] == 2  # no reason
    code, data, _ = site.regctl("lock", "acquire", "main", "--reason", "disk swap")
    assert (code, data["result"], data["kind"]) == (0, "changed", "operator")
    (lock,) = site.regctl("lock", "status")[1]["locks"]
    assert (lock["verdict"], lock["reason"], lock["pid"]) == ("operator", "disk swap", None)
    assert (lock["operator"], lock["host"]) == (myself().user, myself().host)
    assert lock["since"].endswith("Z")
    code, data, _ = site.regctl("lock", "acquire", "main", "--reason", "me too")
    assert (code, data["result"]) == (5, "locked")
    assert site.regctl("lock", "release", "main", "000")[0] == 2
    assert site.regctl("lock", "release", "main", lock["id"])[0] == 0
    assert site.regctl("lock", "status")[1]["locks"][0]["state"] == "free"


def test_dry_runs_change_nothing(site: Site) -> None:
    assert site.regctl("lock", "acquire", "main", "--reason", "x", "--dry-run")[1]["result"] == "pending"
    assert not (site.folder / "state").exists()
    lock_id = site.regctl("lock", "acquire", "main", "--reason", "x")[1]["id"]
    before = {p: p.read_bytes() for p in site.folder.rglob("*") if p.is_file()}
    assert site.regctl("lock", "release", "main", "--dry-run")[1]["result"] == "pending"
    assert site.regctl("lock", "break", lock_id, "--reason", "x", "--dry-run")[1]["result"] == "pending"
    assert {p: p.read_bytes() for p in site.folder.rglob("*") if p.is_file()} == before


def test_break_needs_the_id_and_a_reason(site: Site) -> None:
    held = Locks(str(site.folder / "state")).acquire(["registry/main"], new_info("regctl gc", "", run="r"))
    (lock,) = site.regctl("lock", "status")[1]["locks"]
    assert (lock["verdict"], lock["run"], lock["command"]) == ("alive", "r", "regctl gc")
    assert lock["pid"] == myself().pid
    assert lock["heartbeat"].endswith("Z")
    assert site.regctl("lock", "break", lock["id"])[0] == 2
    assert site.regctl("lock", "break", "nonsense", "--reason", "x")[0] == 2
    assert site.regctl("lock", "release", "main")[0] == 6
    code, data, _ = site.regctl("lock", "break", lock["id"], "--reason", "it hangs")
    assert (code, data["result"]) == (0, "changed")
    assert site.regctl("lock", "status")[1]["locks"][0]["epoch"] == 2
    held.close()


def test_claims_and_the_storages_own_lock_files_are_shown(site: Site) -> None:
    files = site.folder / "tree" / "docker" / "registry" / "lockfiles"
    files.mkdir(parents=True)
    (files / "database-in-use").touch()
    claim = Claim("main", "20260101T000000Z-gc-0000", 7, "somebody", "other.example.com", "gc", "ann", "now")
    path = site.folder / ".config.yml.regctl-claim"
    path.write_bytes(claim.dump())
    data = site.regctl("lock", "status")[1]
    assert [(file["registry"], file["name"]) for file in data["storage_lock_files"]] == [
        ("main", "database-in-use")
    ]
    (shown,) = data["claims"]
    assert (shown["run"], shown["controller_host"], shown["ours"]) == (claim.run, "other.example.com", False)
    assert site.regctl("lock", "break", claim.run, "--reason", "gone", "--dry-run")[1]["claims"] == 1
    assert path.exists()
    assert site.regctl("lock", "break", claim.run, "--reason", "gone")[1]["claims"] == 1
    assert not path.exists()
    audit = json.loads((site.folder / "state" / "locks" / "audit.jsonl").read_text())
    assert (audit["what"], audit["reason"]) == ("claim-broken", "gone")
