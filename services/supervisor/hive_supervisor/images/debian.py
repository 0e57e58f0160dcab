"""Debian roots: a minimal one by debootstrap, and what apt adds to a copy of it."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_supervisor.images import confined
from hive_supervisor.images.confined import Report

SOURCES_TIMEOUT_S: Final = 30
_SCRIPTS: Final = Path("/usr/share/debootstrap/scripts")
_TOLD: Final = re.compile(
    r"^(?:I: (Retrieving|Validating|Extracting|Configuring|Unpacking)|(Unpacking|Setting up)) (\S+)"
)
_APT: Final = ("apt-get", "-q", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root")
_NO_START: Final = "usr/sbin/policy-rc.d"
_UPDATES: Final = "etc/apt/sources.list.d/updates.list"
_LEAVE_OUT: Final = "etc/dpkg/dpkg.cfg.d/hyperhive"
_LEFT_OUT: Final = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
"""


@dataclass(frozen=True, slots=True)
class Release:
    """`mirror` is an URL; empty leaves it to debootstrap. `updates`: further lines for apt's list of sources."""

    suite: str
    mirror: str = ""
    updates: tuple[str, ...] = ()

    def options(self) -> tuple[str, ...]:
        return (self.suite, self.mirror, *self.updates)


def release(suite: str | None = None, mirror: str | None = None) -> Release:
    """What is not given is this machine's own: the suite it runs, where debootstrap knows it, and its apt's sources."""
    chosen = suite or own_suite()
    if mirror is not None:
        return Release(chosen, mirror)
    sources = own_sources()
    updates = (f"{chosen}-updates", f"{chosen}-security")
    lines = [f"deb {sources[name, 'main']} {name} main" for name in updates if (name, "main") in sources]
    return Release(chosen, sources.get((chosen, "main"), ""), tuple(lines))


def own_suite() -> str:
    """This machine's, if it is one that debootstrap can make; else Debian's stable one."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    codename = named.get("VERSION_CODENAME", "").strip('"')
    return codename if codename and (_SCRIPTS / codename).exists() else "stable"


def own_sources() -> dict[tuple[str, str], str]:
    """Where this machine's apt gets what from: release and component → URL. Empty where there is no apt."""
    if shutil.which("apt-get") is None:
        return {}
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SOURCES_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = (line.split() for line in done.stdout.splitlines())
    return {(line[0], line[1]): line[2] for line in lines if len(line) == 3}


def bootstrap(release: Release, root: Path, *, report: Report) -> None:
    """Make a minimal Debian in the empty directory `root`. Raises `BuildFailed`."""
    command = ["debootstrap", "--variant=minbase", release.suite, str(root)]
    confined.run([*command, *([release.mirror] if release.mirror else [])], report=_told(report))
    (root / _LEAVE_OUT).write_text(_LEFT_OUT)


def copy(base: Path, root: Path) -> None:
    """`base` into the empty directory `root`, with owners, modes and links; shares blocks where the disk can."""
    command = ["cp", "--archive", "--reflink=auto", "--one-file-system", f"{base}/.", str(root)]
    confined.run(command, report=lambda _: None)


def install(root: Path, packages: Sequence[str], release: Release, *, report: Report) -> None:
    """With apt inside `root`, over this machine's network, what is there brought up to date; services are not started.

    Raises `BuildFailed`.
    """
    guard = root / _NO_START
    guard.write_text("#!/bin/sh\nexit 101\n")
    guard.chmod(0o755)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / _UPDATES).write_text("".join(f"{line}\n" for line in release.updates))
    for words in (("update",), ("full-upgrade", "--yes"), ("install", "--yes", "--no-install-recommends", *packages)):
        report(f"apt {words[0]}")
        confined.run_in(root, [*_APT, *_proxies(), *words], report=_told(report))
    guard.unlink()


def _proxies() -> list[str]:
    """This machine's apt may go through a proxy of its own."""
    found = []
    for key in ("Acquire::http::Proxy", "Acquire::https::Proxy"):
        done = subprocess.run(
            ["apt-config", "dump", "--format", "%v%n", key], capture_output=True, text=True, check=False
        )
        if value := done.stdout.strip():
            found += ["-o", f"{key}={value}"]
    return found


def _told(report: Report) -> Report:
    def tell(line: str) -> None:
        if match := _TOLD.match(line):
            report(f"{(match[1] or match[2]).lower()} {match[3]}")

    return tell
