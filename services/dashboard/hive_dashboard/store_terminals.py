"""Whose terminal is on, in `dashboard.sqlite`: off unless the operator turned it on for this very agent."""

from collections.abc import Callable
from datetime import datetime

from hive_dashboard.registry import AgentView
from hive_runtime.store import Store


class TerminalSwitches:
    """`clock` gives seconds since 1970. An agent made later under the same name begins with its terminal off."""

    def __init__(self, base: Store, *, clock: Callable[[], float]) -> None:
        self._base = base
        self._clock = clock

    def is_on(self, agent: AgentView) -> bool:
        query = "SELECT 1 FROM terminals WHERE agent = :agent AND born = :born"
        with self._base.reading() as db:
            return db.execute(query, {"agent": agent.name, "born": _born(agent.created_at)}).fetchone() is not None

    def turn_on(self, agent: AgentView, *, who: str) -> None:
        values = {"agent": agent.name, "born": _born(agent.created_at), "since": int(self._clock()), "who": who}
        with self._base.transaction() as db:
            db.execute("INSERT OR REPLACE INTO terminals VALUES (:agent, :born, :since, :who)", values)

    def turn_off(self, name: str) -> None:
        with self._base.transaction() as db:
            db.execute("DELETE FROM terminals WHERE agent = :agent", {"agent": name})


def _born(time: datetime) -> str:
    return time.isoformat()
