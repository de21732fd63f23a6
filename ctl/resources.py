"""Find the files that ship beside the code: templates/ and recipes/, in a checkout and in a wheel."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ctl.errors import RegctlError

_HERE = os.path.dirname(os.path.abspath(__file__))
# A wheel carries them below ctl/data; a checkout, and an installation of it in place, beside ctl/.
_ROOTS = (os.path.join(_HERE, "data"), os.path.dirname(_HERE))


def folders(kind: str, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the folders of a kind ("templates", "recipes"): plugins' own (`extra`) after what ships."""
    shipped = [os.path.join(root, kind) for root in _ROOTS]
    return (*[folder for folder in shipped if os.path.isdir(folder)][:1], *extra)


def read_resource(kind: str, name: str, extra: Sequence[str] = ()) -> str:
    """Return the text of a file such as ("templates", "distribution/2.yml.j2")."""
    if name.startswith("/") or ".." in name.split("/"):
        raise RegctlError(f"{name} is not a name below {kind}/")
    for folder in folders(kind, extra):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read()
    raise RegctlError(
        f"{kind}/{name} is not installed", hint="the installation is incomplete: install regctl again"
    )
