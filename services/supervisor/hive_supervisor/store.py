"""`supervisor.sqlite`: which agents there are and what is wanted of them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from hive_contracts.agents import Desired, Engine, Role
from hive_contracts.errors import Refused
from hive_contracts.models import AgentConfig
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store, read_only
from hive_supervisor.config import END_OF_IDS, FIRST_ID
from hive_supervisor.life import Life
from hive_supervisor.runtimes.base import IDS

MIGRATIONS: Final = tuple(
    files("hive_supervisor").joinpath(name).read_text()
    for name in ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")
)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is kept. `engine` None: the hive's own choice. `id_base`: the first of its ids on the machine."""

    number: int
    name: str
    role: Role
    engine: Engine | None
    desired: Desired
    created_at: datetime
    config: AgentConfig = field(default_factory=AgentConfig)
    model_override: str | None = None
    model_set_at: datetime | None = None
    id_base: int = 0
    life: Life = field(default_factory=Life)


@dataclass(frozen=True, slots=True)
class NewAgent:
    name: str
    role: Role
    engine: Engine | None = None
    description: str = ""
    config: AgentConfig = field(default_factory=AgentConfig)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended; `code` is empty when it was carried out."""

    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentIds:
    """`base`: the first of its ids. `origin`: from where they were counted, by the agent's number."""

    base: int
    origin: int


def ids_of(path: Path) -> dict[str, AgentIds]:
    """Each agent's ids, of a store that may not be there. Raises `StoreUnavailable`."""
    with read_only(path) as db:
        rows = db.execute("SELECT name, number, id_base FROM agents WHERE id_base > 0").fetchall() if db else []
    return {row["name"]: AgentIds(row["id_base"], row["id_base"] - row["number"] * IDS) for row in rows}


class SupervisorStore:
    """The only writer. `unit` makes several changes one. Every method raises `StoreUnavailable`.

    It knows its agents by heart: should the file break, the one that takes its place is filled with them.
    """

    def __init__(self, path: Path, *, first_id: int = FIRST_ID) -> None:
        self.base = Store(path, MIGRATIONS)
        self._first_id = first_id
        self._generation = self.base.generation
        self._agents: list[Agent] = []

    @contextmanager
    def unit(self) -> Iterator["Unit"]:
        self._refill()
        with self.base.transaction() as db:
            yield Unit(db, self._first_id)

    def agents(self) -> list[Agent]:
        self._refill()
        with self.base.reading() as db:
            self._agents = [_agent(row) for row in db.execute("SELECT * FROM agents ORDER BY number")]
        return self._agents

    def answer(self, command_id: str) -> Answer | None:
        """How this command was answered before; None when it is new."""
        with self.base.reading() as db:
            row = db.execute("SELECT code, reason FROM commands WHERE id = :id", {"id": command_id}).fetchone()
        return Answer(row["code"], row["reason"]) if row else None

    def close(self) -> None:
        self.base.close()

    def _refill(self) -> None:
        generation = self.base.generation
        if generation != self._generation:
            with self.base.transaction() as db:
                for agent in self._agents:
                    Unit(db, self._first_id).bring_back(agent)
            self._generation = generation


