# mypy: ignore-errors
"""Fill a Pulp with content as an older release left it. It runs inside `pulpcore-manager shell`.

REQUEST, a mapping, is set before it; its keys are the fields of tests.support.pulp.Seed. Every row is made
through Pulp's own models, every file is where its storage looks for it. The answer is one line of JSON: what
was made, and which digests were damaged how.
"""

import hashlib
import json
import os

from django.conf import settings
from django.db import transaction
from pulp_container.app.models import (
    Blob,
    BlobManifest,
    ContainerDistribution,
    ContainerRepository,
    Manifest,
    ManifestListManifest,
    Tag,
)
from pulp_container.constants import MEDIA_TYPE
from pulpcore.app.models import Artifact, Content, ContentArtifact

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# older releases have no names for these
HELM = "application/vnd.cncf.helm.config.v1+json"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class Store:
    """Blobs and manifests, each made once."""

    def __init__(self):
        self.blobs, self.manifests = {}, []

    def artifact(self, raw):
        digests = {name: hashlib.new(name, raw).hexdigest() for name in settings.ALLOWED_CONTENT_CHECKSUMS}
        name = f"artifact/{digests['sha256'][:2]}/{digests['sha256'][2:]}"
        path = os.path.join(settings.MEDIA_ROOT, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(raw)
        return Artifact.objects.create(file=name, size=len(raw), **digests)

    def blob(self, raw):
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        if digest not in self.blobs:
            blob = Blob.objects.create(digest=digest)
            ContentArtifact.objects.create(
                content=blob, artifact=self.artifact(raw), relative_path=blob.digest
            )
            self.blobs[digest] = blob
        return self.blobs[digest]

    def manifest(self, text, media_type, *, version=2, config=None, layers=()):
        artifact = self.artifact(json.dumps(text, indent=3).encode())
        manifest = Manifest.objects.create(
            digest="sha256:" + artifact.sha256,
            schema_version=version,
            media_type=media_type,
            config_blob=config,
        )
        ContentArtifact.objects.create(content=manifest, artifact=artifact, relative_path=manifest.digest)
        BlobManifest.objects.bulk_create(
            BlobManifest(manifest=manifest, manifest_blob=layer) for layer in dict.fromkeys(layers)
        )
        self.manifests.append(manifest)
        return manifest


def described(blob, media_type, size):
    return {"mediaType": media_type, "digest": blob.digest, "size": size}


def image(store, number, *, kind):
    """Make one manifest with its config; `kind` names one of KINDS."""
    seed = REQUEST["seed"]  # noqa: F821 - set before this text
    labels = {"number": str(number), "maker": f"seed {seed}"}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "made": f"{seed}-{number}",
        "config": {"Labels": labels},
    }
    config_type, layer_type, media_type = MEDIA_TYPE.CONFIG_BLOB_OCI, LAYER, MEDIA_TYPE.MANIFEST_OCI
    more = {}
    if kind == "unlabelled":
        config["config"] = {"Labels": None}
    elif kind == "annotated":
        config["architecture"] = "arm64"
        more["annotations"] = {"org.opencontainers.image.version": f"1.{number}", "unicode": "ü→✓"}
    elif kind == "docker":
        config_type, layer_type = MEDIA_TYPE.CONFIG_BLOB, MEDIA_TYPE.REGULAR_BLOB
        media_type = MEDIA_TYPE.MANIFEST_V2
    elif kind == "bootable":
        labels["containers.bootc"] = "1"
    elif kind == "bootable-by-annotation":
        more["annotations"] = {"containers.bootc": "1"}
    elif kind == "flatpak":
        labels["org.flatpak.ref"] = f"app/org.example.App{number}/x86_64/stable"
    elif kind == "helm":
        config = {"name": f"chart-{number}", "version": "1.0.0", "made": seed}
        config_type = HELM
    elif kind == "cosign":
        layer_type = COSIGN
        config["config"] = {}
    elif kind == "artifact":
        config, config_type = {}, EMPTY
        more = {
            "artifactType": "application/vnd.example.thing",
            "annotations": {"number": f"{seed}-{number}"},
        }
    elif kind == "windows":
        config["os"], config["architecture"] = "windows", "amd64"
    raw = json.dumps(config).encode()
    layer_raw = f"layer {seed}-{number % 7}".encode()
    blob, layer = store.blob(raw), store.blob(layer_raw)
    text = {"schemaVersion": 2, "mediaType": media_type, "config": described(blob, config_type, len(raw))}
    text["layers"] = [described(layer, layer_type, 1000 + number)] * (1 + number % 3)
    return store.manifest({**text, **more}, media_type, config=blob, layers=[layer])


def schema1(store, number):
    """Make a manifest of the first schema: no config, its own architecture."""
    layer = store.blob(f"layer {REQUEST['seed']}-{number % 7}".encode())  # noqa: F821
    text = {
        "schemaVersion": 1,
        "name": f"lab/schema1-{REQUEST['seed']}",  # noqa: F821
        "tag": str(number),
        "architecture": "s390x",
        "fsLayers": [{"blobSum": layer.digest}],
        "history": [{"v1Compatibility": json.dumps({"id": str(number)})}],
    }
    return store.manifest(text, MEDIA_TYPE.MANIFEST_V1, version=1, layers=[layer])


KINDS = (
    "plain",
    "unlabelled",
    "annotated",
    "docker",
    "bootable",
    "flatpak",
    "helm",
    "cosign",
    "artifact",
    "windows",
    "bootable-by-annotation",
    "schema1",
)


