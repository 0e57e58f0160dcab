"""The tests, in one or more runs of pytest; under CI the files of those that failed run once more, alone.

One test in thousands that a loaded machine lets fail must not throw away a whole run, and yet be mended: each is named,
and the traceback of its failure stands above. A whole file runs again, for its tests may share a hive.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from hive_cli.output import say

SOME_FAILED: Final = 1
"""pytest's exit status where all ran, and some failed."""

MOST_FILES: Final = 4
"""Where tests of more files fail, it is not the machine's load."""

_SUMMARY: Final = "short test summary info"
_FAILED: Final = re.compile(r"(?:FAILED|ERROR) (\S+?\.py(?:::.+?)?)(?: - .*)?")


@dataclass(frozen=True, slots=True)
class Tests:
    """`last_lines` are each run's last, after a line for each test that failed and then passed."""

    ok: bool
    last_lines: tuple[str, ...]


def run(phases: Iterable[Sequence[str]], arguments: Sequence[str], *, directory: Path) -> Tests:
    """Show what pytest says as it comes, but for its last lines. `phases`: the options of each run."""
    runs = [_run_pytest((*options, *arguments), directory) for options in phases]
    failed = [test for one in runs for test in one.failed]
    files = _files(failed) if all(one.code in {0, SOME_FAILED} for one in runs) else []
    if not files:
        return Tests(all(one.code == 0 for one in runs), tuple(one.last_line for one in runs))
    say(f"once more, alone: {' '.join(files)}")
    again = _run_pytest(files, directory)
    flaky = (f"flaky: {test} passed when its file ran again; mend it" for test in failed if test not in again.failed)
    return Tests(again.code == 0, (*flaky, *(one.last_line for one in (*runs, again))))


def _files(failed: Sequence[str]) -> list[str]:
    """Those to try again: none but under `CI=true`, and none where too many failed."""
    files = sorted({test.partition("::")[0] for test in failed})
    return files if os.environ.get("CI") == "true" and len(files) <= MOST_FILES else []


@dataclass(frozen=True, slots=True)
class _Run:
    """`code` is pytest's exit status; `failed` are ids of tests, or names of files that could not be read."""

    code: int
    failed: tuple[str, ...]
    last_line: str


def _run_pytest(arguments: Sequence[str], directory: Path) -> _Run:
    colour = ("--color=yes",) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ()
    last, in_summary = "", False
    failed: list[str] = []
    with subprocess.Popen(
        (sys.executable, "-m", "pytest", *colour, *arguments),
        cwd=directory,
        env=_with_bytecode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            click.echo(last, nl=False)
            last = line
            in_summary |= _SUMMARY in line
            if in_summary and (told := _FAILED.fullmatch(click.unstyle(line).rstrip("\n"))):
                failed.append(told[1])
    return _Run(process.returncode, tuple(failed), last.rstrip("\n"))


def _with_bytecode() -> dict[str, str]:
    """Without kept bytecode, each worker compiles every test anew, and each process that a test starts its modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
