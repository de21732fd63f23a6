"""Pulls are answered while content is prepared, and after it, as they were before."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from tests.support.pulp import PulpLab, Seed
from tests.support.pulp_services import PulpServices
from tests.support.pulp_site import NAME, PulpSite


class Puller:
    """Pulls one manifest after the other, round and round, until it is told to stop."""

    def __init__(self, services: PulpServices, wanted: list[tuple[str, str]]) -> None:
        self.services, self.wanted = services, wanted
        self.seen: Counter[int] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pull)

    def _pull(self) -> None:
        while not self._over.is_set():
            for repository, digest in self.wanted:
                answer = self.services.pull(repository, digest)
                self.seen[answer.status] += 1
                self.bodies.setdefault(digest, set()).add(answer.body)
                if self._over.is_set():
                    return

    def __enter__(self) -> Puller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)


def test_every_pull_during_and_after_a_preparation_is_answered(pulp_lab: PulpLab, tmp_path: Path) -> None:
    pulp = pulp_lab.clone(Seed(images=48, lists=6, repositories=2))
    digests = sorted(pulp.manifests())
    shown = {
        digest: name
        for digest, name in pulp.query(
            "SELECT m.digest, max(r.name) FROM container_manifest m "
            "JOIN core_repositorycontent c ON c.content_id = m.content_ptr_id "
            "JOIN core_repository r ON r.pulp_id = c.repository_id GROUP BY 1"
        )
    }
    wanted = [(shown[digest], digest) for digest in digests]
    with PulpServices(pulp) as services, PulpSite(tmp_path / "site", pulp) as site:
        with Puller(services, wanted) as puller:
            site.ok("content", "prepare", NAME, "--yes", "--rate", "30")
            during = sum(puller.seen.values())
        assert puller.seen == {200: sum(puller.seen.values())}
        assert during > len(wanted)  # each was asked for, some before and some after they were done
        assert pulp.counts().todo == 0
        for repository, digest in wanted:
            answer = services.pull(repository, digest)
            assert (answer.status, answer.headers["docker-content-digest"]) == (200, digest)
            # from the file before, from the database after: not a byte is different
            assert puller.bodies.get(digest, {answer.body}) == {answer.body}
            assert answer.body == pulp.file_of(digest).read_bytes()
