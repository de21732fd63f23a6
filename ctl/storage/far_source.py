"""The program that answers on a far host, as text: modules of regctl, made plain for an old Python.

What reads there runs from Python 3.6 on, what changes a tree from 3.7 on: annotations, docstrings and what
only type checkers need are taken out.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_READING = ("survey_worker", "tree_reading", "far_frames", "far_worker")
_ACTING = ("durable", "entry_print", "renaming", "aside", "quarantine", "tree_files")
# What stands for ctl.errors over there: the controller makes the real error of its name and words.
_ERRORS = """\
class RegctlError(Exception):
    def __init__(self, message, *, hint="", details=()):
        super().__init__(message)
        self.message, self.hint, self.details = message, hint, details
class RefusedError(RegctlError): pass
class UsageError(RegctlError): pass
"""
_BEGIN = """\
import sys, types
def module(name, text):
    made = types.ModuleType(name)
    made.__path__ = []
    sys.modules[name] = made
    exec(compile(text, name, "exec"), made.__dict__)
    parent, _, last = name.rpartition(".")
    if parent: setattr(sys.modules[parent], last, made)
module("ctl", "")
module("ctl.storage", "")
"""


@cache
def reading() -> str:
    """Return the program that answers questions."""
    return "".join(
        [
            _BEGIN,
            _line("ctl.errors", _ERRORS),
            *(_line(f"ctl.storage.{name}", portable(name)) for name in _READING),
            'sys.modules["ctl.storage.far_worker"].main()\n',
        ]
    )


@cache
def acting() -> list[tuple[str, str]]:
    """Return the modules (name, text) that the program needs to change a tree."""
    return [(f"ctl.storage.{name}", portable(name)) for name in _ACTING]


def _line(name: str, text: str) -> str:
    return f"module({name!r}, {text!r})\n"


def portable(name: str) -> str:
    """Return the text of a module of this package as an old Python understands it."""
    tree = _Plain().visit(ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


class _Plain(ast.NodeTransformer):
    """Takes out what only people and type checkers read."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in ("__future__", "typing") else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
        if any("dataclass" in ast.dump(one) for one in node.decorator_list):
            for one in fields:  # they make the constructor: keep them, whatever their type is
                one.annotation = ast.Name("object", ast.Load())
            others = [one for one in node.body if one not in fields]
            node.body = others or [ast.Pass()]
            self._without_docstring(node)
            node.body = [*fields, *node.body]
            return node
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        arguments = node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            one.annotation = None
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                rest.annotation = None
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.Assign(targets=[node.target], value=self.visit(node.value))

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.AST:
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:]
        self.generic_visit(node)
        if not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node
