"""Background migrations: supervised, proved, never for ever."""

from __future__ import annotations

from collections import Counter

from tests.support.migrating import Sites, bare_down, rows, server_of, written
from tests.support.postgres import DatabaseAddress

BACKGROUND = ("database", "background")
COPY = "copy_manifests_media_type_id_column_to_media_type_id_convert_to_bigint_column"


def statuses(address: DatabaseAddress) -> Counter[int]:
    found = rows(address, "SELECT status FROM batched_background_migrations")
    return Counter(int(status) for (status,) in found)


def test_a_run_that_would_never_end_is_recognised_proved_and_ended(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    first = site.regctl(*BACKGROUND, "run")
    assert first.exit_code == 1, str(first)
    assert "begins it anew for ever" in first.stderr
    assert "--finish-overflowed" in first.stderr
    assert not [line for line, _ in site.processes() if "background-migrate" in line]
    jobs = rows(migrated_database, "SELECT count(*) FROM batched_background_migration_jobs")[0][0]
    assert jobs < 100
    status = site.regctl(*BACKGROUND, "status")
    assert (status.exit_code, status.json["databases"]["gitlab"]["overflowed"]) == (3, [COPY])
    assert site.regctl(*BACKGROUND, "run").exit_code == 6  # known now, so refused beforehand
    unasked = site.regctl(*BACKGROUND, "run", "--finish-overflowed")
    assert unasked.exit_code == 2, str(unasked)

    done = site.ok("--yes", *BACKGROUND, "run", "--finish-overflowed")["databases"]["gitlab"]

    assert done["marked_finished"] == [COPY]
    assert len(done["finished"]) == 65
    assert statuses(migrated_database) == {2: 65}
    assert site.ok(*BACKGROUND, "status", "--detailed-exitcode")["result"] == "ok"
    assert site.ok(*BACKGROUND, "run")["result"] == "nothing-to-do"


def test_nothing_is_marked_finished_without_both_proofs(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    """The positive control: a range with a hole, and a row without its copy, are both left alone."""
    site = written(gitlab_site, migrated_database)
    rows(migrated_database, "UPDATE batched_background_migrations SET status = 2 WHERE id > 1")
    rows(migrated_database, "UPDATE batched_background_migrations SET status = 4 WHERE id = 1")
    last = 9223372036854775807
    rows(
        migrated_database,
        "INSERT INTO batched_background_migration_jobs"
        " (batched_background_migration_id, min_value, max_value, status, started_at)"
        f" VALUES (1, 1, 10, 2, now()), (1, 12, {last}, 2, now())",
    )
    holed = site.regctl(*BACKGROUND, "status")
    assert holed.json["databases"]["gitlab"]["overflowed"] == []
    rows(
        migrated_database, "UPDATE batched_background_migration_jobs SET min_value = 11 WHERE min_value = 12"
    )
    assert site.regctl(*BACKGROUND, "status").json["databases"]["gitlab"]["overflowed"] == [COPY]
    _manifest_without_its_copy(migrated_database)
    refused = site.regctl("--yes", *BACKGROUND, "run", "--finish-overflowed")
    assert refused.exit_code == 6, str(refused)
    assert "not proved to be done" in refused.stderr
    assert statuses(migrated_database) == {2: 64, 4: 1}


def test_a_run_before_the_indexes_are_there_is_refused(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    bare_down(server_of(site), "--post-deploy-limit", "5")
    refused = site.regctl(*BACKGROUND, "run")
    assert refused.exit_code == 6, str(refused)
    assert "`regctl database migrate up` in full first" in refused.stderr


def test_a_program_that_tries_again_for_ever_is_ended_and_its_reason_told(
    gitlab_site: Sites, migrated_database: DatabaseAddress
) -> None:
    site = written(gitlab_site, migrated_database)
    rows(migrated_database, "UPDATE batched_background_migrations SET status = 2 WHERE id = 1")
    rows(migrated_database, "DROP INDEX index_blobs_on_null_id CASCADE")  # and all migrations applied
    failed = site.regctl(*BACKGROUND, "run", "--timeout", "60")
    assert failed.exit_code == 1, str(failed)
    assert "the program repeats what fails" in failed.stderr
    assert "need indexes" in failed.stderr
    assert not [line for line, _ in site.processes() if "background-migrate" in line]


def test_pausing_and_going_on(gitlab_site: Sites, migrated_database: DatabaseAddress) -> None:
    site = written(gitlab_site, migrated_database)
    assert site.ok("--dry-run", *BACKGROUND, "pause")["result"] == "pending"
    assert statuses(migrated_database) == {1: 65}
    assert len(site.ok(*BACKGROUND, "pause")["databases"]["gitlab"]["affected"]) == 65
    assert statuses(migrated_database) == {0: 65}
    assert site.ok(*BACKGROUND, "pause")["result"] == "nothing-to-do"
    found = site.ok(*BACKGROUND, "status")["databases"]["gitlab"]
    assert (found["paused"], found["total"]) == (65, 65)
    site.ok(*BACKGROUND, "resume")
    assert statuses(migrated_database) == {1: 65}


def _manifest_without_its_copy(address: DatabaseAddress) -> None:
    rows(
        address,
        """
        WITH space AS (INSERT INTO top_level_namespaces (name) VALUES ('t') RETURNING id),
             repository AS (INSERT INTO repositories (top_level_namespace_id, name, path)
                            SELECT id, 't', 't' FROM space RETURNING id, top_level_namespace_id)
        INSERT INTO manifests (top_level_namespace_id, repository_id, schema_version, media_type_id, digest,
                               payload, total_size)
        SELECT top_level_namespace_id, id, 2, 1, decode('01' || repeat('ab', 32), 'hex'), '\\x7b7d', 2
        FROM repository
        """,
    )
    rows(address, "ALTER TABLE manifests DISABLE TRIGGER USER")  # it keeps the copy right
    rows(address, "UPDATE manifests SET media_type_id_convert_to_bigint = 7")
