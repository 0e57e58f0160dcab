"""One question to an engine of its own: no tools, no session, nothing of the agent's conversation."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hive_contracts.agents import TurnOutcome
from hive_harness.engine import EngineKind, EngineProcess, decode_event
from hive_harness.errors import EngineMissing
from hive_harness.outcome import ending_of
from hive_harness.turn import Ending

WHOLE: Final = ("end_turn", "stop_sequence", None)
"""Why a model stops that has said all; the scripted engine names no reason."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is empty unless `ending` went well."""

    text: str
    ending: Ending


async def ask_alone(kind: EngineKind, text: str, *, model: str, limit_s: float) -> Answer:
    """The engine is gone when this returns, or is cancelled."""
    try:
        process = await EngineProcess.start(kind.alone(model), _take_stderr)
    except EngineMissing as error:
        return Answer("", Ending(TurnOutcome.ENGINE_CRASHED, str(error)))
    pump = asyncio.ensure_future(process.pump())
    try:
        async with asyncio.timeout(limit_s):
            await process.say([text])
            return await _answer(process)
    except TimeoutError:
        return Answer("", Ending(TurnOutcome.ENGINE_HUNG, f"no answer within {limit_s:g} s"))
    finally:
        await asyncio.shield(process.close(working=True))
        pump.cancel()
        await asyncio.wait({pump})


async def _answer(process: EngineProcess) -> Answer:
    error: str | None = None
    while (line := await process.next_line()) is not None:
        event = decode_event(line) or {}
        if event.get("type") == "assistant":
            told = event.get("error")
            error = told if isinstance(told, str) else None
        elif event.get("type") == "result":
            return _read(event, error)
    return Answer("", Ending(TurnOutcome.ENGINE_CRASHED, await process.exit_reason()))


def _read(result: dict[str, Any], error: str | None) -> Answer:
    ending = ending_of(result, assistant_error=error, context=0, cost_before=0.0)
    text = result.get("result")
    if ending.outcome is not TurnOutcome.OK or not isinstance(text, str):
        return Answer("", ending)
    if result.get("stop_reason") not in WHOLE:
        return Answer("", Ending(TurnOutcome.FAILED, f"the answer was cut off: {result.get('stop_reason')}"))
    return Answer(text, ending)


async def _take_stderr(line: str) -> None:
    log.info("engine said on standard error", line=line[:500])
