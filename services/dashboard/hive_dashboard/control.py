"""What the operator can tell a running agent's harness: one row a verb, for the API and for the page's buttons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from hive_contracts.agents import TurnState
from hive_contracts.control import (
    MAX_NAP_S,
    BeginLogin,
    CancelTurn,
    CompactAgent,
    GiveLoginCode,
    NapAgent,
    NewSession,
    PauseAgent,
    ResumeAgent,
    WakeAgent,
)
from hive_contracts.envelope import Payload
from hive_contracts.errors import InvalidRequest, Refused
from hive_dashboard.commands import Commands
from hive_dashboard.registry import AgentView

LOGIN_S: Final = 100.0
"""A login goes over the network."""

SIGN_IN_HOSTS: Final = ("claude.com", "claude.ai", "anthropic.com")

WAITS: Final = frozenset({TurnState.NAPPING, TurnState.RATE_LIMITED, TurnState.NEEDS_LOGIN})


@dataclass(frozen=True, slots=True)
class ControlVerb:
    """`payload` makes the command from a form's fields, and raises `HiveError`; `words` say that it is done."""

    payload: Callable[[Mapping[str, Any]], Payload]
    words: str
    within_s: float | None = None


def _nap(form: Mapping[str, Any]) -> Payload:
    """Raises `InvalidRequest`."""
    try:
        return NapAgent(seconds=float(form.get("seconds", "")))
    except ValueError as error:
        raise InvalidRequest(f"a nap takes seconds, more than 0 and at most {MAX_NAP_S}") from error


def _login_code(form: Mapping[str, Any]) -> Payload:
    return login_code(str(form.get("code", "")))


def login_code(text: str) -> GiveLoginCode:
    """Raises `InvalidRequest`, which does not repeat the code."""
    try:
        return GiveLoginCode(code=text.strip())
    except ValidationError as error:
        raise InvalidRequest("that is no code: paste what the sign-in page shows, one line without blanks") from error


CONTROLS: Final[Mapping[str, ControlVerb]] = {
    "cancel": ControlVerb(
        lambda form: CancelTurn(turn_id=str(form.get("turn_id", ""))[:64]), "{}'s turn is cancelled."
    ),
    "pause": ControlVerb(lambda form: PauseAgent(), "{} is paused; messages wait in its inbox."),
    "resume": ControlVerb(lambda form: ResumeAgent(), "{} takes up messages again."),
    "nap": ControlVerb(_nap, "{} naps; an urgent message or you can wake it."),
    "wake": ControlVerb(lambda form: WakeAgent(), "{} is awake."),
    "login": ControlVerb(lambda form: BeginLogin(), "{}'s login waits for its code.", LOGIN_S),
    "login-code": ControlVerb(_login_code, "{} is signed in.", LOGIN_S),
    "compact": ControlVerb(
        lambda form: CompactAgent(wait=False), "{}'s conversation is shortened now, or when its turn is over."
    ),
    "compact-notes": ControlVerb(
        lambda form: CompactAgent(notes=True, wait=False), "{}'s notes are shortened now, or when its turn is over."
    ),
    "new-session": ControlVerb(lambda form: NewSession(), "{} begins its next turn with an empty conversation."),
}


async def tell(
    commands: Commands, agent: AgentView, payload: Payload, *, within_s: float | None = None
) -> dict[str, Any]:
    """Have the agent's harness do it. Raises `Refused` when the agent does not run, and as `command_agent` does."""
    if not agent.running:
        raise Refused(f"{agent.name} is {agent.container}, so there is nobody to tell; `hive start {agent.name}` first")
    return await commands.command_agent(agent.name, payload, within_s=within_s)


def sign_in_host(url: str) -> str:
    """The host of a link that a container shows, if it is the provider's; else empty: nobody should sign in there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    own = any(host == name or host.endswith(f".{name}") for name in SIGN_IN_HOSTS)
    return host if own and parts.scheme == "https" and "@" not in parts.netloc else ""


def steering_of(agent: AgentView) -> tuple[str, ...]:
    """The verbs that make sense now, in the order of their buttons."""
    if not agent.running or agent.state is None:
        return ()
    state = agent.state.state
    busy, rests = state is TurnState.THINKING, state in WAITS or agent.state.until is not None
    paused, compacts = state is TurnState.PAUSED, state is TurnState.COMPACTING
    wanted = {
        "cancel": busy,
        "login": state is TurnState.NEEDS_LOGIN or bool(agent.state.login_url),
        "wake": rests,
        "resume": paused,
        "pause": not paused,
        "nap": not rests,
        "compact": not compacts,
        "new-session": True,
    }
    return tuple(verb for verb, makes_sense in wanted.items() if makes_sense)
