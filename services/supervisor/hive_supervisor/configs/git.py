"""Git as a program, in repositories that only the supervisor writes: bounded, without hooks, settings or network."""

import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hive_contracts.errors import Unavailable
from hive_supervisor.errors import ConfigRefused

TIMEOUT_S: Final = 30.0
MAX_MEMORY_BYTES: Final = 1024**3
MAX_FILE_BYTES: Final = 64 * 1024**2
MAX_CPU_S: Final = 20

_CONFIG: Final = {
    "core.bigFileThreshold": "8m",
    "core.hooksPath": os.devnull,
    "core.fsyncMethod": "batch",
    "core.fsync": "committed,reference",
    "core.quotePath": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.allow": "never",
    "protocol.file.allow": "always",
    "safe.directory": "*",
    "tag.gpgSign": "false",
    "uploadpack.allowAnySHA1InWant": "true",
    "user.name": "hyperhive",
    "user.email": "hyperhive@localhost",
}


@dataclass(frozen=True, slots=True)
class Git:
    """One repository. Every method blocks for at most half a minute; call it from a thread."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Its output. Raises `ConfigRefused` with git's own words when it fails, `Unavailable` without git."""
        done = self._run(arguments, stdin)
        if done.returncode != 0:
            raise ConfigRefused(f"git {arguments[0]} refused it: {_words(done.stderr)}")
        return done.stdout

    def try_(self, *arguments: str, stdin: bytes = b"") -> bytes | None:
        """The same, and None when it fails."""
        done = self._run(arguments, stdin)
        return done.stdout if done.returncode == 0 else None

    def _run(self, arguments: Sequence[str], stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
        try:
            return subprocess.run(
                ("git", *arguments),
                cwd=self.path,
                env=_environment(self.path) | dict(self.environment),
                input=stdin,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
                preexec_fn=_limits(),
            )
        except FileNotFoundError as error:
            raise Unavailable("there is no git on this machine, or the repository is gone; install git") from error
        except subprocess.TimeoutExpired as error:
            raise ConfigRefused(f"git {arguments[0]} took longer than {TIMEOUT_S:.0f} s with it") from error


def _environment(path: Path) -> dict[str, str]:
    settings = {f"GIT_CONFIG_KEY_{index}": key for index, key in enumerate(_CONFIG)}
    values = {f"GIT_CONFIG_VALUE_{index}": value for index, value in enumerate(_CONFIG.values())}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
        "GIT_DIR": str(path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(_CONFIG)),
        **settings,
        **values,
    }


def _limits() -> Callable[[], None]:
    """A `preexec_fn`: what a hostile bundle can make git take."""
    limits = (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_CPU, MAX_CPU_S),
        (resource.RLIMIT_CORE, 0),
    )

    def set_limits() -> None:
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))

    return set_limits


def _words(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return " ".join(lines[-3:])[:500] or "no reason given"
