"""Which conversation the engine continues: its session id, kept in the state directory over restarts."""

from pathlib import Path
from typing import Any

import structlog

from hive_contracts.agents import Engine
from hive_harness.files import read_json, write_json

log = structlog.get_logger()


class SessionStore:
    """`<state>/session.json`. A session belongs to the engine that made it. `id` is None until there is one.

    `begins_anew`: the next one replaces one that was given up, and must be told so.
    """

    def __init__(self, state_dir: Path, engine: Engine) -> None:
        self._path = state_dir / "session.json"
        self._engine = engine
        stored = read_json(self._path)
        session_id = stored.get("session_id")
        self.id = session_id if stored.get("engine") == engine and isinstance(session_id, str) else None
        self.begins_anew = self.id is None and stored.get("begins_anew") is True

    def keep(self, session_id: str) -> None:
        if session_id != self.id:
            self._save({"engine": self._engine.value, "session_id": session_id})
            self.id = session_id
            self.begins_anew = False

    def forget(self) -> None:
        """The next one begins with an empty conversation."""
        self._save({"engine": self._engine.value, "begins_anew": True})
        self.id = None
        self.begins_anew = True

    def _save(self, document: dict[str, Any]) -> None:
        try:
            write_json(self._path, document)
        except OSError as error:
            log.warning("session id could not be stored", reason=str(error))
