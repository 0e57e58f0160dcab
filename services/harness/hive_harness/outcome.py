"""How a turn ended, read from the engine's `result` event: its fields only, never the words of the conversation."""

from datetime import UTC, datetime
from typing import Any, Final

from hive_contracts.agents import TurnOutcome
from hive_contracts.turns import Usage
from hive_harness.live import bounded
from hive_harness.turn import Compaction, Ending

MAX_REASON: Final = 500
MAX_COST_USD: Final = 1e9
MAX_EPOCH_S: Final = 4e9

SERVER_ERRORS: Final = 500
"""HTTP statuses from here on are the provider's own trouble."""

NO_ANSWER: Final = "server_error"
"""What the assistant's error says, without any HTTP status, when the provider could not be reached."""

_BY_TERMINAL_REASON: Final = {"prompt_too_long": TurnOutcome.PROMPT_TOO_LONG}
_BY_STATUS: Final = {
    401: TurnOutcome.AUTH,
    403: TurnOutcome.AUTH,
    413: TurnOutcome.PROMPT_TOO_LONG,
    429: TurnOutcome.RATE_LIMITED,
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
    status = _number(result.get("api_error_status"))
    return (
        _BY_TERMINAL_REASON.get(str(result.get("terminal_reason")))
        or _BY_STATUS.get(status)
        or (TurnOutcome.OVERLOADED if status >= SERVER_ERRORS else None)
        or _BY_ERROR.get(assistant_error or "")
        or (TurnOutcome.NETWORK if not status and assistant_error == NO_ANSWER else TurnOutcome.FAILED)
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
        _window(result.get("modelUsage")),
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


def reset_time(event: dict[str, Any]) -> datetime | None:
    """When the provider's limit ends, by a `rate_limit_event` that says that it was reached."""
    info = event.get("rate_limit_info")
    if not isinstance(info, dict) or info.get("status") != "rejected":
        return None
    seconds = _number(info.get("resetsAt"))
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < MAX_EPOCH_S else None


def compaction_of(event: dict[str, Any]) -> Compaction | None:
    """What a `system` event says of a conversation that was shortened; None for any other."""
    if event.get("subtype") == "status" and event.get("compact_result") == "failed":
        return Compaction(done=False, error=bounded(str(event.get("compact_error") or "it failed"), MAX_REASON))
    if event.get("subtype") != "compact_boundary":
        return None
    told = event.get("compact_metadata")
    counts = told if isinstance(told, dict) else {}
    return Compaction(done=True, before=_number(counts.get("pre_tokens")), after=_number(counts.get("post_tokens")))


def _window(usage_by_model: Any) -> int:
    """The context window of the model that worked most, in tokens."""
    models = [item for item in usage_by_model.values() if isinstance(item, dict)] if _is_object(usage_by_model) else []
    main = max(models, key=lambda item: _number(item.get("outputTokens")), default={})
    return _number(main.get("contextWindow"))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _reason(result: dict[str, Any]) -> str:
    errors = result.get("errors")
    told = result.get("result") or (errors[0] if isinstance(errors, list) and errors else "") or result.get("subtype")
    return bounded(str(told or "the engine gave no reason"), MAX_REASON)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
