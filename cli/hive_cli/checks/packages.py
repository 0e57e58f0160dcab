"""What the tests need of the system, which Debian package brings it, and what is skipped without it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Need:
    """`present` tells whether it is there; `tests` says what needs it."""

    package: str
    present: Callable[[], bool]
    tests: str


def _on_path(*programs: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(program) for program in programs)


NEEDS: Final = (
    Need("chromium", _on_path("chromium", "chromium-browser", "google-chrome"), "the browser tests"),
    Need("fonts-dejavu-core", lambda: Path("/usr/share/fonts/truetype/dejavu").is_dir(), "the screenshots"),
    Need("bubblewrap", _on_path("bwrap"), "the sandbox tests"),
    Need("podman", _on_path("podman"), "the tests with Podman"),
    Need("docker.io", _on_path("dockerd"), "the tests with a Docker engine"),
    Need("docker-compose", _on_path("docker-compose"), "the tests of the compose file"),
    Need("redis-server", _on_path("redis-server"), "the tests on Redis itself"),
    Need("git", _on_path("git"), "the tests on clones"),
    Need("procps", _on_path("ps"), "the tests that look for processes left behind"),
    Need("systemd-container", _on_path("systemd-nspawn"), "the tests on a systemd host"),
    Need("debootstrap", _on_path("debootstrap"), "the tests on a systemd host, and of images"),
    Need("nix-bin", _on_path("nix-instantiate"), "the tests of what NixOS is given"),
    Need("prometheus", _on_path("promtool"), "the tests of alert rules"),
    Need("zsh", _on_path("zsh"), "the tests of completion in zsh"),
    Need("fish", _on_path("fish"), "the tests of completion in fish"),
    Need("npm", _on_path("npm"), "the tests with the real Claude Code"),
)


def missing() -> list[Need]:
    return [need for need in NEEDS if not need.present()]


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(needs: Iterable[Need]) -> bool:
    """With apt, its output shown. False when it failed."""
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    packages = [need.package for need in needs]
    subprocess.run(["apt-get", "update", "-q"], env=environ, check=False)
    command = ["apt-get", "install", "-qy", "--no-install-recommends", *packages]
    return subprocess.run(command, env=environ, check=False).returncode == 0
