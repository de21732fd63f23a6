"""Record what the packages of Pulp say of themselves, for the tables in `ctl/engines/pulp_releases.py`.

`pip download --no-deps pulp-container==2.27.14` and the like, then `python -m tools.pulp_facts *.whl`: a
file for each in tests/cases/pulp, which tests hold the tables against.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from zipfile import ZipFile

CASES = Path(__file__).parents[1] / "tests" / "cases" / "pulp"
FIELDS = (
    "annotations",
    "labels",
    "is_bootable",
    "is_flatpak",
    "data",
    "type",
    "architecture",
    "os",
    "compressed_image_size",
)
PARTS = ("update_manifests", "init_manifest", "needs_os_arch_size_update", "init_manifest_os_arch_size")
COMMAND = "pulp_container/app/management/commands/container-handle-image-data.py"
_UNGUARDED = r"            return\n\n        config_artifact = self\.config_blob\._artifacts\.get\(\)"


class Package:
    """A wheel of one release."""

    def __init__(self, path: Path) -> None:
        self.name, self.version = path.name.split("-")[:2]
        self._zip = ZipFile(path)
        self._names = self._zip.namelist()

    def text(self, name: str) -> str:
        """Return a file's text, "" where it is not there."""
        return self._zip.read(name).decode() if name in self._names else ""

    def migrations(self) -> list[str]:
        """Return the names of its migrations, sorted."""
        folder = f"{self.name}/app/migrations/"
        found = [name.removeprefix(folder).removesuffix(".py") for name in self._names if folder in name]
        return sorted(name for name in found if re.match(r"\d{4}_", name))

    def requires(self, package: str) -> str:
        """Return which versions of another package it takes."""
        metadata = next(name for name in self._names if name.endswith(".dist-info/METADATA"))
        found = re.search(rf"^Requires-Dist: {package} *(.*)$", self.text(metadata), re.M)
        return found[1] if found else ""


def container_facts(package: Package) -> dict[str, object]:
    """Return the facts of a release of pulp-container."""
    migrations = package.migrations()
    command = package.text(COMMAND)
    models = package.text("pulp_container/app/models.py")
    manifest = models[models.index("class Manifest(") :]
    manifest = manifest[: manifest.index("\nclass ", 10)]
    sync = package.text("pulp_container/app/tasks/sync_stages.py")
    kept = 'manifest.asave(update_fields=["data"])' in sync and "download it again" in sync
    return {
        "package": "pulp-container",
        "version": package.version,
        "requires_pulpcore": package.requires("pulpcore"),
        "migrations": len(migrations),
        "last_migration": migrations[-1],
        "squashed": [name for name in migrations if "squashed" in name],
        "manifest_fields": [one for one in FIELDS if re.search(rf"^    {one} = models", manifest, re.M)],
        "command": bool(command),
        "command_parts": [part for part in PARTS if f"def {part}(" in command],
        "clears_artifacts_before_saving": "_artifacts.clear()" in command,
        "lists_broken": "broken manifests" in command,
        "serves_from_files": "_artifacts" in package.text("pulp_container/app/registry.py"),
        "stops_without_config_blob": bool(re.search(_UNGUARDED, manifest)),
        "sync_brings_lost_text_back": kept or ("raw_text_data is None" in sync and "manifest.asave(" in sync),
    }


def core_facts(package: Package) -> dict[str, object]:
    """Return the facts of a release of pulpcore."""
    migrations = package.migrations()
    demanded = {}
    for name in migrations:
        text = package.text(f"pulpcore/app/migrations/{name}.py")
        if found := re.search(r'RequireVersion\("core", *"([\d.]+)"', text):
            demanded[name] = found[1]
    return {
        "package": "pulpcore",
        "version": package.version,
        "migrations": len(migrations),
        "last_migration": migrations[-1],
        "squashed": [name for name in migrations if "squashed" in name],
        "replaced_still_there": "0090_char_to_text_field" in migrations,
        "demands_no_older_service_than": demanded,
    }


def main(wheels: list[str]) -> int:
    """Write a file for each wheel; return the exit code."""
    for wheel in wheels:
        package = Package(Path(wheel))
        facts = core_facts(package) if package.name == "pulpcore" else container_facts(package)
        target = CASES / f"{facts['package']}-{package.version}.json"
        target.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
