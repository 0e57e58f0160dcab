"""The checks in order: format, lint, types, imports, tests. pytest comes last, so that its summary is the last line."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_cli.checks import packages
from hive_cli.errors import FAILED
from hive_cli.output import bold, complain, say
from hive_contracts.errors import Refused

ROOT: Final = Path(__file__).resolve().parents[3]
QUICK: Final = "not system and not browser and not claude"


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
    results = [_run(check) for check in (*_static_checks(), _tests(pytest_args, quick=quick))]
    return 0 if all(results) else FAILED


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


def _tests(pytest_args: Sequence[str], *, quick: bool) -> Check:
    marks = ("-m", QUICK) if quick else ()
    return Check("tests", (sys.executable, "-m", "pytest", *marks, *pytest_args))


def _run(check: Check) -> bool:
    """Show the output of pytest as it comes, of the others when they fail."""
    started = time.monotonic()
    if check.name == "tests":
        sys.stdout.flush()
        return subprocess.run(check.command, cwd=ROOT, check=False).returncode == 0
    done = subprocess.run(
        check.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    word = "ok" if done.returncode == 0 else "FAILED"
    say(f"{bold(check.name):<8} {word} in {time.monotonic() - started:.1f} s")
    if done.returncode:
        say(done.stdout)
    return done.returncode == 0
