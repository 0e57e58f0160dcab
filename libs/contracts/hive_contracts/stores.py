"""The sqlite stores: their schemas' versions, and what happens to them that others must know."""

from collections.abc import Mapping
from typing import ClassVar, Final

from hive_contracts.envelope import Payload

HIVE_STORES: Final[Mapping[str, int]] = {
    "broker.sqlite": 5,
    "supervisor.sqlite": 4,
    "approvals.sqlite": 5,
    "dashboard.sqlite": 3,
}
"""File in the data directory → schema version of this hyperhive. A migration adds one here, too."""

AGENT_STORES: Final[Mapping[str, int]] = {"events.sqlite": 4}
"""Likewise of the stores in `agents/<name>/`."""


class StoreReplaced(Payload):
    """A broken store was set aside and a new one is in its place. Told by the service that writes it."""

    TYPE: ClassVar[str] = "store.replaced"

    store: str
    kept_as: str
    brought_back: str
