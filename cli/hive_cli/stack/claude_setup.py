"""`hive setup claude`: the Claude Code CLI from the npm registry, into the data directory."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from hive_cli.output import complain, say
from hive_cli.paths import DataDir
from hive_cli.stack.data_dir import prepare
from hive_cli.stack.engine import KEYS, check_version, installed_claude
from hive_contracts.errors import HiveError, Refused

PACKAGE: Final = "@anthropic-ai/claude-code"
VERSION: Final = "2.1.329"
INSTALL_TIMEOUT_S: Final = 900


class InstallFailed(HiveError):
    code = "install_failed"


def install_claude(data: DataDir) -> None:
    """Raises `Refused` without npm, `InstallFailed` when npm or the program does not work."""
    npm = shutil.which("npm")
    if npm is None:
        raise Refused(
            "npm is not on PATH; install Node.js 22 or newer and run this again, or install claude another way and "
            "name it in HIVE_CLAUDE"
        )
    prepare(data)
    say(f"[1/2] npm installs {PACKAGE} {VERSION} into {data.claude} (about 350 MB)…")
    _npm_install(npm, data)
    say("[2/2] checking that it runs…")
    version = check_version(installed_claude(data))
    say(f"claude {version} is installed.\n")
    say(f"Next, one of these, and then `hive up`:\n  export {KEYS[0]}=…       a key of the API")
    say(f"  export {KEYS[2]}=…  a subscription: make the token with {installed_claude(data)} setup-token")


def claude_for_image(data: DataDir, *, quiet: bool) -> Path | None:
    """Where Claude Code is installed for agents, by now if npm is here; None, and said why, where it cannot be."""
    if not (data.claude / "node_modules" / PACKAGE).is_dir():
        if shutil.which("npm") is None:
            complain("the image gets no Claude Code: npm is not on PATH; install Node.js 22 or newer and build again")
            return None
        prepare(data)
        if not quiet:
            say(f"installing {PACKAGE} {VERSION} for the image (about 250 MB)…")
        try:
            _npm_install(npm=shutil.which("npm") or "npm", data=data)
        except InstallFailed as error:
            complain(f"the image gets no Claude Code: {error}")
            return None
    return data.claude


def _npm_install(npm: str, data: DataDir) -> None:
    data.claude.mkdir(exist_ok=True)
    command = [npm, "install", "--prefix", str(data.claude), "--no-fund", "--no-audit", "--loglevel=error"]
    try:
        done = subprocess.run([*command, f"{PACKAGE}@{VERSION}"], timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"npm did not finish within {INSTALL_TIMEOUT_S} s; run this again") from error
    if done.returncode:
        raise InstallFailed("npm could not install claude; mend what it says above and run this again")
