"""Which rows of the stores may go, as `store_sweep` deletes them. Times are milliseconds since 1970, UTC."""

from typing import Final

from hive_runtime.store_sweep import Outdated

_ACKED_LATELY: Final = """
(sent_at >= :acked_before OR EXISTS (
  SELECT 1 FROM steps WHERE message_id = messages.id AND steps.state = 'acked' AND steps.at >= :acked_before))
"""
_FLOORS: Final = (
    "CREATE TEMP TABLE floors (recipient TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID",
    f"""
INSERT INTO temp.floors SELECT recipient, (
  SELECT number FROM messages WHERE messages.recipient = recipients.recipient AND state = 'acked' AND {_ACKED_LATELY}
  ORDER BY number DESC LIMIT 1 OFFSET :newest)
FROM (SELECT DISTINCT recipient FROM messages) AS recipients
""",  # noqa: S608 - constants
)
"""Recipient → the newest of its acked messages that are over the cap."""

_MESSAGE_GOES: Final = f"""
state = 'acked' AND (
  NOT {_ACKED_LATELY} OR number <= (SELECT number FROM temp.floors WHERE floors.recipient = messages.recipient))
"""  # noqa: S608 - constants

_EVENT_FLOOR: Final = (
    "CREATE TEMP TABLE floor (number INTEGER)",
    "INSERT INTO temp.floor SELECT number FROM events WHERE at >= :before ORDER BY number DESC LIMIT 1 OFFSET :newest",
)

_STAT_FLOOR: Final = (
    "CREATE TEMP TABLE stat_floor (number INTEGER)",
    "INSERT INTO temp.stat_floor"
    " SELECT number FROM stats WHERE ts >= :before ORDER BY number DESC LIMIT 1 OFFSET :newest",
)


def outdated_messages(*, acked_before: int, newest: int) -> Outdated:
    """Acked ones, with their steps: acked before that time, and of the others all but the `newest` per recipient.

    Times come from stream ids, which a container may choose for its own streams: a message counts as acked before
    a time only when it was sent before it too, so that neither side alone can make it go.
    """
    return Outdated(
        table="messages",
        key="number",
        where=_MESSAGE_GOES,
        values={"acked_before": acked_before, "newest": newest},
        prepare=_FLOORS,
    )


def outdated_events(*, before: int, newest: int) -> Outdated:
    """Those from before that time, and of the others all but the `newest`."""
    return Outdated(
        table="events",
        key="number",
        where="at < :before OR number <= (SELECT number FROM temp.floor)",
        values={"before": before, "newest": newest},
        prepare=_EVENT_FLOOR,
    )


def outdated_stats(*, before: int, newest: int) -> Outdated:
    """Figures from before that time, and of the others all but the `newest`: a container says how many there are."""
    return Outdated(
        table="stats",
        key="number",
        where="ts < :before OR number <= (SELECT number FROM temp.stat_floor)",
        values={"before": before, "newest": newest},
        prepare=_STAT_FLOOR,
    )


def outdated_questions(*, closed_before: int) -> Outdated:
    """Those that were answered, cancelled or expired before that time, and whose asker knows."""
    return Outdated(
        table="questions",
        key="number",
        where="state <> 'open' AND untold = 0 AND closed_at < :closed_before",
        values={"closed_before": closed_before},
    )


def outdated_reminders(*, before: int) -> Outdated:
    """Those that came before that time, and those that were set before it and cancelled."""
    return Outdated(
        table="reminders",
        key="number",
        where="untold = 0 AND (state = 'cancelled' AND set_at < :before"
        " OR state NOT IN ('waiting', 'cancelled') AND fired_at < :before)",
        values={"before": before},
    )


def outdated_diffs(*, resolved_before: int) -> Outdated:
    """What approvals that were resolved before that time would have changed; the approvals themselves stay."""
    return Outdated(
        table="approval_diffs",
        key="id || base_kind",
        where="id IN (SELECT id FROM approvals WHERE state NOT IN ('pending', 'approved') AND resolved_at < :before)",
        values={"before": resolved_before},
    )
