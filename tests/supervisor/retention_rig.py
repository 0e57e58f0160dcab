"""Stores and streams to sweep, and a sweep over them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.redis_server import RedisServer

from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.messages import Message, MessageState
from hive_contracts.questions import QuestionView
from hive_contracts.reminders import ReminderView
from hive_contracts.retention import RetentionSwept, Swept
from hive_contracts.turns import TurnEnded
from hive_runtime.records.approvals import ApprovalWriter
from hive_runtime.records.events import EventWriter
from hive_runtime.records.messages import MessageWriter, from_milliseconds, milliseconds
from hive_runtime.records.threads import Question, Reminder
from hive_runtime.redis_bus import connect
from hive_runtime.redis_trim import StreamTrimmer
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.retention.sweep import Sweep
from hive_supervisor.store import SupervisorStore

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def ms(age_days: float = 0) -> int:
    return milliseconds(NOW - timedelta(days=age_days))


@dataclass
class Hive:
    """A data directory and a server, without services."""

    data_dir: Path
    redis: RedisServer
    settings: dict[str, Any] = field(default_factory=dict)
    agents: tuple[str, ...] = ()

    def make_stores(self) -> None:
        MessageWriter(self.data_dir / "broker.sqlite").close()
        SupervisorStore(self.data_dir / "supervisor.sqlite").close()
        ApprovalWriter(self.data_dir / "approvals.sqlite").close()

    def sweep(self, *, dry_run: bool = False) -> RetentionSwept:
        async def run() -> RetentionSwept:
            trimmer = StreamTrimmer(self.redis.address)
            try:
                config = RetentionSettings(**self.settings)
                return await Sweep(config, self.data_dir, trimmer, lambda: self.agents).run(NOW, dry_run=dry_run)
            finally:
                await trimmer.aclose()

        return asyncio.run(run())

    def command(self, *words: str | int) -> Any:
        """One command of an administrator, by the server's own words."""
        return self.commands([words])[0]

    def commands(self, lines: Sequence[Sequence[str | int]]) -> list[Any]:
        async def run() -> list[Any]:
            redis: Any = connect(self.redis.address)
            try:
                pipeline = redis.pipeline(transaction=False)
                for words in lines:
                    pipeline.execute_command(*words)
                return list(await pipeline.execute())
            finally:
                await redis.aclose()

        return asyncio.run(run())

    def add(self, stream: str, number: int, *, age_days: float = 0, size: int = 10) -> list[str]:
        """Entries with ids of that age; returns the ids."""
        ids = [f"{ms(age_days)}-{seq}" for seq in range(1, number + 1)]
        self.commands([("XADD", stream, id_, "f", "x" * size) for id_ in ids])
        return ids

    def ids(self, stream: str) -> list[str]:
        return [entry[0] for entry in self.command("XRANGE", stream, "-", "+")]

    def read(self, stream: str, group: str, number: int) -> None:
        """`group` takes `number` entries and has not acknowledged them."""
        self.command("XREADGROUP", "GROUP", group, "c", "COUNT", number, "STREAMS", stream, ">")


def account(swept: Sequence[Swept], name: str) -> Swept:
    return next(item for item in swept if item.name == name)


def message(number: int, recipient: str = "ada", *, age_days: float = 0) -> Message:
    sent_at = NOW - timedelta(days=age_days)
    return Message(
        id=f"m-{recipient}-{number}",
        sender="operator",
        recipient=recipient,
        body="hello",
        sent_at=sent_at,
        trace_id="t",
    )


def put_messages(
    writer: MessageWriter, messages: Sequence[Message], *, state: MessageState | None = None, age_days: float = 0
) -> list[str]:
    writer.record([(message, 0) for message in messages])
    if state:
        for one in messages:
            writer.advance(one.recipient, [one.id], state, at=ms(age_days))
    return [one.id for one in messages]


def put_events(path: Path, number: int, *, age_days: float = 0, first: int = 0, text: str = "x") -> None:
    writer = EventWriter(path)
    writer.record(
        [
            (f"{ms(age_days)}-{seq}", Envelope(source="a", type="turn.text", data={"text": text}))
            for seq in range(first, first + number)
        ],
        position=f"{ms(age_days)}-{first + number}",
    )
    writer.close()


def put_turns(path: Path, number: int, *, age_days: float) -> None:
    """Turns that ended, each with eleven figures."""
    writer = EventWriter(path)
    ended = (TurnEnded(turn_id=f"t-{age_days}-{turn}", seq=9, outcome=TurnOutcome.OK) for turn in range(number))
    entries = [(f"{ms(age_days)}-{seq}", Envelope.of(one, source="a")) for seq, one in enumerate(ended)]
    writer.record(entries, position=entries[-1][0])
    writer.close()


def question(name: str, *, asked_at: int, expires_at: int | None = None) -> Question:
    until = None if expires_at is None else from_milliseconds(expires_at)
    asked = from_milliseconds(asked_at)
    view = QuestionView(id=name, asker="ada", to="operator", question="really?", asked_at=asked, expires_at=until)
    return Question(view, trace_id=name, hop=0)


def reminder(name: str, *, due_at: int, set_at: int) -> Reminder:
    times = {"set_at": from_milliseconds(set_at), "due_at": from_milliseconds(due_at)}
    return Reminder(ReminderView(id=name, owner="ada", message="look", **times), name, 0, due_at)
