"""How long what is kept. Built from the settings, once for each sweep, at that sweep's time."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hive_contracts import streams
from hive_runtime.records.messages import milliseconds
from hive_runtime.records.outdated import (
    outdated_diffs,
    outdated_events,
    outdated_messages,
    outdated_questions,
    outdated_reminders,
    outdated_stats,
)
from hive_runtime.store_sweep import Outdated
from hive_runtime.trim import TrimRule
from hive_supervisor.retention.config import RetentionSettings

DAY_MS: Final = 24 * 3600 * 1000

_PRINCIPALS_STREAM: Final = re.compile(r"hive:\{[^{}]+\}:(inbox|outbox|control|live)")
_COMMANDS_STREAM: Final = re.compile(r"hive:commands:(.+)")


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings at a time."""

    config: RetentionSettings
    now: datetime

    def agents_store(self) -> tuple[Outdated, ...]:
        """Of an agent's `events.sqlite`."""
        config = self.config
        return (
            outdated_events(before=self._before(config.event_days), newest=config.event_rows),
            outdated_stats(before=self._before(config.stat_days), newest=config.stat_rows),
        )

    def brokers_store(self) -> tuple[Outdated, ...]:
        """Of `broker.sqlite`."""
        config = self.config
        acked_before = self._before(config.message_days)
        return (
            outdated_messages(acked_before=acked_before, newest=config.messages_per_recipient),
            outdated_questions(closed_before=self._before(config.question_days)),
            outdated_reminders(before=self._before(config.reminder_days)),
        )

    def supervisors_store(self) -> tuple[Outdated, ...]:
        """Of `supervisor.sqlite`."""
        before = self._before(self.config.command_days)
        return (Outdated(table="commands", key="id", where="at < :before", values={"before": before}),)

    def approvals_store(self) -> tuple[Outdated, ...]:
        """Of `approvals.sqlite`."""
        return (outdated_diffs(resolved_before=self._before(self.config.diff_days)),)

    def stream(self, name: str) -> TrimRule | None:
        """None for a stream that is not ours to trim. A stream is never trimmed while its reader's group is missing."""
        match name:
            case streams.EVENTS:
                return TrimRule(below=self._id(self.config.fact_days), groups=(streams.GROUP_RECORD,))
            case streams.DEAD:
                return TrimRule(below=self._id(self.config.dead_days))
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
                return TrimRule(keep=self.config.live_entries, groups=(streams.GROUP_RECORDER,))
            case _:
                return TrimRule(below=self._id(self.config.control_days), groups=(streams.GROUP_HARNESS,))

    def _before(self, days: float) -> int:
        return max(0, milliseconds(self.now) - round(days * DAY_MS))

    def _id(self, days: float) -> str:
        return f"{self._before(days)}-0"
