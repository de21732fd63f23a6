"""What GitLab's migrations print, read from transcripts of the real program, and what it fails with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctl.engines import gitlab_migrations as migrations
from ctl.engines.metadata import MigrationLimits, PendingMigrations

CASES = Path(__file__).resolve().parents[2] / "cases" / "gitlab"
LAST_PRE = "20251021070732_bbm_backfill_blobs_id_column"
LAST_POST = "20251015074500_post_create_blobs_null_id_index"


def case(name: str) -> str:
    return (CASES / f"{name}-4.32.0.txt").read_text()


def test_the_plan_of_an_empty_database_names_every_migration_of_both_kinds() -> None:
    plan = migrations.parse_plan(case("migrate-up-dry-run"))
    assert (len(plan.pre), len(plan.post)) == (184, 10)
    assert plan.pre[-1] == LAST_PRE
    assert plan.post[-1] == LAST_POST
    assert len(set(plan.ids)) == 194


def test_a_plan_is_no_deed_and_the_ok_line_is() -> None:
    assert migrations.parse_done(case("migrate-up-dry-run")) is None
    done = migrations.parse_done(case("migrate-up"))
    assert done is not None
    assert (done.pre, done.post, done.background) == (0, 10, 0)
    assert 0 < done.seconds < 60
    nothing = migrations.parse_done(case("migrate-up-nothing"))
    assert nothing is not None
    assert (nothing.pre, nothing.post) == (0, 0)
    assert migrations.parse_plan(case("migrate-up-nothing")) == PendingMigrations()


def test_a_way_down_is_done_only_with_a_line_for_each_kind() -> None:
    text = case("migrate-down")
    done = migrations.parse_done(text)
    assert done is not None
    assert (done.pre, done.post) == (1, 1)
    assert migrations.parse_done(text[: text.rindex("OK:")]) is None
    plan = migrations.parse_plan(case("migrate-down-dry-run"))
    assert plan == migrations.parse_plan(text)
    assert len(plan.ids) == 2


def test_the_question_before_the_ok_line_does_not_hide_it() -> None:
    asked = "post-deployment:\n20251015074422_post\nPreparing. Are you sure? [y/N] "
    done = migrations.parse_done(asked + "OK: applied 1 post-deployment migration(s) in 0.120s\n")
    assert done is not None
    assert (done.pre, done.post) == (0, 1)


def test_the_status_table_says_what_is_applied_pending_and_unknown() -> None:
    rows = migrations.parse_status(case("migrate-status"))
    assert sum(1 for row in rows if not row.post) == 185
    assert sum(1 for row in rows if row.post) == 10
    assert [row.id for row in rows if row.unknown] == ["20991231000000_future_thing"]
    assert all(row.applied_at for row in rows)


def test_older_tables_are_drawn_with_plain_characters() -> None:
    drawn = case("migrate-status")
    plain = drawn.translate(str.maketrans("│┌┬┐├┼┤└┴┘─", "|++++++++++"[:10] + "-"))
    assert migrations.parse_status(plain) == migrations.parse_status(drawn)
    pending = "pre-deployment\n| 20210503145616_create_repositories_table |  |\n"
    assert [(row.id, row.applied_at) for row in migrations.parse_status(pending)] == [
        ("20210503145616_create_repositories_table", "")
    ]


def test_versions_are_read_and_nothing_is_nothing() -> None:
    assert migrations.parse_version(case("migrate-version")) == {"pre": LAST_PRE, "post": LAST_POST}
    assert migrations.parse_version(case("migrate-version-empty")) == {"pre": "", "post": ""}
    assert migrations.parse_version("Usage:\n  registry database migrate") == {}


def test_background_migrations_are_read_from_their_table() -> None:
    rows = migrations.parse_background(case("background-status"))
    assert len(rows) == 65
    assert {row.status for row in rows} <= {"paused", "active", "running", "finished", "failed"}
    assert rows[0].name.startswith("copy_manifests_media_type_id_column")


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("error-password", "password", "registry"),
        ("error-no-database", "no-database", "nodb"),
        ("error-refused", "refused", "127.0.0.1:1"),
        ("error-unknown-host", "unknown-host", "db.invalid"),
        ("error-timeout", "timeout", "in time"),
        ("error-permission", "permission", "schema public"),
        ("error-read-only", "read-only", "replica"),
        ("error-newer-database", "newer-database", "20991231000000_future_thing"),
        ("error-gap", "gap", "20250925151900"),
        ("error-concurrent", "concurrent", "same time"),
        ("error-null-index", "null-index", "post-deployment"),
        ("error-not-migrated", "not-migrated", "lacks migrations"),
    ],
)
def test_every_failure_that_we_know_is_explained(name: str, kind: str, word: str) -> None:
    failure = migrations.explain(case(name))
    assert failure.kind == kind
    assert word in failure.message
    assert "{what}" not in failure.message + failure.hint
    assert failure.hint
    assert failure.last_line == case(name).strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ERROR: out of shared memory (SQLSTATE 53200)", "locks"),
        ("the database version is lower than the minimal supported version 15.0", "old-postgres"),
        ("FATAL: sorry, too many clients already (SQLSTATE 53300)", "too-many-connections"),
        ("FATAL: the database system is starting up (SQLSTATE 57P03)", "unreachable"),
        ("unexpected EOF", "unreachable"),
        ("configuration error: configuration path unspecified", "config"),
        ("something new", "other"),
        ("", "silent"),
        ('time="2026-11-22T09:46:50Z" level=info msg="starting new batch run"', "silent"),
    ],
)
def test_words_without_a_transcript(text: str, kind: str) -> None:
    assert migrations.explain(text).kind == kind


def test_an_error_in_a_log_record_counts_where_the_last_line_says_nothing() -> None:
    record = 'time="x" level=error msg=Query err="ERROR: out of shared memory (SQLSTATE 53200)" pid=1'
    assert migrations.explain(f"{record}\nfailed for some reason").kind == "locks"


def test_no_password_is_repeated() -> None:
    failure = migrations.explain("cannot parse `postgres://u:hunter2@h/d password=hunter3`: bad")
    assert "hunter" not in failure.message + failure.last_line


def test_calls_are_values_with_the_configuration_last() -> None:
    limits = MigrationLimits(pre=3, post=2)
    up = migrations.migrate_up_command("/bin/r", "/c.yml", limits, dry_run=True)
    assert up.argv[:4] == ("/bin/r", "database", "migrate", "up")
    assert up.argv[4:] == ("--dry-run", "--limit", "3", "--post-deploy-limit", "2", "/c.yml")
    skip = migrations.migrate_up_command("/bin/r", "/c.yml", MigrationLimits(skip_post=True))
    assert skip.argv[-2:] == ("--skip-post-deployment", "/c.yml")
    assert skip.env["SKIP_POST_DEPLOYMENT_MIGRATIONS"] == "false"  # the flag alone decides
    down = migrations.migrate_down_command("/bin/r", "/c.yml", MigrationLimits(pre=1))
    assert down.argv[4] == "--force"
    assert "--force" not in migrations.migrate_down_command("r", "c", MigrationLimits(), dry_run=True).argv
    run = migrations.background_command("/bin/r", "/c.yml", "run", retries=4)
    assert run.argv == ("/bin/r", "background-migrate", "run", "--max-job-retry", "4", "/c.yml")
    assert migrations.background_command("r", "c", "pause").argv == ("r", "background-migrate", "pause", "c")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_the_program_takes_for_all_is_never_given(limit: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        migrations.migrate_down_command("r", "c", MigrationLimits(pre=limit))


@given(st.text())
def test_no_output_breaks_a_parser(text: str) -> None:
    migrations.parse_plan(text)
    migrations.parse_status(text)
    migrations.parse_version(text)
    migrations.parse_background(text)
    assert migrations.explain(text).kind


@given(
    st.lists(st.from_regex(r"\d{14}_[a-z_]{1,20}", fullmatch=True), unique=True),
    st.lists(st.from_regex(r"\d{14}_[a-z_]{1,20}", fullmatch=True), unique=True),
)
def test_a_plan_reads_back_as_it_was_printed(pre: list[str], post: list[str]) -> None:
    text = "".join(
        f"{header}:\n" + "".join(f"{one}\n" for one in ids)
        for header, ids in (("pre-deployment", pre), ("post-deployment", post))
        if ids
    )
    assert migrations.parse_plan(text) == PendingMigrations(tuple(pre), tuple(post))
