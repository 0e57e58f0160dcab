"""Facts that others must know, as messages from `system`: one table says which, to whom, and in which words.

The group `notify` reads `hive:events`. A message's id follows from the fact's id: one that comes again, after a crash
between delivery and acknowledgement or because it was told twice, makes no second message. Crashes are counted as well
(crashes.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import structlog

from hive_broker.crashes import Crashes
from hive_broker.directory import Directory
from hive_broker.mail import SOURCE, Mail, excerpt
from hive_contracts import streams
from hive_contracts.agents import (
    AgentFlooding,
    AgentNeedsLogin,
    AgentPurged,
    AgentState,
    AgentStateChanged,
    ContainerCrashed,
    TurnState,
)
from hive_contracts.approvals import ApprovalKind, ApprovalResolved, ApprovalState, ApprovalView
from hive_contracts.drafts import DraftChanged, DraftEnded
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import Unavailable
from hive_contracts.names import MANAGER, OPERATOR
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry

OLDEST: Final = timedelta(days=1)
"""A fact older than this is no news: the group is new, or everything was down for long."""

LINE: Final = 200
ERROR, NOTE = 1500, 2000

_DONE: Final = {
    ApprovalKind.SPAWN: "it is there",
    ApprovalKind.SPAWN_COMMIT: "it is there",
    ApprovalKind.PURGE: "nothing of it is left",
}
_RESTORED: Final = {
    ApprovalKind.SPAWN: "its draft stays",
    ApprovalKind.SPAWN_COMMIT: "its draft stays",
    ApprovalKind.PURGE: "look at what is left",
}

log = structlog.get_logger()

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, slots=True)
class Notice:
    """Whom to tell, and what. Texts of a container are put on one line each, so that none passes for one of ours."""

    people: Sequence[str]
    body: str


def _flooding(fact: AgentFlooding) -> Notice:
    body = f"{fact.agent} is cut off from the hive for {fact.pause_seconds:g} s at least, as it floods: {fact.reason}."
    return Notice((*_others(fact.agent), OPERATOR), body)


def _needs_login(fact: AgentNeedsLogin) -> Notice:
    said = f" It says: {excerpt(fact.detail, LINE)}" if fact.detail else ""
    body = f"{fact.agent} cannot reach its model: it needs a login. Its messages wait until it has one.{said}"
    return Notice((*_others(fact.agent), OPERATOR), body)


def _resolved(fact: ApprovalResolved) -> Notice:
    """To who asked; that it is approved is told with what became of it."""
    approval = fact.approval
    own = approval.requester == OPERATOR
    if approval.state is ApprovalState.APPROVED or (own and approval.state is ApprovalState.DEPLOYED):
        return Notice((), "")
    words = {
        ApprovalState.DEPLOYED: f"was approved and {_DONE.get(approval.kind, 'is deployed')}",
        ApprovalState.FAILED: f"was approved, but failed; {_RESTORED.get(approval.kind, 'what ran before runs again')}",
        ApprovalState.DENIED: "was denied",
        ApprovalState.CHANGES_REQUESTED: "is not taken as it is: change it and ask again",
        ApprovalState.EXPIRED: "expired",
        ApprovalState.VOID: "is void",
    }
    said = words.get(approval.state, approval.state.value)
    body = f"{approval.id}, {_what(approval)}, {said}."
    note = f"\nThe operator says: {approval.note}" if approval.note else ""
    error = f"\n{excerpt(approval.error, ERROR)}" if approval.error else ""
    failed = (MANAGER, OPERATOR) if approval.state is ApprovalState.FAILED else ()
    return Notice(tuple(dict.fromkeys((approval.requester, *failed))), body + note[:NOTE] + error)


def _what(approval: ApprovalView) -> str:
    match approval.kind:
        case ApprovalKind.PURGE:
            return f"the purge of {approval.agent}"
        case ApprovalKind.PERMISSION_PATTERN:
            return f"that {approval.agent} may run {excerpt(approval.pattern, LINE)} without asking"
        case _:
            return f"commit {approval.commit[:12]} for {approval.agent}"


def _draft_changed(fact: DraftChanged) -> Notice:
    people = (MANAGER,) if fact.taken_over else ()
    return Notice(people, f"The operator took over the draft of {fact.draft.name}, and goes on with it.")


def _draft_ended(fact: DraftEnded) -> Notice:
    """To who worked on it; that an agent was made of it is told with the approval."""
    people = () if fact.became or fact.draft.author == OPERATOR else (fact.draft.author,)
    return Notice(people, f"The draft of {fact.draft.name} is discarded; its name is free again.")


def _others(agent: str) -> tuple[str, ...]:
    """The manager; of the manager itself the operator."""
    return (OPERATOR,) if agent == MANAGER else (MANAGER,)


def _row(kind: type[P], words: Callable[[P], Notice]) -> tuple[str, Callable[[Envelope], Notice]]:
    return kind.TYPE, lambda fact: words(fact.payload(kind))


NOTICES: Final[Mapping[str, Callable[[Envelope], Notice]]] = dict[str, Any](
    (
        _row(AgentFlooding, _flooding),
        _row(AgentNeedsLogin, _needs_login),
        _row(ApprovalResolved, _resolved),
        _row(DraftChanged, _draft_changed),
        _row(DraftEnded, _draft_ended),
    )
)

TOLD: Final = frozenset({*NOTICES, ContainerCrashed.TYPE, AgentPurged.TYPE})


def login_needed(agent: str, envelopes: Sequence[Envelope], *, hour: int) -> list[Append]:
    """What live events say of a lacking login, as one fact for the hour: a hostile harness can say it all day long."""
    for envelope in envelopes:
        account = _account(envelope)
        if account and account.state is TurnState.NEEDS_LOGIN:
            fact = AgentNeedsLogin(agent=agent, detail=account.detail)
            identity = f"{agent}:needs_login:{hour}"
            return [Append(streams.EVENTS, Envelope.of(fact, source=SOURCE, id=identity, subject=agent))]
    return []


def _account(envelope: Envelope) -> AgentState | None:
    try:
        return envelope.payload(AgentStateChanged).state if envelope.type == AgentStateChanged.TYPE else None
    except MalformedEnvelope:
        return None


class Notifier:
    """`handle` may be repeated. `now` gives the time that the age of facts is counted from."""

    def __init__(
        self,
        bus: Bus,
        mail: Mail,
        directory: Directory,
        crashes: Crashes,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self._mail = mail
        self._directory = directory
        self._crashes = crashes
        self._now = now

    async def handle(self, entries: list[Entry]) -> None:
        """Tell what is to be told, then acknowledge. Raises `Unavailable`; then nothing is acknowledged."""
        for entry in entries:
            if entry.fields.get("type") in TOLD:
                await self._take(entry)
        ids = [entry.id for entry in entries]
        await self._bus.write(Batch(acks=[Ack(streams.EVENTS, streams.GROUP_NOTIFY, ids)]))

    async def _take(self, entry: Entry) -> None:
        try:
            await self._tell(entry, Envelope.decode(entry.fields))
        except MalformedEnvelope as error:
            log.warning("fact is malformed", entry=entry.id, reason=str(error)[:200])

    async def _tell(self, entry: Entry, fact: Envelope) -> None:
        if fact.type == AgentPurged.TYPE:
            await self._crashes.forget(fact.payload(AgentPurged).agent)
            return
        if fact.time < self._now() - OLDEST:
            return
        await self._know_everyone()
        if fact.type == ContainerCrashed.TYPE:
            await self._crashes.handle(entry, fact)
            return
        notice = NOTICES[fact.type](fact)
        await self._mail.tell(notice.people, notice.body, key=f"notice {fact.id}")

    async def _know_everyone(self) -> None:
        """A broker that just started, or an emptied server, knows nobody whom it could tell."""
        if self._directory.principals() == {OPERATOR}:
            await self._directory.refresh()
        if self._directory.principals() == {OPERATOR}:
            raise Unavailable("the registry of agents is empty; the supervisor will write it")
