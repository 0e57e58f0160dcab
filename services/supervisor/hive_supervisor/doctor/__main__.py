"""`python -m hive_supervisor.doctor`: what the supervisor's checks find, as one JSON object.

It starts nothing and asks no hive; it changes nothing without `--fix`.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from hive_runtime import settings
from hive_runtime.checkup import Finding, State, examine
from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.doctor.machine import RUNTIME
from hive_supervisor.doctor.registry import CHECKS
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.telling import tell


def verdict(found: list[Finding], wanted: RuntimeChoice) -> str:
    """The runtime that would be taken; empty when it cannot run."""
    able = [one.part for one in found if one.what == RUNTIME and one.state is State.OK]
    if wanted is RuntimeChoice.AUTO:
        return able[0] if able else ""
    return wanted.value if wanted.value in able else ""


def _answer(arguments: argparse.Namespace) -> dict[str, object]:
    config = settings.load(SupervisorSettings, "supervisor", data_dir=arguments.data_dir, environ=os.environ)
    images = settings.load(ImageSettings, "images", data_dir=arguments.data_dir, environ=os.environ)
    site = Site(arguments.data_dir, config, images, os.environ, idle=arguments.idle)
    report = examine(CHECKS, site, fix=arguments.fix, only=arguments.only or None)
    wanted = arguments.runtime or config.runtime
    return {
        "wanted": wanted,
        "runtime": verdict(report.findings, wanted),
        "findings": [asdict(one) for one in report.findings],
        "mended": report.mended,
        "checks": {check.name: check.about for check in CHECKS},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runtime", type=RuntimeChoice)
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--idle", action="store_true", help="the hive does not run")
    parser.add_argument("--only", action="append", metavar="CHECK")
    return tell(lambda: _answer(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
