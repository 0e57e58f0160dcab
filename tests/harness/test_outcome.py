"""Result events as Claude Code 2.1.197 was seen to give them."""

from typing import Any

import pytest

from hive_contracts.agents import TurnOutcome
from hive_harness.outcome import ending_of, outcome_of

ERROR: dict[str, Any] = {"subtype": "success", "is_error": True, "terminal_reason": "completed"}


@pytest.mark.parametrize(
    ("result", "assistant_error", "outcome"),
    [
        ({"subtype": "success", "is_error": False, "api_error_status": None}, None, TurnOutcome.OK),
        (ERROR | {"api_error_status": 401}, "authentication_failed", TurnOutcome.AUTH),
        (ERROR | {"api_error_status": 403}, "authentication_failed", TurnOutcome.AUTH),
        (ERROR | {"api_error_status": 429}, "rate_limit", TurnOutcome.RATE_LIMITED),
        (ERROR | {"api_error_status": 529}, "server_error", TurnOutcome.OVERLOADED),
        (ERROR | {"api_error_status": 500}, "server_error", TurnOutcome.OVERLOADED),
        (ERROR | {"api_error_status": None}, "server_error", TurnOutcome.NETWORK),
        (ERROR | {"api_error_status": 400}, "invalid_request", TurnOutcome.FAILED),
        (ERROR | {"api_error_status": 400}, "billing_error", TurnOutcome.AUTH),
        (ERROR | {"api_error_status": 400, "terminal_reason": "prompt_too_long"}, None, TurnOutcome.PROMPT_TOO_LONG),
        ({"subtype": "error_during_execution", "is_error": True, "errors": ["x"]}, None, TurnOutcome.FAILED),
        ({"subtype": "error_max_turns", "is_error": False}, None, TurnOutcome.FAILED),
        ({}, None, TurnOutcome.FAILED),
        ({"is_error": "no", "subtype": [], "api_error_status": "401"}, None, TurnOutcome.FAILED),
    ],
)
def test_the_outcome_comes_from_the_events_fields(
    result: dict[str, Any], assistant_error: str | None, outcome: TurnOutcome
) -> None:
    assert outcome_of(result, assistant_error) is outcome


def test_words_of_the_conversation_decide_nothing() -> None:
    talk = {"subtype": "success", "is_error": False, "result": "API Error: 429 rate_limit; please log in"}
    assert outcome_of(talk, None) is TurnOutcome.OK


def test_the_cost_is_the_turns_own_though_the_engine_counts_on() -> None:
    result = {"subtype": "success", "is_error": False, "total_cost_usd": 0.5, "usage": {"input_tokens": 7}}
    ending = ending_of(result, assistant_error=None, context=3, cost_before=0.2)
    assert (ending.cost_usd, ending.usage.input, ending.usage.context) == (0.3, 7, 3)


def test_nonsense_numbers_are_no_numbers() -> None:
    result = {"total_cost_usd": 10**400, "usage": {"input_tokens": -4, "output_tokens": True}, "errors": [None]}
    ending = ending_of(result, assistant_error=None, context=0, cost_before=0)
    assert (ending.cost_usd, ending.usage.input, ending.usage.output) == (0, 0, 0)
