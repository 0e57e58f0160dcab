"""`supervisor.sqlite`: which agents there are and what is wanted of them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from hive_contracts.agents import Desired, Engine, Role
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store

MIGRATIONS: Final = (files("hive_supervisor").joinpath("schema.sql").read_text(),)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is kept. `engine` None: the hive's own choice."""

    number: int
    name: str
    role: Role
    engine: Engine | None
    desired: Desired
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewAgent:
    name: str
    role: Role
    engine: Engine | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended; `code` is empty when it was carried out."""

    code: str = ""
    reason: str = ""


class SupervisorStore:
    """The only writer. `unit` makes several changes one."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, MIGRATIONS)

    @contextmanager
    def unit(self) -> Iterator["Unit"]:
        with self._store.transaction() as db:
            yield Unit(db)

    def agents(self) -> list[Agent]:
        return [_agent(row) for row in self._store.connection.execute("SELECT * FROM agents ORDER BY number")]

    def answer(self, command_id: str) -> Answer | None:
        """How this command was answered before; None when it is new."""
        row = self._store.connection.execute(
            "SELECT code, reason FROM commands WHERE id = :id", {"id": command_id}
        ).fetchone()
        return Answer(row["code"], row["reason"]) if row else None

    def close(self) -> None:
        self._store.close()


class Unit:
    """Changes within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, agent: NewAgent, now: datetime) -> bool:
        """False when the name is taken."""
        values = {
            "name": agent.name,
            "role": agent.role.value,
            "engine": agent.engine.value if agent.engine else None,
            "description": agent.description,
            "created_at": milliseconds(now),
        }
        cursor = self._db.execute(
            "INSERT INTO agents (name, role, engine, description, desired, created_at)"
            " VALUES (:name, :role, :engine, :description, 'running', :created_at) ON CONFLICT (name) DO NOTHING",
            values,
        )
        return cursor.rowcount == 1

    def want(self, name: str, desired: Desired) -> bool:
        """False when there is no such agent."""
        cursor = self._db.execute(
            "UPDATE agents SET desired = :desired WHERE name = :name", {"name": name, "desired": desired.value}
        )
        return cursor.rowcount == 1

    def exists(self, name: str) -> bool:
        return self._db.execute("SELECT 1 FROM agents WHERE name = :name", {"name": name}).fetchone() is not None

    def remember(self, command_id: str, answer: Answer, now: datetime) -> None:
        self._db.execute(
            "INSERT INTO commands (id, at, code, reason) VALUES (:id, :at, :code, :reason)",
            {"id": command_id, "at": milliseconds(now), "code": answer.code, "reason": answer.reason},
        )


def _agent(row: sqlite3.Row) -> Agent:
    return Agent(
        number=row["number"],
        name=row["name"],
        role=Role(row["role"]),
        engine=Engine(row["engine"]) if row["engine"] else None,
        desired=Desired(row["desired"]),
        created_at=from_milliseconds(row["created_at"]),
    )
