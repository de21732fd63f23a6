"""`regctl registry import` with GitLab's real program: one step, three steps, trials, wrong orders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.gitlab import GitlabServer, GitlabSite
from tests.support.images import image
from tests.support.importing import Importing, fill
from tests.support.postgres import DatabaseAddress, PostgresServer
from tests.support.transfer import Client, RefusedByRegistryError

IMPORT = ("registry", "import", "--yes")


@pytest.fixture
def make(
    gitlab_site: Callable[..., GitlabSite],
    migrated_database: DatabaseAddress,
    postgres_server: PostgresServer,
) -> Iterator[Callable[..., Importing]]:
    """Make a seeded site that runs, on a migrated and empty database."""
    entered: list[GitlabSite] = []

    def make(
        repositories: int = 3, tags: int = 3, corrupt: tuple[str, ...] = (), **options: object
    ) -> Importing:
        site = gitlab_site(database=migrated_database, **options)
        fill(site.server, repositories, tags, corrupt)  # type: ignore[arg-type]
        site.__enter__()
        entered.append(site)
        return Importing(site, postgres_server)

    yield make
    for site in entered:
        site.close()


def test_one_step_takes_in_every_tag_and_the_registry_goes_on_as_before(
    make: Callable[..., Importing],
) -> None:
    importing = make()
    locks = importing.locks()
    looked = importing.site.regctl("registry", "import", "--dry-run")
    assert looked.exit_code == 0, str(looked)
    assert looked.json["result"] == "pending"
    assert (looked.json["repositories"], looked.json["tags"]) == (3, 9)
    assert importing.tags() == set()
    assert importing.locks() == locks
    done = importing.site.regctl(*IMPORT, "--row-count", "--log-directory", str(importing.site.folder))
    assert done.exit_code == 0, str(done)
    report = done.json
    assert (report["repositories"], report["tags"], report["problems"]) == (3, 9, 0)
    assert report["rows"]["tags"] == 9
    assert report["statistics"]["tags_count"] == 9
    assert 0 < report["window_seconds"] < 60
    assert "enable-db --retry" in report["hints"][0]
    assert importing.tags() == importing.tree_tags()
    assert importing.locks() == locks
    (log,) = importing.site.folder.glob("*.jsonl.gz")
    assert json.loads(gzip.decompress(log.read_bytes()).splitlines()[-1])["msg"] == "metadata import complete"
    with importing.client() as client:
        client.push("team/after", "rehearsal", image("after the rehearsal"))
    refused = importing.site.regctl(*IMPORT)
    assert refused.exit_code == 6
    assert "--retry" in refused.stderr
    importing.site.ok(*IMPORT, "--retry")
    assert importing.tags() == importing.tree_tags()
    assert len(importing.tags()) == 10
    assert importing.mode() == "writable"


def test_three_steps_with_pushes_going_on_lose_nothing(make: Callable[..., Importing]) -> None:
    importing = make()
    site, locks = importing.site, importing.locks()
    first = site.ok(*IMPORT, "--step", "one")
    assert (first["repositories"], first["tags"], first["window_seconds"]) == (3, 9, None)
    assert importing.tags() == set()
    assert importing.locks() == locks
    with importing.client() as client:
        client.push("team/new", "during", image("pushed after step one"))
    second = site.ok(*IMPORT, "--step-two", "--stay-closed")
    assert (second["tags"], second["stays_closed"], second["window_seconds"]) == (10, True, None)
    assert importing.tags() == importing.tree_tags()
    assert ("team/new", "during", image("pushed after step one").digest) in importing.tags()
    assert importing.locks() == {"database-in-use"}
    rows = site.regctl("read-only", "status").json["nodes"]
    assert rows[0]["probe"] == "read-only"
    assert "waits for being switched" in rows[0]["reason"]
    with importing.client() as client, pytest.raises(RefusedByRegistryError) as refused:
        client.push("team/late", "one", image("late"))
    assert refused.value.status == 405
    third = site.regctl(*IMPORT, "--step", "three")
    assert third.exit_code == 3, str(third)
    assert third.json["blobs"] > 20
    assert "does not serve from the metadata database yet" in third.stderr
    steps = importing.rows("SELECT pre_import, tag_import, blob_import FROM import_statistics ORDER BY id")
    assert steps == [(True, False, False), (False, True, False), (False, False, True)]


def test_fault_03_tags_are_imported_only_while_a_push_is_refused_and_a_closed_registry_stays_closed(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=1, tags=2)
    site = importing.site
    site.ok("read-only", "on", "--yes")
    done = site.ok(*IMPORT)
    assert done["storage_marked"] is True
    assert importing.mode() == "read-only"
    assert importing.locks() == {"database-in-use"}
    assert importing.tags() == importing.tree_tags()


def test_a_push_goes_through_during_step_one_and_is_refused_during_step_two(
    make: Callable[..., Importing],
) -> None:
    """Fault 3 from the other side: the window is closed for every push from its first moment."""
    importing = make(repositories=12, tags=10)
    running = importing.site.start(*IMPORT, "--step", "one", output="jsonl")
    pushed = 0
    with importing.client() as client:
        while running.poll() is None:
            client.push("team/busy", f"t{pushed}", image(f"busy {pushed}", layers=1))
            pushed += 1
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    assert pushed > 3
    assert any(json.loads(line).get("event") == "progress" for line in out.splitlines()), out.decode()[:2000]
    importing.site.ok(*IMPORT, "--step", "two")
    assert importing.tags() == importing.tree_tags()
    assert {tag for name, tag, _ in importing.tags() if name == "team/busy"} == {
        f"t{n}" for n in range(pushed)
    }


def test_fault_13_the_wrong_order_is_refused_with_the_right_next_command(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=1, tags=2)
    refusals = [
        # done before, then asked for: what is said, and the command that is right
        ((), ("--step", "two"), "step one has not run", "regctl registry import --step one"),
        ((), ("--step", "three"), "tags are not imported yet", "regctl registry import --step one"),
        (
            ("--step", "one"),
            ("--step", "three"),
            "tags are not imported",
            "regctl registry import --step two",
        ),
        (
            ("--step", "two", "--stay-closed"),
            ("--step", "two", "--retry"),
            "imported already",
            "lockfiles show",
        ),
        ((), ("--step", "one"), "imported already", "regctl lockfiles show"),
        ((), (), "imported already", "regctl registry import --step three"),
    ]
    for first, flags, says, next_command in refusals:
        if first:
            importing.site.ok(*IMPORT, *first)
        tags, locks = importing.tags(), importing.locks()
        done = importing.site.regctl(*IMPORT, *flags)
        assert done.exit_code == 6, str(done)
        assert says in done.stderr
        assert next_command in done.stderr
        assert (importing.tags(), importing.locks()) == (tags, locks)
    bare = importing.bare()  # fault 11, the positive control: what the program does where nobody stops it
    assert bare.returncode == 1
    assert importing.locks() == {"filesystem-in-use"}


def test_a_push_to_the_database_leaves_its_trace(
    make: Callable[..., Importing], gitlab_server: Callable[..., GitlabServer]
) -> None:
    importing = make(repositories=1, tags=2)
    importing.site.ok(*IMPORT, "--stopped")
    root = {"filesystem": {"rootdirectory": str(importing.site.server.storage)}}
    other = gitlab_server("other", database=importing.address, enabled=True, overlay={"storage": root})
    with other as serving, Client(serving.url) as client:
        client.push("team/database", "only", image("in the database only"))
    refused = importing.site.regctl(*IMPORT, "--retry")
    assert refused.exit_code == 6, str(refused)
    assert "a tag was pushed" in refused.stderr
    assert ("team/database", "only", image("in the database only").digest) in importing.tags()


def test_a_trial_reads_everything_and_changes_nothing(make: Callable[..., Importing]) -> None:
    importing = make(repositories=1, tags=2, corrupt=("empty-tag-link",))
    locks = importing.locks()
    done = importing.site.regctl(*IMPORT, "--trial")
    assert done.exit_code == 3, str(done)
    assert [one["kind"] for one in done.json["problem_list"]] == ["tag-link-broken"]
    assert importing.rows("SELECT count(*) FROM repositories") == [(0,)]
    assert importing.rows("SELECT count(*) FROM import_statistics") == [(0,)]
    assert importing.locks() == locks
    assert importing.mode() == "writable"
    other = importing.site.regctl(*IMPORT, "--trial", "--step", "two")
    assert other.exit_code == 2, str(other)


def test_what_is_passed_over_is_listed_with_its_reason_and_its_cost(make: Callable[..., Importing]) -> None:
    cases = ("empty-tag-link", "missing-config", "missing-layer", "unlinked-child", "schema1-manifest")
    importing = make(repositories=1, tags=2, corrupt=cases)
    done = importing.site.regctl(*IMPORT)
    assert done.exit_code == 3, str(done)
    found = {
        (one["repository"], one["tag"]): (one["kind"], one["effect"]) for one in done.json["problem_list"]
    }
    assert found == {
        ("corrupt/empty-tag-link", "good"): ("tag-link-broken", "dropped"),
        ("corrupt/missing-config", "good"): ("config-unknown", "dropped"),
        ("corrupt/missing-layer", "good"): ("layer-unknown", "incomplete"),
        ("corrupt/unlinked-child", "bad"): ("manifest-unknown", "incomplete"),
        ("corrupt/schema1-manifest", "bad"): ("manifest-schema-1", "dropped"),
    }
    lost = {
        (one["repository"], one["tag"]) for one in done.json["problem_list"] if one["effect"] == "dropped"
    }
    assert {tag[:2] for tag in importing.tree_tags() - importing.tags()} == lost
    assert done.json["tags"] == len(importing.tags())
    run = importing.site.state_dir / "runs" / done.json["run"] / "import-skipped.jsonl"
    assert len(run.read_text().splitlines()) == 5


def test_an_entry_that_would_stop_the_program_is_named_before_and_moved_aside_if_told(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=1, tags=2, corrupt=("newline-tag-link",))
    locks = importing.locks()
    stopped = importing.bare("--step-one", "--dry-run", "--import-statistics=false")  # the positive control
    assert stopped.returncode == 1
    assert "invalid checksum digest length" in stopped.stderr
    refused = importing.site.regctl(*IMPORT)
    assert refused.exit_code == 6, str(refused)
    assert "corrupt/newline-tag-link" in refused.stderr
    assert (importing.tags(), importing.locks()) == (set(), locks)
    done = importing.site.regctl(*IMPORT, "--quarantine-bad-entries")
    assert done.exit_code == 0, str(done)
    assert done.json["quarantined"] == 1
    assert importing.tags() == importing.tree_tags()
    assert importing.mode() == "writable"


def test_a_failing_step_two_leaves_the_lock_files_alone_where_the_bare_program_turns_them_round(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=2, tags=2)
    site = importing.site
    site.ok(*IMPORT, "--step", "one")
    importing.break_tags()
    locks = importing.locks()
    done = site.regctl(*IMPORT, "--step", "two")
    assert done.exit_code == 1, str(done)
    assert "the import failed" in done.stderr
    assert importing.locks() == locks
    assert importing.mode() == "writable"
    site.ok("service", "stop", "--yes")
    for name in importing.locks():
        importing.lock(name).unlink()
    assert site.regctl(*IMPORT, "--step", "two", "--stopped").exit_code == 1
    assert importing.locks() == set()
    assert importing.mode() == "stopped"
    assert importing.bare("--step-two").returncode == 1  # the positive control
    assert importing.locks() == {"filesystem-in-use"}
    importing.mend_tags()
    site.ok(*IMPORT, "--step", "two")
    assert importing.tags() == importing.tree_tags()


def test_nothing_to_import_and_a_missing_disk_are_clear_before_anything_changes(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=1, tags=1)
    storage = importing.site.server.storage
    aside = storage.rename(storage.with_name("aside"))
    gone = importing.site.regctl(*IMPORT)
    assert gone.exit_code == 7, str(gone)
    assert "is not there" in gone.stderr
    storage.mkdir()
    empty = importing.site.regctl(*IMPORT)
    assert empty.exit_code == 6, str(empty)
    assert "holds no repository" in empty.stderr
    storage.rmdir()
    aside.rename(storage)


def test_a_database_that_is_not_ready_is_explained_before_anything_changes(
    make: Callable[..., Importing],
) -> None:
    importing = make(repositories=1, tags=1)
    site, locks = importing.site, importing.locks()
    importing.rows("ALTER TABLE schema_migrations RENAME TO hidden")
    importing.rows("CREATE TABLE schema_migrations AS SELECT * FROM hidden ORDER BY id LIMIT 10")
    owner = importing.address.user
    importing.rows(f'ALTER TABLE schema_migrations OWNER TO "{owner}"')
    behind = site.regctl(*IMPORT)
    assert behind.exit_code == 6, str(behind)
    assert "lacks migrations" in behind.stderr
    assert "regctl database migrate up" in behind.stderr
    bare = importing.bare("--step-one", "--dry-run", "--import-statistics=false")
    assert bare.returncode == 0, "the program checks pending migrations now: our own check may rest on it"
    importing.rows("DROP TABLE schema_migrations")
    importing.rows("ALTER TABLE hidden RENAME TO schema_migrations")
    importing.rows(f'ALTER DATABASE "{importing.address.name}" SET default_transaction_read_only = on')
    replica = site.regctl(*IMPORT)
    assert replica.exit_code == 6, str(replica)
    assert "default_transaction_read_only is on" in replica.stderr
    password = site.folder / "db.password"
    right = password.read_text()
    password.write_text("another-word\n")
    wrong = site.regctl(*IMPORT)
    assert wrong.exit_code == 7, str(wrong)
    assert "password" in wrong.stderr
    password.write_text(right)
    assert importing.locks() == locks
    assert importing.mode() == "writable"
    assert list((site.state_dir / "jobs").glob("*import*")) == []
