"""How a turn ended, read from the engine's `result` event: its fields only, never the words of the conversation."""

from typing import Any, Final

from hive_contracts.agents import TurnOutcome
from hive_contracts.turns import Usage
from hive_harness.live import bounded
from hive_harness.turn import Ending

MAX_REASON: Final = 500
MAX_COST_USD: Final = 1e9

_BY_TERMINAL_REASON: Final = {"prompt_too_long": TurnOutcome.PROMPT_TOO_LONG}
_BY_STATUS: Final = {
    401: TurnOutcome.AUTH,
    403: TurnOutcome.AUTH,
    413: TurnOutcome.PROMPT_TOO_LONG,
    429: TurnOutcome.RATE_LIMITED,
    503: TurnOutcome.OVERLOADED,
    529: TurnOutcome.OVERLOADED,
}
_BY_ERROR: Final = {
    "authentication_failed": TurnOutcome.AUTH,
    "oauth_org_not_allowed": TurnOutcome.AUTH,
    "billing_error": TurnOutcome.AUTH,
    "rate_limit": TurnOutcome.RATE_LIMITED,
    "overloaded": TurnOutcome.OVERLOADED,
}
"""By the `error` field of the last assistant event, which says what kind of API error its text stands for."""


def outcome_of(result: dict[str, Any], assistant_error: str | None) -> TurnOutcome:
    """`OK` only for a result that does not call itself an error."""
    if result.get("is_error") is False and result.get("subtype") == "success":
        return TurnOutcome.OK
    return (
        _BY_TERMINAL_REASON.get(str(result.get("terminal_reason")))
        or _BY_STATUS.get(_number(result.get("api_error_status")))
        or _BY_ERROR.get(assistant_error or "")
        or TurnOutcome.FAILED
    )


def ending_of(result: dict[str, Any], *, assistant_error: str | None, context: int, cost_before: float) -> Ending:
    """`cost_before`: what the engine's process had already counted; its own sum runs over all its turns."""
    outcome = outcome_of(result, assistant_error)
    session_id = result.get("session_id")
    return Ending(
        outcome,
        "" if outcome is TurnOutcome.OK else _reason(result),
        usage_of(result.get("usage"), context=context),
        max(0.0, total_cost(result) - cost_before),
        session_id[:100] if isinstance(session_id, str) else None,
    )


def total_cost(result: dict[str, Any]) -> float:
    cost = result.get("total_cost_usd")
    return float(cost) if isinstance(cost, int | float) and 0 <= cost < MAX_COST_USD else 0.0


def usage_of(usage: Any, *, context: int) -> Usage:
    counts = usage if isinstance(usage, dict) else {}
    return Usage(
        input=_number(counts.get("input_tokens")),
        output=_number(counts.get("output_tokens")),
        cache_read=_number(counts.get("cache_read_input_tokens")),
        cache_creation=_number(counts.get("cache_creation_input_tokens")),
        context=context,
    )


def context_of(usage: Usage) -> int:
    """The size of a request's prompt."""
    return usage.input + usage.cache_read + usage.cache_creation


def _reason(result: dict[str, Any]) -> str:
    errors = result.get("errors")
    told = result.get("result") or (errors[0] if isinstance(errors, list) and errors else "") or result.get("subtype")
    return bounded(str(told or "the engine gave no reason"), MAX_REASON)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
