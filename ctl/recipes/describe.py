"""Recipes for people and scripts: the list, one in full, and how a run of one ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ctl.errors import Outcome, RegctlError
from ctl.recipes.alike import told_once
from ctl.recipes.host_records import FINISHED, host_blocks, host_data
from ctl.recipes.parameters import written
from ctl.recipes.state import row_of
from ctl.recipes.text import (
    AcrossItem,
    CheckItem,
    ForEachItem,
    ForEachScopes,
    RecipeItem,
    Remedy,
    StepItem,
    WithinItem,
)
from ctl.report.model import Block, Json, Report, Table, Text

if TYPE_CHECKING:
    from ctl.recipes.expand import Built
    from ctl.recipes.load import RecipeFile, RecipeText
    from ctl.recipes.model import RunReport
    from ctl.recipes.text import AnyItem, Parameter

Found = tuple["RecipeFile", "RecipeText | RegctlError"]


def list_report(found: Sequence[Found]) -> Report:
    """List recipes; those that have mistakes are named too, and make it a warning."""
    rows: list[tuple[str, ...]] = []
    data: list[Json] = []
    broken = False
    for file, text in found:
        if isinstance(text, RegctlError):
            broken = True
            rows.append((file.name, file.source, "", f"cannot be read: {len(text.details) or 1} mistakes"))
            mistakes: list[Json] = list(text.details) or [text.message]
            data.append({"name": file.name, "source": file.source, "file": file.path, "mistakes": mistakes})
            continue
        needed = ", ".join(name for name, one in text.model.parameters.items() if _must(one))
        rows.append((text.name, file.source, needed, text.model.summary))
        data.append(
            {
                "name": text.name,
                "source": file.source,
                "file": file.path,
                "summary": text.model.summary,
                "parameters": _parameters(text),
                "mistakes": [],
            }
        )
    columns = ("recipe", "from", "needs", "does")
    blocks: tuple[Block, ...] = (Table(columns, tuple(rows)),) if rows else (Text("There is no recipe."),)
    hints = ("`regctl recipe check` names every mistake with its line",) if broken else ()
    outcome = Outcome.WARNING if broken else Outcome.OK
    return Report("recipe-list", outcome, {"recipes": data}, blocks, hints)


def check_report(found: Sequence[Found], twice: Sequence[str]) -> Report:
    """Say of each recipe whether it can be read; a mistake is exit code 10."""
    recipes: list[Json] = []
    blocks: list[Block] = []
    broken = bool(twice)
    for file, text in found:
        mistakes: list[Json] = []
        if isinstance(text, RegctlError):
            broken = True
            mistakes = list(text.details) or [text.message]
            blocks.append(Text("\n".join(map(str, mistakes))))
        recipes.append({"name": file.name, "file": file.path, "source": file.source, "mistakes": mistakes})
    blocks += [Text(line) for line in twice]
    if not broken:
        count = "The recipe is" if len(recipes) == 1 else f"All {len(recipes)} recipes are"
        blocks.append(Text(f"{count} right."))
    outcome = Outcome.CONFIG if broken else Outcome.OK
    return Report("recipe-check", outcome, {"recipes": recipes, "same_name": list(twice)}, tuple(blocks))


def show_report(text: RecipeText) -> Report:
    """Show a recipe: what it is for, what it needs, and every item with its reason."""
    model = text.model
    lines = list(_lines(model.items, 0))
    data: dict[str, Any] = {
        "name": model.name,
        "source": text.file.source,
        "file": text.file.path,
        "summary": model.summary,
        "why": model.why,
        "parameters": _parameters(text),
        "requires": [one.model_dump(exclude_none=True, exclude_defaults=True) for one in model.requires],
        "undo_on_failure": model.undo_on_failure,
        "items": [_item_data(item) for item in model.items],
    }
    blocks: list[Block] = [Text(f"{model.name}: {model.summary}"), Text(model.why)]
    if model.parameters:
        blocks.append(Table(("parameter", "is", "default", "for"), tuple(_parameter_rows(text))))
    if model.requires:
        blocks.append(Text("Requires:\n" + "\n".join(f"  {_requirement(one)}" for one in data["requires"])))
    blocks.append(Text("\n".join(lines)))
    if model.undo_on_failure:
        blocks.append(Text("If a step fails, what was done before it is taken back."))
    return Report("recipe-show", Outcome.OK, data, tuple(blocks))


def run_report(text: RecipeText, built: Built, run: RunReport) -> Report:
    """Show how a recipe's run ended, or in a dry run what it would do."""
    data: dict[str, Any] = {
        "recipe": text.name,
        "run": run.id,
        "state": run.state,
        "parameters": dict(built.values),
        "steps": [
            {"step": s.step, "title": s.title, "host": s.host, "phase": s.phase, "result": s.result}
            | {"reason": s.reason, **s.data}
            for s in run.steps
        ],
        "problems": [
            {"message": p.message, "hint": p.hint, "name": p.name, "blocking": p.blocking}
            for p in run.problems
        ],
    }
    outcome = run.outcome
    blocks: list[Block] = []
    if run.hosts:
        data["hosts"] = host_data(run.hosts)
    if run.state == "dry-run":
        data["previews"] = [{"title": p.title, "changes": p.changes, **p.data} for p in run.previews]
        for number, preview in enumerate(told_once(run.previews), 1):
            blocks += [Text(f"{number}. {preview.title}{'' if preview.changes else ' (nothing to do)'}")]
            blocks += preview.blocks
    else:
        # What was done on each of several hosts stands in one table: their steps are in `run show`.
        told = [s for s in run.steps if not row_of(s.path)]
        blocks += [Text(f"{s.result}: {s.title}{f': {s.reason}' if s.reason else ''}") for s in told]
    blocks += host_blocks(run.hosts)
    if built.looks_only and outcome is Outcome.NOTHING_TO_DO:
        outcome = Outcome.WARNING if run.problems else Outcome.OK
        blocks = [Text("Everything looked at is well." if not run.problems else "See the warnings.")]
    elif outcome is Outcome.NOTHING_TO_DO:
        blocks.append(Text("Nothing to do."))
    left = run.id and run.state != "open" and any(one.result not in FINISHED for one in run.hosts)
    hints = (f"regctl recipe run {text.name} --unfinished {run.id}",) if left else ()
    return Report("recipe-run", outcome, data, tuple(blocks), hints)


