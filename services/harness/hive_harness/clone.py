"""Clones of configurations in the manager's state, by git as the engine's user: the harness opens nothing in them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_contracts.approvals import MAX_BUNDLE_BYTES
from hive_harness.config import HarnessConfig
from hive_harness.engine import as_user
from hive_harness.errors import GitFailed
from hive_runtime.process import die_with_parent

TIMEOUT_S: Final = 30.0

_FETCH: Final = """
mkdir -p "$1" && cd "$1" && cat > main.bundle
if [ -e config/.git ]; then
  git -C config fetch --quiet ../main.bundle +refs/heads/main:refs/remotes/origin/main
else
  git clone --quiet --branch main main.bundle config
  git -C config config user.name "$2" && git -C config config user.email "$2@hive"
fi
git -C config status --short --branch
"""

_PACK: Final = """
cd "$1/config"
sha=$(git rev-parse --verify --quiet "$2^{commit}") || { echo "there is no commit $2 in $PWD" >&2; exit 1; }
[ "$sha" = "$(git rev-parse --verify refs/remotes/origin/main)" ] && exit 0
git update-ref refs/hive/proposal "$sha"
git bundle create --quiet --version=2 - refs/hive/proposal ^refs/remotes/origin/main
"""


@dataclass(frozen=True, slots=True)
class Clones:
    """`/state/agents/<name>/config` each. Raises `GitFailed`, with git's own words."""

    config: HarnessConfig

    def path(self, agent: str) -> Path:
        return self.config.state_dir / "agents" / agent

    async def fetch(self, agent: str, bundle: bytes) -> str:
        """Make the clone, or bring its `origin/main` up to date; what was changed in it stays. Its short status."""
        output = await self._run(_FETCH, str(self.path(agent)), self.config.agent, stdin=bundle)
        return output.decode(errors="replace").strip()

    async def pack(self, agent: str, commit: str) -> bytes:
        """A bundle of `commit`, without what `origin/main` has; empty when it is that."""
        if not (self.path(agent) / "config").is_dir():
            raise GitFailed(f"there is no clone of {agent}'s configuration yet; call fetch_config first")
        bundle = await self._run(_PACK, str(self.path(agent)), commit)
        if len(bundle) > MAX_BUNDLE_BYTES:
            raise GitFailed(f"the commit is {len(bundle)} bytes in a bundle; at most {MAX_BUNDLE_BYTES} are taken")
        return bundle

    async def _run(self, script: str, *arguments: str, stdin: bytes = b"") -> bytes:
        process = await asyncio.create_subprocess_exec(
            "sh", "-eu", "-c", script, "sh", *arguments,
            cwd=self.config.state_dir,
            env=self.config.engine_environment | {"GIT_TERMINAL_PROMPT": "0"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent(),
            **as_user(self.config.engine_uid),
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, errors = await process.communicate(stdin)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise GitFailed(f"git took longer than {TIMEOUT_S:.0f} s") from error
        if process.returncode != 0:
            words = errors.decode(errors="replace").strip()[-500:]
            raise GitFailed(words or f"git ended with {process.returncode}")
        return output