class Unit:
    """Changes within one transaction. `first_id`: where the ids of new agents are counted from."""

    def __init__(self, db: sqlite3.Connection, first_id: int) -> None:
        self._db = db
        self._first_id = first_id

    def add(self, agent: NewAgent, now: datetime) -> bool:
        """Also revives a destroyed one, with its number. False when the name is taken."""
        kept = Agent(0, agent.name, agent.role, agent.engine, Desired.RUNNING, now, agent.config)
        return self._insert(kept, agent.description) or self._revive(agent)

    def _revive(self, agent: NewAgent) -> bool:
        """What is newly said of it holds, else what was kept."""
        values = {
            "name": agent.name,
            "engine": agent.engine.value if agent.engine else None,
            "config": None if agent.config == AgentConfig() else agent.config.model_dump_json(exclude_defaults=True),
        }
        query = (
            "UPDATE agents SET desired = 'running', engine = coalesce(:engine, engine),"
            " config = coalesce(:config, config) WHERE name = :name AND desired = 'destroyed'"
        )
        return self._db.execute(query, values).rowcount == 1

    def bring_back(self, agent: Agent) -> None:
        """An agent as it was kept, with its number if it has one; its description is gone."""
        self._insert(agent, "")

    def _insert(self, agent: Agent, description: str) -> bool:
        values = {
            "number": agent.number or None,
            "name": agent.name,
            "role": agent.role.value,
            "engine": agent.engine.value if agent.engine else None,
            "description": description,
            "desired": agent.desired.value,
            "created_at": milliseconds(agent.created_at),
            "config": agent.config.model_dump_json(exclude_defaults=True),
            "model_override": agent.model_override,
            "model_set_at": milliseconds(agent.model_set_at) if agent.model_set_at else None,
            "id_base": agent.id_base or None,
            "life": agent.life.model_dump_json(),
        }
        names = ", ".join(values)
        slots = ", ".join(f":{name}" for name in values)
        query = f"INSERT INTO agents ({names}) VALUES ({slots}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants only
        inserted = self._db.execute(query, values).rowcount == 1
        self._db.execute(
            "UPDATE agents SET id_base = :first + number * :size WHERE id_base IS NULL",
            {"first": self._first_id, "size": IDS},
        )
        if inserted:
            self._check_ids(agent.name)
        return inserted

    def _check_ids(self, name: str) -> None:
        """Raises `Refused` when the ids of `name` would be beyond what the machine has."""
        query = "SELECT id_base + :size > :end AS beyond FROM agents WHERE name = :name"
        values = {"size": IDS, "end": END_OF_IDS, "name": name}
        if self._db.execute(query, values).fetchone()["beyond"]:
            raise Refused(
                f"no user ids are left for {name}: each agent that was ever made has {IDS} of its own; set first_uid "
                "in [supervisor] to a lower one, where nobody else's are, or make another hive"
            )

    def want(self, name: str, desired: Desired) -> bool:
        """False when there is no such agent."""
        cursor = self._db.execute(
            "UPDATE agents SET desired = :desired WHERE name = :name", {"name": name, "desired": desired.value}
        )
        return cursor.rowcount == 1

    def configure(self, name: str, config: AgentConfig) -> bool:
        """False when there is no such agent."""
        values = {"name": name, "config": config.model_dump_json(exclude_defaults=True)}
        return self._db.execute("UPDATE agents SET config = :config WHERE name = :name", values).rowcount == 1

    def keep_life(self, name: str, life: Life) -> None:
        """Nothing to do when there is no such agent."""
        self._db.execute(
            "UPDATE agents SET life = :life WHERE name = :name", {"name": name, "life": life.model_dump_json()}
        )

    def override_model(self, name: str, model: str | None, now: datetime) -> bool:
        """None takes the override away. False when there is no such agent."""
        cursor = self._db.execute(
            "UPDATE agents SET model_override = :model, model_set_at = :at WHERE name = :name",
            {"name": name, "model": model, "at": milliseconds(now) if model else None},
        )
        return cursor.rowcount == 1

    def desired(self, name: str) -> Desired | None:
        """None when there is no such agent."""
        row = self._db.execute("SELECT desired FROM agents WHERE name = :name", {"name": name}).fetchone()
        return Desired(row["desired"]) if row else None

    def forget(self, name: str) -> None:
        """One whose purge is done."""
        self._db.execute("DELETE FROM agents WHERE name = :name AND desired = 'purged'", {"name": name})

    def amend(self, command_id: str, answer: Answer) -> None:
        """It ended otherwise than was thought."""
        self._db.execute(
            "UPDATE commands SET code = :code, reason = :reason WHERE id = :id",
            {"id": command_id, "code": answer.code, "reason": answer.reason},
        )

    def remember(self, command_id: str, answer: Answer, now: datetime) -> None:
        self._db.execute(
            "INSERT INTO commands (id, at, code, reason) VALUES (:id, :at, :code, :reason)",
            {"id": command_id, "at": milliseconds(now), "code": answer.code, "reason": answer.reason},
        )


def _life(text: str) -> Life:
    """One that a later version wrote tells nothing."""
    try:
        return Life.model_validate_json(text)
    except ValidationError:
        return Life()


def _agent(row: sqlite3.Row) -> Agent:
    return Agent(
        number=row["number"],
        name=row["name"],
        role=Role(row["role"]),
        engine=Engine(row["engine"]) if row["engine"] else None,
        desired=Desired(row["desired"]),
        created_at=from_milliseconds(row["created_at"]),
        config=AgentConfig.model_validate_json(row["config"]),
        model_override=row["model_override"],
        model_set_at=None if row["model_set_at"] is None else from_milliseconds(row["model_set_at"]),
        id_base=row["id_base"],
        life=_life(row["life"]),
    )
