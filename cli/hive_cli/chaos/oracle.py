"""Jepsen's total-queue over a drained hive: attempted, acknowledged and handled, compared as multisets.

What was handled is read from two places that know nothing of each other: the messages' states in `broker.sqlite`, and
the turns that ended well in each agent's `events.sqlite`.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hive_cli.chaos.driver import Ledger
from hive_cli.chaos.plan import Plan, number_of
from hive_contracts.agents import TurnOutcome
from hive_contracts.messages import MessageView
from hive_contracts.names import OPERATOR, SYSTEM
from hive_contracts.turns import TurnEnded
from hive_runtime.records.events import EventReader
from hive_runtime.records.messages import MessageReader
from hive_runtime.store import read_only

ALL: Final = 10_000_000
ACKED: Final = "acked"
DEAD: Final = "dead"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a drained hive holds. `messages`: in order of acceptance. `handled`: recipient → message ids, one for each
    turn that ended well with it, in order."""

    messages: Sequence[MessageView]
    handled: dict[str, list[str]]


@dataclass(slots=True)
class Verdict:
    """Each list holds one sentence for each thing that must not be."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    disagreeing: list[str] = field(default_factory=list)


def gather(data: Path, agents: Sequence[str]) -> Evidence:
    """Read the stores: all messages but those that the hive itself wrote."""
    every = MessageReader(data / "broker.sqlite").recent(limit=ALL)[::-1]
    notices = {message.id for message in every if message.sender == SYSTEM}  # of the very kills
    handled = {name: _handled(data / "agents" / name / "events.sqlite") for name in agents}
    return Evidence(
        [message for message in every if message.id not in notices],
        {name: [one for one in ids if one not in notices] for name, ids in handled.items()},
    )


def judge(plan: Plan, ledger: Ledger, evidence: Evidence) -> Verdict:
    verdict = Verdict()
    found = _by_number(evidence.messages, verdict)
    _check_existence(plan, ledger, found, verdict)
    _check_ends(evidence, verdict)
    _check_sending_order(plan, found, verdict)
    _check_handling_order(evidence, verdict)
    return verdict


def damaged(data: Path) -> list[str]:
    """Stores that sqlite finds fault with."""
    faults = []
    for path in sorted(data.rglob("*.sqlite")):
        with read_only(path) as db:
            if db is None:
                continue
            with closing(db.execute("PRAGMA integrity_check")) as rows:
                result = rows.fetchone()[0]
            if result != "ok":
                faults.append(f"{path.relative_to(data)}: {result}")
    return faults


def _handled(path: Path) -> list[str]:
    found = []
    for event in EventReader(path).page(limit=ALL):
        if event.type == TurnEnded.TYPE and event.data.get("outcome") == TurnOutcome.OK:
            found += [str(message_id) for message_id in event.data.get("messages", ())]
    return found


def _by_number(messages: Sequence[MessageView], verdict: Verdict) -> dict[int, list[MessageView]]:
    found: dict[int, list[MessageView]] = {}
    for message in messages:
        number = number_of(message.body)
        if number is None:
            verdict.unexpected.append(f"{message.id} from {message.sender}: {message.body[:80]!r}")
        else:
            found.setdefault(number, []).append(message)
    return found


def _check_existence(plan: Plan, ledger: Ledger, found: dict[int, list[MessageView]], verdict: Verdict) -> None:
    """Every planned message is there once, unless the one that it follows from was refused or is dead."""
    void = set(ledger.refused)
    for number in ledger.refused:
        void |= plan.below(number)
    for number, copies in found.items():
        if any(copy.state == DEAD for copy in copies):
            void |= plan.below(number)
    for one in plan.messages:
        copies = found.get(one.number, [])
        name = f"{one.token} from {one.sender} to {one.recipient}"
        if not copies and one.number not in void:
            verdict.lost.append(f"{name} is nowhere")
        if len(copies) > 1:
            verdict.duplicated.append(f"{name} is there {len(copies)} times")
        if any((copy.sender, copy.recipient) != (one.sender, one.recipient) for copy in copies):
            verdict.unexpected.append(f"{name} is there with other ends")
    for number, message_id in ledger.accepted.items():
        if message_id not in {copy.id for copy in found.get(number, ())}:
            verdict.lost.append(f"chaos-{number} was acknowledged as {message_id}, which is nowhere")


def _check_ends(evidence: Evidence, verdict: Verdict) -> None:
    """Each message is acked, or dead; acked by an agent means that one turn of that agent ended well with it."""
    turns = {name: Counter(ids) for name, ids in evidence.handled.items()}
    for message in evidence.messages:
        name = f"{message.id} ({message.body.splitlines()[0][:40]}) at {message.recipient}"
        if message.state not in {ACKED, DEAD}:
            verdict.unfinished.append(f"{name} is {message.state}")
        if message.recipient == OPERATOR:
            continue
        count = turns[message.recipient].pop(message.id, 0)
        if count > 1:
            verdict.duplicated.append(f"{name} was handled by {count} turns")
        if (count > 0) != (message.state == ACKED):
            verdict.disagreeing.append(f"{name} is {message.state}, but {count} turns ended well with it")
    for recipient, rest in turns.items():
        verdict.disagreeing += [f"{recipient} handled {message_id}, which is not on record" for message_id in rest]


def _check_sending_order(plan: Plan, found: dict[int, list[MessageView]], verdict: Verdict) -> None:
    """What one sent to another in a known order was accepted in it: the operator's roots, a message's children."""
    place = {copies[0].id: index for index, copies in enumerate(_in_order(found))}
    series: dict[tuple[int | None, str, str], list[int]] = {}
    for one in plan.messages:
        if one.number in found:
            key = (one.parent, one.sender, one.recipient)
            series.setdefault(key, []).append(place[found[one.number][0].id])
    for (_, sender, recipient), places in series.items():
        if places != sorted(places):
            verdict.reordered.append(f"{sender} → {recipient}: accepted in another order than sent")


def _in_order(found: dict[int, list[MessageView]]) -> list[list[MessageView]]:
    return list(found.values())  # `found` was filled in order of acceptance


def _check_handling_order(evidence: Evidence, verdict: Verdict) -> None:
    """Of each pair: handled in the order in which it was accepted."""
    senders = {message.id: message.sender for message in evidence.messages}
    accepted: dict[tuple[str, str], list[str]] = {}
    for message in evidence.messages:
        if message.state == ACKED and message.recipient != OPERATOR:
            accepted.setdefault((message.sender, message.recipient), []).append(message.id)
    for (sender, recipient), ids in accepted.items():
        handled = list(dict.fromkeys(i for i in evidence.handled.get(recipient, ()) if senders.get(i) == sender))
        if handled != ids and set(handled) == set(ids):
            verdict.reordered.append(f"{sender} → {recipient}: handled in another order than accepted")
