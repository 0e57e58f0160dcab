"""Which conversation the engine continues: its session id, kept in the state directory over restarts."""

from pathlib import Path
from typing import Any

import structlog

from hive_contracts.agents import Engine
from hive_harness.files import read_json, write_json

log = structlog.get_logger()


class SessionStore:
    """`<state>/session.json`. A session belongs to the engine that made it. `id` is None until there is one."""

    def __init__(self, state_dir: Path, engine: Engine) -> None:
        self._path = state_dir / "session.json"
        self._engine = engine
        self.id = self._load()

    def keep(self, session_id: str) -> None:
        if session_id != self.id:
            self._save({"engine": self._engine.value, "session_id": session_id})
            self.id = session_id

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)
        self.id = None

    def _load(self) -> str | None:
        stored = read_json(self._path)
        session_id = stored.get("session_id")
        return session_id if stored.get("engine") == self._engine and isinstance(session_id, str) else None

    def _save(self, document: dict[str, Any]) -> None:
        try:
            write_json(self._path, document)
        except OSError as error:
            log.warning("session id could not be stored", reason=str(error))
