"""The sqlite stores: what happens to them that others must know."""

from typing import ClassVar

from hive_contracts.envelope import Payload


class StoreReplaced(Payload):
    """A broken store was set aside and a new one is in its place. Told by the service that writes it."""

    TYPE: ClassVar[str] = "store.replaced"

    store: str
    kept_as: str
    brought_back: str
