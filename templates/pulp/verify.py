"""Which manifests are not done, why, and who shows them.

Only reads: all of it stands in one read-only transaction. REQUEST: tries (manifests that are computed in
memory to find what nothing but trying shows).
Answers a line `problem` for each manifest that cannot be done, and a line `verify` at the end.
"""

import uuid

BATCH = 500  # manifests whose repositories are looked up at once


def reading(pk):
    """Yield (reason, what reads it) for the two texts that a manifest is computed from."""
    from pulp_container.app.utils import get_content_data

    manifest = Manifest.objects.get(pk=pk)

    def own():
        if manifest.data:
            return json.loads(manifest.data)
        found, raw = get_content_data(manifest._artifacts.get())
        raw.decode("utf-8")
        return found

    yield "manifest-unreadable", own
    if manifest.config_blob_id:
        yield "config-unreadable", lambda: get_content_data(manifest.config_blob._artifacts.get())


def trial(runner, row):
    """Compute a manifest's fields in memory; return (reason, in words), both "" where that works."""
    wrong = tried(runner, row["pk"])
    if not wrong:
        return "", ""
    for reason, read in reading(row["pk"]):
        try:
            read()
        except Exception as error:
            return reason, f"{type(error).__name__}: {error}"[:300]
    return "odd-shape", wrong


class Search:
    """What is found about the manifests that are left to do."""

    def __init__(self, left, runner, tries):
        self.left, self.runner, self.tries = left, runner, tries
        self.linkable = {str(pk): file for pk, file in with_their_files(relinkable(left))}
        bare = ContentArtifact.objects.filter(content=OuterRef("pk"), artifact__isnull=True)
        self.bare = {str(pk) for pk in left.filter(Exists(bare)).values_list("pk", flat=True)}
        self.found, self.doable, self.untried = [], 0, 0

    def judge(self, row):
        """Return (reason, in words, the file that it is about)."""
        why = hindrance(row)
        if why == "lost" and row["pk"] in self.linkable:
            file = self.linkable[row["pk"]]
            return ("unlinked", "", file) if is_there(file) else ("manifest-file-missing", "", file)
        if why == "lost" and row["pk"] in self.bare:
            return "not-stored", "", ""
        if why:
            files = {"manifest-file-missing": row["file"], "config-file-missing": row["config_file"]}
            return why, "", files.get(why) or ""
        if self.runner is None or self.tries <= 0:
            self.untried += 1
            return "", "", ""
        self.tries -= 1
        reason, words = trial(self.runner, row)
        return reason, words, row["file"] or row["config_file"] or ""

    def all(self):
        for row in kept_files(self.left):
            reason, words, file = self.judge(row)
            if reason:
                self.found.append({**row, "reason": reason, "words": words, "path": file})
            else:
                self.doable += 1


def with_their_files(manifests):
    """Return (manifest, file) for each one that has been found its file by its digest."""
    found = dict(manifests.values_list("pk", "artifact_"))
    files = dict(Artifact.objects.filter(pk__in=set(found.values())).values_list("pk", "file"))
    return [(pk, files[artifact]) for pk, artifact in found.items() if artifact in files]


def carriers(pks):
    """Return {content: which of these manifests it shows}: they themselves, and indexes that list them."""
    from pulp_container.app.models import ManifestListManifest

    found = {pk: {pk} for pk in pks}
    new = set(pks)
    while new:
        # Pulp fills these two the wrong way round: `image_manifest` is the index
        links = ManifestListManifest.objects.filter(manifest_list__in=new).values_list(
            "manifest_list", "image_manifest"
        )
        new = set()
        for child, index in links:
            before = len(found.setdefault(index, set()))
            found[index] |= found[child]
            if len(found[index]) > before:
                new.add(index)
    return found


def domain_names():
    """Return {domain: how its repositories are told from others'}: "" where there is only one."""
    if not getattr(settings, "DOMAIN_ENABLED", False):
        return {}
    from pulpcore.app.models import Domain

    return {pk: f"{name}/" for pk, name in Domain.objects.values_list("pk", "name")}


def shown(pks):
    """Return {manifest: ([who shows it], [its tags])}; `current` says whether in its newest version."""
    from pulp_container.app.models import Tag
    from pulpcore.app.models import Repository, RepositoryContent

    carry, domains = carriers(pks), domain_names()
    owner = domain_of(Repository)
    links = RepositoryContent.objects.filter(content__in=carry).select_related("repository")
    who = {pk: {} for pk in pks}
    for link in links.iterator():
        repository = link.repository
        name = domains.get(getattr(repository, f"{owner}_id", None), "") + repository.name
        kind = "synced" if repository.remote_id else "local"
        kind = "pushed" if repository.pulp_type == "container.container-push" else kind
        for pk in carry[link.content_id]:
            entry = who[pk].setdefault(name, {"name": name, "kind": kind, "current": False})
            entry["current"] |= link.version_removed_id is None
    tags = {pk: set() for pk in pks}
    named = dict(Tag.objects.filter(tagged_manifest__in=carry).values_list("pk", "tagged_manifest"))
    of_tags = RepositoryContent.objects.filter(content__in=named, version_removed__isnull=True)
    texts = dict(Tag.objects.filter(pk__in=named).values_list("pk", "name"))
    for link in of_tags.select_related("repository").iterator():
        name = domains.get(getattr(link.repository, f"{owner}_id", None), "") + link.repository.name
        for pk in carry[named[link.content_id]]:
            tags[pk].add(f"{name}:{texts[link.content_id]}")
    return {pk: (sorted(who[pk].values(), key=lambda one: one["name"]), sorted(tags[pk])) for pk in pks}


def tell(problems):
    """Answer a line for each."""
    for start in range(0, len(problems), BATCH):
        batch = problems[start : start + BATCH]
        places = shown([uuid.UUID(one["pk"]) for one in batch])
        for one in batch:
            repositories, tags = places[uuid.UUID(one["pk"])]
            say(
                "problem",
                digest=one["digest"],
                media_type=one["media_type"],
                reason=one["reason"],
                words=one["words"],
                file=one["path"],
                has_text=one["has_data"],
                repositories=repositories,
                tags=tags,
            )


def verify():
    with transaction.atomic():
        read_only()
        known = columns()
        total, left = Manifest.objects.count(), todo(known)
        facts = {"versions": versions(), "total": total, "cleanups": cleanups()}
        if left is None:
            say("verify", remaining=None, doable=None, untried=None, problems=0, **facts)
            return
        whole = known == {field.name for field in Manifest._meta.local_concrete_fields}
        search = Search(left, command() if whole else None, REQUEST.get("tries", 2000))
        search.all()
        tell(search.found)
        numbers = {"remaining": left.count(), "problems": len(search.found)}
        say("verify", doable=search.doable, untried=search.untried, **numbers, **facts)


verify()
