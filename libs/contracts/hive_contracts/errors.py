"""The root of every hyperhive error, and the few that both sides of a process boundary must know.

HiveError
├── InvalidName         422  a name that no agent can have
├── InvalidBody         422  a message body that is empty or not text
├── InvalidRequest      422  an argument that does not fit
│   └── KeyReused       422  an idempotency key that was used for something else
├── BodyTooLong         413  a message body over the limit
├── UnknownRecipient    404  nobody of that name
├── NotFound            404  no such message, agent or page
│   └── UnknownAgent    404  no agent of that name
├── Refused             409  understood, but not now or not so
│   ├── AgentExists     409  an agent of that name is there already
│   ├── AgentDestroyed  409  the agent is there no more, or only its state
│   ├── AgentRuns       409  what was asked for needs an agent that does not run
│   ├── CannotStart     409  the container did not come up
│   ├── ConfigRefused   409  a commit or a bundle that may not come into an agent's repository
│   ├── TooFast         429  more messages than the rate allows
│   ├── InboxFull       409  the recipient has too many messages waiting
│   ├── LoopGuard       409  the conversation went on for too long
│   └── Draining        507  memory or disk is nearly full, so nothing new is taken on
├── TimedOut            504  no answer in time; the work may still happen
└── Unavailable         503  something hyperhive stands on is away

Services add their own under these in their `errors.py`. `code` is stable and part of the API.
"""

from functools import lru_cache
from typing import ClassVar


class HiveError(Exception):
    """An expected failure. `str(error)` is one sentence that says what to do."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500


class InvalidName(HiveError):
    code = "invalid_name"
    status = 422


class InvalidBody(HiveError):
    code = "invalid_body"
    status = 422


class InvalidRequest(HiveError):
    code = "invalid_request"
    status = 422


class KeyReused(InvalidRequest):
    code = "key_reused"


class BodyTooLong(HiveError):
    code = "body_too_long"
    status = 413


class NotFound(HiveError):
    code = "not_found"
    status = 404


class UnknownRecipient(NotFound):
    code = "unknown_recipient"


class Refused(HiveError):
    code = "refused"
    status = 409


class UnknownAgent(NotFound):
    code = "unknown_agent"


class AgentExists(Refused):
    code = "agent_exists"


class AgentDestroyed(Refused):
    code = "agent_destroyed"


class AgentRuns(Refused):
    code = "agent_runs"


class CannotStart(Refused):
    code = "cannot_start"


class ConfigRefused(Refused):
    code = "config_refused"


class TooFast(Refused):
    code = "too_fast"
    status = 429


class InboxFull(Refused):
    code = "inbox_full"


class LoopGuard(Refused):
    code = "loop_guard"


class Draining(Refused):
    code = "draining"
    status = 507


class TimedOut(HiveError):
    code = "timed_out"
    status = 504


class Unavailable(HiveError):
    code = "unavailable"
    status = 503


class _Foreign(HiveError):
    """One that only another service knows."""


def _family(root: type[HiveError]) -> dict[str, type[HiveError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        if child is _Foreign:
            continue
        found |= _family(child)
    return found


def error_from_code(code: str, text: str, status: int = HiveError.status) -> HiveError:
    """The error that `code` names, to raise again on this side of a boundary; a code unknown here has its `status`."""
    known = _family(HiveError).get(code)
    return known(text) if known else _foreign(code, status)(text)


def status_of(code: str) -> int:
    """Of an error that this service knows."""
    return _family(HiveError).get(code, HiveError).status


@lru_cache(maxsize=256)
def _foreign(code: str, status: int) -> type[HiveError]:
    if status == HiveError.status or not 400 <= status < 600:
        return HiveError
    return type("ForeignError", (_Foreign,), {"code": code, "status": status})
