"""Write the pages of docs/ that are lists of what there is: the index and the list of steps.

`python -m tools.docs_pages` writes them; `tests/unit/docs` fails while they are not up to date.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tools.gitlab_pages import features_page, settings_page

if TYPE_CHECKING:
    from ctl.recipes.model import Step

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def heading(page: Path) -> str:
    """Return a page's title: its first line without the mark."""
    first, _, _ = page.read_text().partition("\n")
    return first.removeprefix("# ").strip() or page.stem


def pages(folder: str) -> list[Path]:
    """List the pages of a folder of docs/, sorted by name."""
    return sorted((DOCS / folder).glob("*.md"))


def links(folder: str, *, commands: bool | None = None) -> str:
    """Return a list of links to a folder's pages; `commands` picks those of commands, or the others."""
    return "\n".join(
        f"- [{heading(page)}]({folder}/{page.name})"
        for page in pages(folder)
        if commands is None or heading(page).startswith("regctl ") is commands
    )


def index() -> str:
    """Return docs/index.md."""
    return f"""# regctl's documentation

## How to

{links("howto")}

## Commands

Each page names every option; `regctl COMMAND --help` says the same in short.

{links("reference", commands=True)}

## Reference

{links("reference", commands=False)}

## Why it is as it is

{links("decisions")}

## Working on it

- [Contributing](contributing.md): where things are, and where to add one
"""


def steps() -> Iterator[type[Step]]:
    """Yield every concrete step class below ctl.steps, by module and name; then those of ctl.health."""
    from ctl.recipes.model import Scope, Step, Undoable

    package = importlib.import_module("ctl.steps")
    below = sorted(one.name for one in pkgutil.iter_modules(package.__path__))
    for name in (*(f"ctl.steps.{one}" for one in below), "ctl.health.step", "ctl.health.bundle_step"):
        module = importlib.import_module(name)
        for _, found in sorted(vars(module).items()):
            if (
                inspect.isclass(found)
                and issubclass(found, Step)
                and found not in (Step, Undoable, Scope)
                and found.__module__ == module.__name__
                and not found.__name__.startswith("_")
            ):
                yield found


def steps_page() -> str:
    """Return docs/reference/steps.md."""
    from ctl.recipes.model import Scope, Undoable

    rows = []
    for step in steps():
        kind = (
            "scope" if issubclass(step, Scope) else "step, undoable" if issubclass(step, Undoable) else "step"
        )
        marks = [
            word
            for word, true in (
                ("irreversible", step.irreversible),
                ("interruptible", step.interruptible),
            )
            if true
        ]
        arguments = ", ".join(f"`{name}`" for name in step.model_fields)
        summary = (inspect.getdoc(step) or "").split("\n", 1)[0].replace("|", "\\|")
        name = re.sub(r"(?<!^)([A-Z])", r"-\1", step.__name__).lower()  # as ctl.builtins registers it
        rows.append(
            f"| `{step.__name__}` | `{name}` | {', '.join([kind, *marks])} | {summary} | {arguments} |"
        )
    return f"""# Steps and scopes

Every effect of regctl is one of these. A scope is left again whatever happens. A step runs only after
all checks of its recipe have passed, and its effect is measured afterwards. `regctl run show` names them
as they stand here.

| name | in a recipe | kind | does | arguments |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def wanted() -> dict[Path, str]:
    """Return every generated page with its text."""
    reference = DOCS / "reference"
    return {
        reference / "steps.md": steps_page(),
        reference / "gitlab-settings.md": settings_page(),
        reference / "gitlab-features.md": features_page(),
        DOCS / "index.md": index(),
    }


def main() -> int:
    """Write what is not up to date; say what was written."""
    for name in ("steps", "gitlab-settings", "gitlab-features"):  # listed by the index from the first time on
        page = DOCS / "reference" / f"{name}.md"
        if not page.exists():
            page.write_text(f"# {name}\n")
    for page, text in wanted().items():
        if not page.exists() or page.read_text() != text:
            page.write_text(text)
            sys.stderr.write(f"wrote {page.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
