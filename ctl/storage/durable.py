"""Small files that must be whole after a crash, and folders whose entries must be."""

from __future__ import annotations

import os


def write_durably(folder: str, name: str, text: str) -> None:
    """Write a file of ASCII text atomically; it is on disk when this returns."""
    draft = os.path.join(folder, f".{name}.new")
    with open(draft, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, os.path.join(folder, name))
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Put a folder's entries on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