def _must(parameter: Parameter) -> bool:
    return parameter.default is None and parameter.required and parameter.type not in ("registry", "pulp")


def _parameters(text: RecipeText) -> list[Json]:
    return [
        {
            "name": name,
            "type": one.type,
            "help": one.help,
            "required": _must(one),
            "default": one.default,
            "choices": list(one.choices),
        }
        for name, one in text.model.parameters.items()
    ]


def _parameter_rows(text: RecipeText) -> Iterator[tuple[str, ...]]:
    for name, one in text.model.parameters.items():
        kind = " or ".join(one.choices) if one.choices else one.sort
        default = (
            "the only one" if one.type in ("registry", "pulp") else "must be given" if _must(one) else "none"
        )
        yield name, kind, written(one.default) if one.default is not None else default, one.help


def _requirement(one: Mapping[str, Any]) -> str:
    if "regctl" in one:
        return f"regctl {one['regctl']}"
    if "role" in one:
        return f"{one.get('at_least', 1)} or more hosts of the role {one['role']}"
    said = [f"engine {one['engine']}"] if "engine" in one else []
    said += [f"version {one['version']}"] if "version" in one else []
    said += [f"the feature {one['feature']}"] if "feature" in one else []
    return f"{one['registry']}: {', '.join(said) or 'is there'}"


def _with(arguments: Mapping[str, Any]) -> str:
    words = [f"{name}={_short(value)}" for name, value in arguments.items()]
    return f" ({', '.join(words)})" if words else ""


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "..."
    return written(value) if isinstance(value, str | int | float) else str(value)


def _conditions(item: AnyItem | ForEachScopes) -> str:
    told = [f"when {item.when}"] if item.when else []
    told += [f"unless {item.unless}"] if item.unless else []
    return f" [{', '.join(told)}]" if told else ""


def _loop(item: ForEachItem | ForEachScopes) -> str:
    labels = "".join(f", {label}: {value}" for label, value in item.where.items())
    return f"for each {item.for_each}{f' of {item.of}' if item.of else ''}{labels}{_conditions(item)}"


def _targets(item: AcrossItem) -> str:
    plain = item.across.model_dump(mode="json", exclude_none=True)
    words = [f"{key} {_listed(value)}" for key, value in plain.items()]
    first = [f"{item.canary} first, alone"] if item.canary else []
    return ", ".join([*words, *first, f"{item.at_once} at once", f"at most {item.max_fail} may fail"])


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{key}={one}" for key, one in value.items())
    return " or ".join(value) if isinstance(value, list) else str(value)


def _lines(items: Sequence[AnyItem | ForEachScopes], depth: int, mark: str = "") -> Iterator[str]:
    indent = "  " * depth
    for item in items:
        if isinstance(item, WithinItem):
            yield f"{indent}within{_conditions(item)}"
            yield from _reason(item.because, indent)
            yield from _lines(item.within, depth + 1, "scope ")
            yield f"{indent}do"
            yield from _lines(item.do, depth + 1)
        elif isinstance(item, AcrossItem):
            yield f"{indent}across {_targets(item)}{_conditions(item)}"
            yield from _reason(item.because, indent)
            yield from _lines(item.do, depth + 1)
        elif isinstance(item, ForEachItem | ForEachScopes):
            yield f"{indent}{_loop(item)}"
            yield from _lines(item.do, depth + 1, mark)
        else:
            verb, name = _named(item)
            yield f"{indent}{mark or verb}{name}{_with(item.arguments)}{_conditions(item)}"
            yield from _reason(item.because, indent)
            if isinstance(item, CheckItem) and item.remedy:
                yield f"{indent}    where it blocks: {_remedy(item.remedy)}"


def _remedy(remedy: Remedy | str) -> str:
    if isinstance(remedy, str):
        return remedy
    return f"{remedy.step}{_with(remedy.arguments)}, if asked for by --remedy {remedy.name}"


def _named(item: StepItem | CheckItem | RecipeItem) -> tuple[str, str]:
    if isinstance(item, StepItem):
        return "", item.step
    return ("check ", item.check) if isinstance(item, CheckItem) else ("recipe ", item.recipe)


def _reason(because: str | None, indent: str) -> Iterator[str]:
    if because:
        yield f"{indent}    because {because}"


def _item_data(item: AnyItem | ForEachScopes) -> Any:
    return item.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
