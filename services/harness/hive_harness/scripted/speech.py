"""What the scripted engine says: events of the shapes that Claude Code's stream-json has."""

import json
import re
import sys
import time
from typing import Any, Final

MODEL: Final = "scripted"
INPUT_PRICE_USD: Final = 1e-6
OUTPUT_PRICE_USD: Final = 5e-6
STREAMED: Final = 20
"""Words of a text that are said one by one before the whole."""

WINDOW: Final = 200_000
COMPACTED: Final = 100
"""Tokens."""

"""A token's, so that a demo shows a cost."""

_FAILURES: Final[dict[str, dict[str, Any]]] = {
    "rate_limited": {"error": "rate_limit", "status": 429, "text": "API Error: Request rejected (429)"},
    "auth": {"error": "authentication_failed", "status": 401, "text": "Invalid API key"},
    "overloaded": {"error": "server_error", "status": 529, "text": "API Error: 529 overloaded"},
    "prompt_too_long": {"error": "invalid_request", "status": 400, "text": "Prompt is too long"},
}


class Speech:
    """Events of one session on standard output. Tokens count up within a turn, the cost over all turns."""

    def __init__(self, session_id: str, model: str) -> None:
        self.session_id = session_id
        self._model = model
        self._calls = 0
        self._cost_usd = 0.0
        self._began = 0.0
        self.input_tokens = 0
        self.output_tokens = 0
        self._largest = 0

    def begin(self, tools: list[str], mcp_status: str, prompt: str, *, turn: int) -> None:
        """`turn` counts the session's turns, from 1, over all processes that had it."""
        self._began = time.monotonic()
        self._largest = max(self._largest, self.input_tokens)
        self.input_tokens, self.output_tokens = len(prompt) // 4, 0
        server = {"name": "hyperhive", "status": mcp_status}
        self._emit("system", subtype="init", tools=tools, mcp_servers=[server], model=self._model, session_turn=turn)

    def say(self, text: str) -> None:
        self.output_tokens += max(1, len(text) // 4)
        self._stream({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        for word in re.findall(r"\S*\s*", text)[:STREAMED]:
            delta = {"type": "text_delta", "text": word}
            self._stream({"type": "content_block_delta", "index": 0, "delta": delta})
        self._assistant({"type": "text", "text": text})

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Returns the call's id."""
        self._calls += 1
        call_id = f"toolu_{self.session_id[:8]}_{self._calls}"
        self.output_tokens += max(1, len(str(arguments)) // 4)
        self._assistant({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
        return call_id

    def result_of(self, call_id: str, text: str, *, is_error: bool) -> None:
        block = {"type": "tool_result", "tool_use_id": call_id, "content": text, "is_error": is_error}
        self._emit("user", message={"role": "user", "content": [block]})

    def end(self, text: str, *, steps: int) -> None:
        self._result(subtype="success", is_error=False, api_error_status=None, result=text, num_turns=steps)

    def fail(self, kind: str, *, steps: int) -> None:
        """End the turn as Claude Code ends one for a failure of this kind."""
        known = _FAILURES.get(kind)
        if known is None:
            self._result(subtype="error_during_execution", is_error=True, num_turns=steps, errors=["scripted failure"])
            return
        message = {"role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": known["text"]}]}
        self._emit("assistant", message=message, parent_tool_use_id=None, error=known["error"])
        reason = "prompt_too_long" if kind == "prompt_too_long" else "completed"
        self._result(
            subtype="success",
            is_error=True,
            api_error_status=known["status"],
            result=known["text"],
            num_turns=steps,
            terminal_reason=reason,
        )

    def leave_off(self) -> None:
        """End the turn as Claude Code ends one that is interrupted."""
        self._result(subtype="error_during_execution", is_error=True, num_turns=1, errors=["interrupted"])

    def compact(self) -> None:
        """Forget what the conversation holds, as Claude Code tells it."""
        self._emit("system", subtype="status", status="compacting")
        self._emit("system", subtype="status", status=None, compact_result="success")
        counts = {"trigger": "manual", "pre_tokens": self._largest, "post_tokens": COMPACTED}
        self._emit("system", subtype="compact_boundary", compact_metadata=counts)
        self._largest = self.input_tokens = 0

    def cannot_resume(self) -> None:
        error = f"No conversation found with session ID: {self.session_id}"
        self._result(subtype="error_during_execution", is_error=True, num_turns=0, errors=[error])

    def _stream(self, event: dict[str, Any]) -> None:
        self._emit("stream_event", event=event, parent_tool_use_id=None)

    def _assistant(self, block: dict[str, Any]) -> None:
        message = {"role": "assistant", "model": self._model, "content": [block], "usage": self._usage()}
        self._emit("assistant", message=message, parent_tool_use_id=None)

    def _result(self, **fields: Any) -> None:
        self._cost_usd += self.input_tokens * INPUT_PRICE_USD + self.output_tokens * OUTPUT_PRICE_USD
        duration_ms = round((time.monotonic() - self._began) * 1000) if self._began else 0
        models = {self._model: {"outputTokens": self.output_tokens, "contextWindow": WINDOW}}
        totals = {"duration_ms": duration_ms, "total_cost_usd": self._cost_usd, "modelUsage": models}
        self._emit("result", **fields, **totals, usage=self._usage())

    def _usage(self) -> dict[str, int]:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        }

    def _emit(self, kind: str, **fields: Any) -> None:
        sys.stdout.write(json.dumps({"type": kind, **fields, "session_id": self.session_id}) + "\n")
        sys.stdout.flush()
