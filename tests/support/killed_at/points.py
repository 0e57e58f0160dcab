"""The lines at which a process may be killed: every statement of a function, as the source has it."""

import ast
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HOOK: Final = Path(__file__).parent
"""To be on the path of the Python that is to be killed: holds its `sitecustomize`."""


@dataclass(frozen=True, slots=True)
class Point:
    """Just before this line of this function."""

    file: str
    function: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.function}, {self.text}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.function}:{self.line}"


def strike_at(plan: Path, *chosen: Point) -> None:
    """From now on whoever comes to the first of these is killed there, then who comes to the second, and so on."""
    partial = plan.with_suffix(".partial")
    partial.write_text("\n".join(point.place for point in chosen))
    partial.replace(plan)


def points(function: Callable[..., Any], *, only: tuple[str, ...] = ()) -> Iterator[Point]:
    """Those that every run comes to, by what they begin with when `only` says so: none in `except` and `else`."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    for statement in _statements(tree.body):
        text = lines[statement.lineno - 1].strip()
        if not only or text.startswith(only):
            yield Point(
                Path(inspect.getfile(function)).name, function.__name__, first + statement.lineno - 1, text.rstrip(":")
            )


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if not _is_docstring(statement) and not isinstance(statement, ast.Try):
            yield statement
        yield from _statements(getattr(statement, "body", []))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def environment(plan: Path, chosen: list[Point]) -> dict[str, str]:
    """For the process that is to be killed at one of the points that are `chosen`."""
    path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH", ""))))
    watched = {f"{point.file}:{point.function}" for point in chosen}
    return {"KILL_PLAN": str(plan), "KILL_IN": " ".join(sorted(watched)), "PYTHONPATH": path}
