"""What an upgrade of a real Pulp waits for, and that it waits no longer once that is done."""

from __future__ import annotations

from pathlib import Path

from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_site import NAME, SERVER, PulpSite

SEED = Seed(images=6, lists=2, damage={"lost": 1})
TARGET = "2.27.14"


def test_a_release_that_serves_no_old_content_waits_until_it_is_prepared(
    pulp_lab: PulpLab, tmp_path: Path
) -> None:
    pulp = pulp_lab.clone(SEED)
    total = pulp.counts().total
    accepted = ("--skip", "broken-content", "--skip-reason", "nobody has it any more")
    ask = ("upgrade", "plan", NAME, "--to", TARGET, "--detailed-exitcode", *accepted)
    with PulpSite(tmp_path / "site", pulp) as site:
        before = site.regctl(*ask)
        assert (before.exit_code, before.json["result"]) == (6, "refused")
        [work] = before.json["blocked"]
        assert (work["host"], work["check"]) == (SERVER, None)
        assert f"{total - 1} of {total} manifests are not prepared" in work["message"]
        assert before.json["next"] == f"regctl content prepare {NAME} --to {TARGET}"
        content = next(row for row in before.json["rows"] if row["component"] == "content")
        assert content["state"] == "blocked"
        assert content["estimated_seconds"] > 0

        code, _ = pulp.ask("prepare")
        assert code == 3  # one of them is lost
        after = site.regctl(*ask)
        assert (after.exit_code, after.json["result"]) == (4, "pending"), str(after)
        assert (after.json["blocked"], after.json["roll"]) == ([], [SERVER])
        [passed] = after.json["skipped"]
        assert (passed["check"], passed["reason"]) == ("broken-content", "nobody has it any more")

        refused = site.regctl("upgrade", "apply", NAME, "--yes")
        assert (refused.exit_code, refused.json["result"]) == (6, "refused")
        wrong = site.regctl(*ask[:-4], "--skip", "broken-contents", "--skip-reason", "why")
        assert wrong.exit_code == 2
        assert "did you mean broken-content?" in wrong.stderr
