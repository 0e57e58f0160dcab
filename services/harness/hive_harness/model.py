"""Which model the engine runs. A turn keeps the one that it began with; a change in mid-turn waits for the next."""

from datetime import UTC, datetime

import structlog

from hive_contracts.envelope import Envelope
from hive_contracts.models import ModelChanged
from hive_harness.status import StatusKeeper
from hive_harness.turn import CurrentTurn

log = structlog.get_logger()


class ModelChoice:
    """Kept in the state, which everybody reads. Over restarts the supervisor keeps it."""

    def __init__(self, status: StatusKeeper, current: CurrentTurn) -> None:
        self._status = status
        self._current = current

    def active(self) -> str:
        """The model of the turn that runs, else of the next one."""
        return self._status.state.model.active

    def take(self, fact: Envelope) -> None:
        """The supervisor says which model is to be used; it may say so again. Raises `MalformedEnvelope`."""
        wanted = fact.payload(ModelChanged).model
        queued = None if wanted == self.active() else wanted
        self._status.update(model=self._status.state.model.model_copy(update={"queued": queued}))
        if self._current.turn is None:
            self.apply()

    def apply(self) -> None:
        """No turn runs: what is queued becomes active."""
        model = self._status.state.model
        if model.queued is None:
            return
        log.info("model switched", model=model.queued, before=model.active)
        changes = {"active": model.queued, "queued": None, "last_switched": datetime.now(UTC)}
        self._status.update(model=model.model_copy(update=changes))
