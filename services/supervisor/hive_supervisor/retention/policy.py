"""How long what is kept. Built from the settings, once for each sweep, at that sweep's time."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hive_contracts import streams
from hive_runtime.records.messages import milliseconds
from hive_runtime.records.outdated import outdated_events, outdated_messages
from hive_runtime.redis_trim import TrimRule
from hive_runtime.store_sweep import Outdated
from hive_supervisor.config import SupervisorSettings

DAY_MS: Final = 24 * 3600 * 1000

_PRINCIPALS_STREAM: Final = re.compile(r"hive:\{[^{}]+\}:(inbox|outbox|control|live)")
_COMMANDS_STREAM: Final = re.compile(r"hive:commands:(.+)")


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings at a time."""

    config: SupervisorSettings
    now: datetime

    def events(self) -> Outdated:
        """Of an agent's `events.sqlite`."""
        return outdated_events(
            before=self._before(self.config.retention_event_days), newest=self.config.retention_event_rows
        )

    def messages(self) -> Outdated:
        """Of `broker.sqlite`."""
        return outdated_messages(
            acked_before=self._before(self.config.retention_message_days),
            newest=self.config.retention_messages_per_recipient,
        )

    def commands(self) -> Outdated:
        """Of `supervisor.sqlite`."""
        before = self._before(self.config.retention_command_days)
        return Outdated(table="commands", key="id", where="at < :before", values={"before": before})

    def stream(self, name: str) -> TrimRule | None:
        """None for a stream that is not ours to trim. A stream is never trimmed while its reader's group is missing."""
        match name:
            case streams.EVENTS:
                return TrimRule(below=self._id(self.config.retention_fact_days))
            case streams.DEAD:
                return TrimRule(below=self._id(self.config.retention_dead_days))
        if found := _COMMANDS_STREAM.fullmatch(name):
            return TrimRule(groups=(found[1],))
        found = _PRINCIPALS_STREAM.fullmatch(name)
        return self._principals(found[1]) if found else None

    def _principals(self, kind: str) -> TrimRule:
        match kind:
            case "inbox":
                return TrimRule(groups=(streams.GROUP_HARNESS,))
            case "outbox":
                return TrimRule(groups=(streams.GROUP_BROKER,))
            case "live":
                return TrimRule(keep=self.config.retention_live_entries, groups=(streams.GROUP_RECORDER,))
            case _:
                return TrimRule(below=self._id(self.config.retention_control_days), groups=(streams.GROUP_HARNESS,))

    def _before(self, days: float) -> int:
        return max(0, milliseconds(self.now) - round(days * DAY_MS))

    def _id(self, days: float) -> str:
        return f"{self._before(days)}-0"