def images(store, count, varied):
    made = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)] if varied else "plain"
        made.append(schema1(store, number) if kind == "schema1" else image(store, number, kind=kind))
    return made


def lists(store, count, children):
    """Make indexes over two or three images each, of both media types, some annotated."""
    listable = [one for one in children if one.media_type != MEDIA_TYPE.MANIFEST_V1]
    for number in range(count):
        docker = number % 2 == 1
        media_type = MEDIA_TYPE.MANIFEST_LIST if docker else MEDIA_TYPE.INDEX_OCI
        chosen = [listable[(number * 3 + step) % len(listable)] for step in range(2 + number % 2)]
        chosen = list(dict.fromkeys(chosen))
        text = {"schemaVersion": 2, "mediaType": media_type, "made": f"{REQUEST['seed']}-{number}"}  # noqa: F821
        text["manifests"] = [
            {
                "mediaType": one.media_type,
                "digest": one.digest,
                "size": 500,
                "platform": {"architecture": "amd64", "os": "linux"},
            }
            for one in chosen
        ]
        if number % 4 == 0:
            text["annotations"] = {"index": str(number)}
        made = store.manifest(text, media_type)
        for one in chosen:
            # as Pulp's own pushes and syncs fill it: the names are the wrong way round
            ManifestListManifest.objects.create(
                image_manifest=made, manifest_list=one, architecture="amd64", os="linux"
            )


def repositories(store, count):
    """Spread all manifests over repositories that are served, each manifest with a tag."""
    names = []
    for number in range(count):
        name = f"lab/repo-{number + 1}"
        repository = ContainerRepository.objects.create(name=name)
        chosen = store.manifests[number::count]
        content, left = [], list(chosen)
        for step, manifest in enumerate(chosen):
            content.append(Tag.objects.create(name=f"t{step}", tagged_manifest=manifest).pk)
        seen = {one.pk for one in chosen}
        for made in chosen:  # what an index lists goes with it
            left += [one for one in made.listed_manifests.all() if one.pk not in seen]
            seen.update(one.pk for one in left)
        pks = [one.pk for one in left]
        content += pks + [one.config_blob_id for one in left if one.config_blob_id]
        content += BlobManifest.objects.filter(manifest__in=pks).values_list("manifest_blob", flat=True)
        with repository.new_version() as version:
            version.add_content(Content.objects.filter(pk__in=content))
        ContainerDistribution.objects.create(name=name, base_path=name, repository=repository)
        names.append(name)
    return names


def command():
    import importlib

    found = importlib.import_module(
        "pulp_container.app.management.commands.container-handle-image-data"
    ).Command()
    found._broken_manifests = []
    return found


def prepare(manifests):
    """Do some by Pulp's own code, as if an earlier run had done them."""
    own = command()
    pks = [one.pk for one in manifests]
    for kind in (Manifest.objects.exclude, Manifest.objects.filter):  # images first
        chosen = kind(media_type__in=[MEDIA_TYPE.MANIFEST_LIST, MEDIA_TYPE.INDEX_OCI]).filter(pk__in=pks)
        own.update_manifests(chosen)


def as_of_2_20(manifests):
    """Leave rows as 2.20 leaves them: its two pre-migrations are done, the third one is not known yet."""
    prepare(manifests)
    Manifest.objects.filter(pk__in=[one.pk for one in manifests]).update(
        type=None, architecture=None, os=None, compressed_image_size=None
    )


def own_file(content):
    return os.path.join(settings.MEDIA_ROOT, content.contentartifact_set.get().artifact.file.name)


def damage(manifest, how):
    if how == "manifest_file_missing":
        os.unlink(own_file(manifest))
    elif how == "config_file_missing":
        os.unlink(own_file(manifest.config_blob))
    elif how == "config_not_stored":  # synced on demand, or reclaimed
        manifest.config_blob.contentartifact_set.update(artifact=None)
    elif how == "corrupt_json":
        with open(own_file(manifest), "r+b") as file:
            file.write(b"#")
    elif how == "relinkable":  # what an interrupted run of Pulp's own command leaves
        manifest.contentartifact_set.all().delete()
    elif how == "lost":  # the same, after a cleanup of orphans
        artifact = manifest.contentartifact_set.get().artifact
        path = os.path.join(settings.MEDIA_ROOT, artifact.file.name)
        manifest.contentartifact_set.all().delete()
        artifact.delete()
        if os.path.exists(path):
            os.unlink(path)
    else:
        raise ValueError(how)


def damaged(store, wanted):
    """Damage so many plain images as asked for; each by a config of its own, so no other one suffers."""
    found, taken = {}, 0
    for how, count in sorted(wanted.items()):
        for _ in range(count):
            manifest = image(store, 100_000 + taken, kind="plain")
            taken += 1
            found.setdefault(how, []).append(manifest.digest)
    return found


def seed():
    asked = REQUEST  # noqa: F821
    store = Store()
    with transaction.atomic():
        made = images(store, asked["images"], asked["varied"])
        lists(store, asked["lists"], made)
        healthy = list(store.manifests)
        found = damaged(store, asked["damage"])
        names = repositories(store, asked["repositories"])
        if asked["prepared"]:
            prepare(healthy[: asked["prepared"]])
        if asked["release"] == "2.20":
            as_of_2_20(healthy)
        for how, digests in found.items():
            for digest in digests:
                damage(Manifest.objects.get(digest=digest), how)
    facts = {"manifests": len(store.manifests), "repositories": names, "damaged": found}
    print(json.dumps({"regctl": "seed", **facts}), flush=True)


seed()
