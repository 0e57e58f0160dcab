"""The real Claude Code CLI for tests: `HIVE_TEST_CLAUDE`, or from npm into a cache outside the repository."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

VERSION: Final = "2.1.197"
INSTALL_TIMEOUT_S: Final = 600


class NoClaude(Exception):
    """There is none; the text says how to get it."""


def claude_program() -> Path:
    """Raises `NoClaude`."""
    if named := os.environ.get("HIVE_TEST_CLAUDE"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperhive" / f"claude-{VERSION}"
    program = cache / "node_modules" / ".bin" / "claude"
    if not program.exists():
        _install(cache)
    return program


def _install(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NoClaude("npm is not here: install it (Debian: apt install npm), or name a claude in HIVE_TEST_CLAUDE")
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [npm, "install", "--prefix", str(cache), "--no-audit", "--no-fund", f"@anthropic-ai/claude-code@{VERSION}"],
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise NoClaude(f"npm could not install @anthropic-ai/claude-code {VERSION}: {done.stderr.strip()[-300:]}")
