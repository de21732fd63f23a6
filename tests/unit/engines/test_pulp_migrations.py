"""What Pulp's migrations say, put into words: skipped releases, old processes, what failed."""

from __future__ import annotations

from ctl.engines.pulp_migrations import (
    LiveService,
    content_follows,
    explained_failure,
    explained_history,
    last_applying,
)

# as 3.105.25 says of a database that 3.49.72 left
WHY = (
    "InconsistentMigrationHistory: Migration core.0091_systemid is applied before its dependency "
    "core.0001_squashed_0090_char_to_text_field on database 'default'."
)
# as 3.73.47 says while services of 3.49.72 live
OLDER = """\
Traceback (most recent call last):
  File "migrations.py", line 45, in database_forwards
RuntimeError: Incompatible versions detected (core >= 3.50.0 needed):
  - 'core'='3.49.72' with api server '9138@vm'
  - 'core'='3.49.72' with pulp worker '9140@vm'
Please shutdown or upgrade the outdated components before you continue the migration.
"""


def test_a_skipped_release_is_named_with_what_to_go_through() -> None:
    found = explained_history(WHY, {"core": "0117_task_unblocked_at"}, {"core": "3.105.25"})
    assert found.refused
    assert "left by pulpcore 3.49 (pulp-container 2.18 to 2.23)" in found.message
    assert "core.0091_systemid is applied before" in found.message
    assert "Install pulpcore 3.73 (pulp-container 2.24)" in found.hint
    assert "then come to 3.105.25" in found.hint


def test_a_contradiction_that_no_release_explains_is_told_as_it_is() -> None:
    found = explained_history(WHY.replace("0091", "0130"), {"core": "0130_x"}, {"core": "3.73.47"})
    assert not found.refused
    assert "contradict each other" in found.message
    assert "showmigrations" in found.hint


def test_old_processes_are_named_and_how_long_a_crashed_one_counts() -> None:
    found = explained_failure("  Applying core.0120_get_url_removal...", OLDER, 1)
    assert "'core'='3.49.72' with api server '9138@vm'" in found.message
    assert "pulp worker '9140@vm'" in found.message
    assert "30 s" in found.hint
    assert "120 s" in found.hint


def test_the_migration_that_failed_is_named_and_what_was_applied_stays() -> None:
    said = "  Applying core.0118_x... OK\n  Applying container.0044_add_domain...\n"
    found = explained_failure(said, "Traceback\ndjango.db.utils.ProgrammingError: no such column\n", 1)
    assert found.message.startswith("container.0044_add_domain: django.db.utils.ProgrammingError")
    assert "the failed one was taken back" in found.hint
    assert last_applying("  Applying core.0118_x... OK\n") == ""


def test_a_database_that_went_away() -> None:
    found = explained_failure("", "django.db.utils.OperationalError: server closed the connection\n", 1)
    assert "run it again" in found.hint


def test_what_a_process_runs_is_compared_with_what_is_installed() -> None:
    installed = {"core": "3.73.47", "container": "2.24.15"}
    assert LiveService("api", "1@a", {"core": "3.73.47", "container": "2.24.15"}).others(installed) == {}
    old = LiveService("worker", "2@a", {"core": "3.49.72", "container": "2.24.15", "rpm": "3.20.0"})
    assert old.others(installed) == {"core": "3.49.72"}


def test_which_migrations_bring_work_on_content() -> None:
    assert content_follows(("core.0131_x", "container.0042_add_manifest_nature_field"))
    assert not content_follows(("container.0045_x", "core.0039_y"))
