"""Which engine runs the agents' turns: `claude` when it is there and signed in, else `scripted`, and why."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_cli.paths import DataDir
from hive_contracts.errors import Refused
from hive_contracts.names import MANAGER
from hive_runtime.agent_settings import MODEL_KEY

MIN_CLAUDE: Final = (2, 0, 0)
VERSION_TIMEOUT_S: Final = 15
KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
INSTALL: Final = "install it with `hive setup claude`"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`reason` is half a sentence. `claude` is set when the engine is claude."""

    engine: str
    reason: str
    claude: Path | None = None


def variables(choice: EngineChoice) -> dict[str, str]:
    """How the supervisor is told."""
    claude = {"HIVE_SUPERVISOR_CLAUDE": str(choice.claude)} if choice.claude else {}
    return {"HIVE_SUPERVISOR_ENGINE": choice.engine, "HIVE_SUPERVISOR_ENGINE_REASON": choice.reason, **claude}


def choose(wanted: str | None, data: DataDir, environ: Mapping[str, str]) -> EngineChoice:
    """Raises `Refused` when `wanted` is claude and something is missing."""
    if wanted == "scripted":
        return EngineChoice("scripted", "asked for with --engine")
    try:
        binary = find_claude(data, environ)
        version = check_version(binary)
        sign_in = find_sign_in(data, environ, asked_for=wanted == "claude")
    except Refused as error:
        if wanted == "claude":
            raise
        return EngineChoice("scripted", str(error))
    return EngineChoice("claude", f"claude {version} with {sign_in}", binary)


def find_claude(data: DataDir, environ: Mapping[str, str]) -> Path:
    """`HIVE_CLAUDE`, else on PATH, else what `hive setup claude` installed."""
    given = environ.get("HIVE_CLAUDE")
    if given and shutil.which(given) is None:
        raise Refused(f"HIVE_CLAUDE names {given}, and there is no such program; correct it, or {INSTALL}")
    found = given or shutil.which("claude", path=environ.get("PATH")) or shutil.which(installed_claude(data))
    if not found:
        raise Refused(f"claude is not installed; {INSTALL}")
    return Path(shutil.which(found) or found).absolute()


def installed_claude(data: DataDir) -> Path:
    return data.claude / "node_modules" / ".bin" / "claude"


def check_version(binary: Path) -> str:
    try:
        done = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{binary} does not run ({error}); {INSTALL}") from error
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    if done.returncode or match is None:
        raise Refused(f"{binary} --version failed with exit status {done.returncode}; {INSTALL}")
    version = tuple(int(part) for part in match.groups())
    if version < MIN_CLAUDE:
        raise Refused(f"claude {match[0]} at {binary} is too old, 2.0 is needed; {INSTALL}")
    return match[0]


def find_sign_in(data: DataDir, environ: Mapping[str, str], *, asked_for: bool) -> str:
    """In words. Raises `Refused` when there is none, unless claude was asked for: then each agent waits for its own."""
    if (data.secrets / MODEL_KEY).exists():
        return f"the key in {data.secrets / MODEL_KEY}"
    for key in KEYS:
        if environ.get(key):
            return key
    if data.claude_credentials(MANAGER).exists():
        return f"the sign-in of {MANAGER}"
    if asked_for:
        return "no sign-in: sign each agent in on its page, or with `hive login`"
    raise Refused(
        f"claude is installed but not signed in; set {KEYS[0]} or {KEYS[2]} (from `claude setup-token`), or start with "
        "`--engine claude` and sign each agent in on its page"
    )
