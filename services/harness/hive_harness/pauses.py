"""How long the agent waits after a turn that did not end well: longer each time, by kind of ending."""

from hive_contracts.agents import TurnOutcome
from hive_contracts.outcomes import CONSEQUENCES
from hive_runtime.backoff import Backoff


class Pauses:
    """What counts against a message begins anew with another one, which is not to blame; what holds up the agent, as a
    provider's limit, goes on until a turn ends well (`reset`)."""

    def __init__(self, *, first_s: float, limit_s: float) -> None:
        self._backoffs = {
            outcome: Backoff(first_s=first_s * follows.patience, limit_s=limit_s)
            for outcome, follows in CONSEQUENCES.items()
        }
        self._head = ""

    def next_s(self, outcome: TurnOutcome, head: str) -> float:
        """Seconds until the next try, after a turn that began with the message `head`."""
        if head != self._head:
            self._forget_message()
            self._head = head
        return self._backoffs[outcome].next_s()

    def _forget_message(self) -> None:
        for outcome, backoff in self._backoffs.items():
            if CONSEQUENCES[outcome].counts:
                backoff.reset()

    def reset(self) -> None:
        for backoff in self._backoffs.values():
            backoff.reset()
