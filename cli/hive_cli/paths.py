"""Where a hive keeps its things: the data directory and the fixed names in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataDir:
    """An absolute path, which need not exist yet."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "hive.toml"

    @property
    def lock(self) -> Path:
        return self.root / "hive.lock"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def redis_run(self) -> Path:
        return self.run / "redis"

    @property
    def hive_json(self) -> Path:
        return self.run / "hive.json"

    @property
    def processes(self) -> Path:
        return self.run / "processes.json"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def api_token(self) -> Path:
        return self.secrets / "api-token"

    @property
    def claude(self) -> Path:
        return self.root / "claude"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def agent_log(self, name: str) -> Path:
        return self.logs / "agents" / f"{name}.log"

    def claude_credentials(self, agent: str) -> Path:
        return self.root / "agents" / agent / "state" / ".claude" / ".credentials.json"


def resolve(option: str | None, environ: Mapping[str, str]) -> DataDir:
    """`--data-dir`, else `HIVE_DATA_DIR`, else `hyperhive` in the XDG data home."""
    given = option or environ.get("HIVE_DATA_DIR")
    if given:
        return DataDir(Path(given).expanduser().absolute())
    xdg = environ.get("XDG_DATA_HOME", "")
    home = Path(xdg) if xdg.startswith("/") else Path.home() / ".local" / "share"
    return DataDir(home / "hyperhive")
