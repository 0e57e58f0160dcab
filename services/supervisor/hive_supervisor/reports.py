"""What a harness says of itself in its state hash: that it has come up."""

from functools import partial
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import AgentState, TurnState
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_supervisor.errors import CannotStart
from hive_supervisor.versions import check_harness

READY_WAIT_MS: Final = 250
"""How long one look for the harness's report waits for its live stream, in milliseconds."""

log = structlog.get_logger()


async def until_ready(bus: Bus, name: str) -> None:
    """Returns once the harness has reported a state other than starting. Raises `CannotStart`."""
    reader = bus.reader()
    try:
        cursor = await persist(lambda: bus.last_id(streams.live(name)))
        news = partial(reader.read_after, {streams.live(name): cursor}, count=1, block_ms=READY_WAIT_MS)
        while (account := _account(await persist(lambda: bus.hash_all(streams.state(name))))) is None:
            await persist(news)
        check_harness(name, account.harness_version)
    finally:
        await reader.aclose()


async def misfits(bus: Bus, name: str) -> bool:
    """Whether the harness that reported last cannot work with this hive; one that said nothing can."""
    account = _account(await persist(lambda: bus.hash_all(streams.state(name))))
    try:
        check_harness(name, account.harness_version if account else "")
    except CannotStart as error:
        log.warning("harness of another age", agent=name, reason=str(error))
        return True
    return False


def _account(fields: dict[str, str]) -> AgentState | None:
    """What the harness reported; None while it is starting."""
    try:
        account = AgentState.model_validate_json(fields.get(streams.STATE_FIELD, ""))
        return account if account.state is not TurnState.STARTING else None
    except ValueError:
        return None
