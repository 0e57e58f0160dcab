"""What was delivered lately, for a broker that starts: how fast everyone sent, and how long conversations are."""

from dataclasses import dataclass
from typing import Final

from hive_runtime.store import Store

_SINCE: Final = """
SELECT sender, recipient, trace_id, broadcast, sent_at, steps.at FROM messages JOIN steps ON message_id = id
WHERE steps.state = 'delivered' AND steps.turn_id = '' AND steps.at >= :since
  AND messages.number > (SELECT coalesce(max(number), 0) - :most FROM messages)
ORDER BY steps.at, messages.number
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    """`at` is when, in seconds since 1970 by the broker's clock; `sent_at` tells the sends of one sender apart."""

    sender: str
    recipient: str
    trace_id: str
    broadcast: bool
    sent_at: int
    at: float


def delivered_since(store: Store, since: float, *, most: int = 50_000) -> list[Delivered]:
    """Oldest first, looking at the `most` newest messages. Raises `StoreUnavailable`."""
    values = {"since": int(since * 1000), "most": most}
    with store.reading() as db:
        rows = db.execute(_SINCE, values).fetchall()
    return [
        Delivered(
            row["sender"], row["recipient"], row["trace_id"], bool(row["broadcast"]), row["sent_at"], row["at"] / 1000
        )
        for row in rows
    ]


def count_from(store: Store, trace_id: str, sender: str) -> int:
    """How many messages of a conversation `sender` wrote. Raises `StoreUnavailable`."""
    query = "SELECT count(*) FROM messages WHERE trace_id = :trace_id AND sender = :sender"
    with store.reading() as db:
        return int(db.execute(query, {"trace_id": trace_id, "sender": sender}).fetchone()[0])
