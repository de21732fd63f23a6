"""A plugin that adds one of everything: an engine, a step, a storage driver, a format, a recipe."""

from __future__ import annotations

from ctl.hookspecs import hookimpl


@hookimpl
def register_engines() -> dict[str, str]:
    return {"shelf": "regctl_example.engine:Shelf"}


@hookimpl
def register_steps() -> dict[str, str]:
    return {"leave-note": "regctl_example.steps:LeaveNote"}


@hookimpl
def register_storage_drivers() -> dict[str, str]:
    return {"board": "regctl_example.storage:Board"}


@hookimpl
def register_report_formats() -> dict[str, str]:
    return {"shout": "regctl_example.shout:ShoutReporter"}


@hookimpl
def register_recipes() -> dict[str, str]:
    return {"note": "regctl_example.steps:note"}


@hookimpl
def register_resources() -> dict[str, str]:
    return {"shelf": "regctl_example:resources"}
