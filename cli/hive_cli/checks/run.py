"""The checks: format, lint, types and imports beside the tests, as one core would idle; pytest's summary comes last."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from hive_cli.checks import packages, suite
from hive_cli.errors import DONE, FAILED
from hive_cli.output import bold, complain, say
from hive_contracts.errors import Refused

ROOT: Final = Path(__file__).resolve().parents[3]
MOST_HIVES: Final = 3
"""Whole hives at once: each brings processes of its own, a browser or a container engine."""

SMALL: Final = "not system and not browser and not claude"
QUICK: Final = ("-m", f"{SMALL} and not slow", "--hypothesis-profile=quick")
"""The small tests but for the slow ones, and fewer examples of the rest (`tests/conftest.py`)."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    command: Sequence[str]


def run_checks(*, quick: bool, pytest_args: Sequence[str]) -> int:
    """The exit code: 0, or 1 when any check failed. Raises `Refused` outside a checkout."""
    if not (ROOT / "tests").is_dir() or importlib.util.find_spec("pytest") is None:
        raise Refused("the tests are part of the source; run `./hive test` in a clone of hyperhive")
    if not quick and not _prepare_system():
        return FAILED
    with ThreadPoolExecutor(max_workers=1) as pool:
        static = pool.submit(lambda: [_run(check) for check in _static_checks()])
        return _run_tests(pytest_args, quick=quick, beside=static)


def _prepare_system() -> bool:
    """Bring what the tests need; else say what will be skipped. False where nothing may be skipped (`CI=true`)."""
    needs = packages.missing()
    if needs and packages.can_install():
        say(f"installing {', '.join(need.package for need in needs)} with apt")
        packages.install(needs)
        needs = packages.missing()
    for need in needs:
        say(f"missing {need.package}: {need.tests} will be skipped; install it (on Debian: apt install {need.package})")
    if needs and os.environ.get("CI") == "true":
        complain("under CI nothing may be skipped; install what is named above")
        return False
    return True


def _static_checks() -> tuple[Check, ...]:
    scripts = Path(sys.executable).parent
    return (
        Check("format", (str(scripts / "ruff"), "format", "--check", "--quiet", ".")),
        Check("lint", (str(scripts / "ruff"), "check", "--quiet", ".")),
        Check("types", (sys.executable, "-m", "mypy", "--no-error-summary")),
        Check("imports", (str(scripts / "lint-imports"), "--no-cache")),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    check: Check
    ok: bool
    seconds: float
    output: str

    def show(self) -> None:
        say(f"{bold(f'{self.check.name:<8}')} {'ok' if self.ok else 'FAILED'} in {self.seconds:.1f} s")
        if not self.ok:
            say(self.output)


def _run(check: Check) -> Outcome:
    started = time.monotonic()
    done = subprocess.run(
        check.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Outcome(check, done.returncode == 0, time.monotonic() - started, done.stdout)


def _run_tests(pytest_args: Sequence[str], *, quick: bool, beside: Future[list[Outcome]]) -> int:
    """Show pytest's output as it comes, but its last lines only after the other checks' outcome."""
    started = time.monotonic()
    tests = suite.run(_phases(alone=bool(pytest_args), quick=quick), pytest_args, directory=ROOT)
    outcomes = beside.result()
    for outcome in outcomes:
        outcome.show()
    say(f"{bold('tests   ')} {'ok' if tests.ok else 'FAILED'} in {time.monotonic() - started:.1f} s")
    for line in tests.last_lines:
        click.echo(line)
    return DONE if tests.ok and all(outcome.ok for outcome in outcomes) else FAILED


def _phases(*, alone: bool, quick: bool) -> tuple[tuple[str, ...], ...]:
    """In a process more than there are cores, for tests wait, too: small ones, then whole hives, a file at a time."""
    if alone:
        return (QUICK if quick else (),)
    side_by_side = (f"--numprocesses={_cores() + 1}", "--dist=worksteal")
    if quick:
        return ((*QUICK, *side_by_side),)
    whole = ("-m", f"not ({SMALL})", f"--numprocesses={min(_cores() + 1, MOST_HIVES)}", "--dist=loadfile")
    return (("-m", SMALL, *side_by_side), whole)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
