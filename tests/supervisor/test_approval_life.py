"""Whatever is asked for, decided and cut off, in whatever order: an approval goes one way, is told once a state, and is
kept. The store is real, the steps are hypothesis's, and a list in this file says what must come out."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_contracts import streams
from hive_contracts.approvals import ApprovalKind, ApprovalRequested, ApprovalResolved, ApprovalState, ApprovalView
from hive_contracts.envelope import Envelope
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalReader, ApprovalWriter
from hive_supervisor.approvals.ledger import Ledger

AT = datetime(2026, 1, 1, tzinfo=UTC)
AGENTS = ("ada", "lin")

ALLOWED = {
    ApprovalState.PENDING: {
        ApprovalState.APPROVED,
        ApprovalState.DENIED,
        ApprovalState.CHANGES_REQUESTED,
        ApprovalState.EXPIRED,
        ApprovalState.VOID,
    },
    ApprovalState.APPROVED: {ApprovalState.DEPLOYED, ApprovalState.FAILED, ApprovalState.VOID},
}

step = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 5)),
    st.tuples(st.just("move"), st.integers(0, 5), st.sampled_from(ApprovalState)),
    st.tuples(st.just("cut"), st.integers(0, 5), st.sampled_from(ApprovalState)),
    st.tuples(st.just("void"), st.sampled_from(AGENTS)),
    st.tuples(st.just("restart")),
)


def approval(number: int) -> ApprovalView:
    return ApprovalView(
        id=f"a-{number}",
        kind=list(ApprovalKind)[number % len(ApprovalKind)],
        agent=AGENTS[number % 2],
        requester="hm1nd",
        state=ApprovalState.PENDING,
        requested_at=AT + timedelta(seconds=number),
        expires_at=AT + timedelta(days=1),
    )


class Told:
    """What must have been told, and what each approval must be."""

    def __init__(self) -> None:
        self.states: dict[str, ApprovalState] = {}
        self.told: dict[str, list[ApprovalState]] = {}

    def may(self, number: int, state: ApprovalState) -> bool:
        now = self.states.get(f"a-{number}")
        return now is not None and state in ALLOWED.get(now, ())

    def moved(self, identity: str, state: ApprovalState) -> None:
        self.states[identity] = state
        self.told.setdefault(identity, []).append(state)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(step, max_size=25))
def test_an_approval_goes_one_way_is_told_and_is_kept(steps: list[tuple[object, ...]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), steps))


async def _live(folder: Path, steps: list[tuple[object, ...]]) -> None:
    bus, expected = MemoryBus(), Told()
    with closing(ApprovalWriter(folder / "approvals.sqlite")) as store:
        for one in steps:
            await _do(one, Ledger(store, bus), expected)
        await Ledger(store, bus).tell_untold()
        reader = ApprovalReader(folder / "approvals.sqlite")
        assert {view.id: view.state for view in reader.everything()} == expected.states
        assert store.untold() == []
        assert {view.id for view in reader.pending()} == {
            identity for identity, state in expected.states.items() if state is ApprovalState.PENDING
        }
    assert await _told(bus) == expected.told


async def _do(one: tuple[object, ...], ledger: Ledger, expected: Told) -> None:
    match one:
        case ("ask", int(number)):
            if (view := approval(number)).id not in expected.states:
                expected.moved(view.id, ApprovalState.PENDING)
                await ledger.add(view)
        case ("move" | "cut" as how, int(number), ApprovalState() as state):
            before = ledger.store.get(f"a-{number}")
            if before is None or not expected.may(number, state):
                return
            expected.moved(before.id, state)
            if how == "cut":  # between the row and the telling
                assert ledger.store.move(before, state, at=AT)
                await ledger.tell_untold()
            else:
                assert await ledger.move(before, state)
                assert await ledger.move(before, state) is None, "the second of two that race changes nothing"
        case ("void", str(agent)):
            for identity, state in list(expected.states.items()):
                if state is ApprovalState.PENDING and approval(int(identity[2:])).agent == agent:
                    expected.moved(identity, ApprovalState.VOID)
            await ledger.void(agent, "for a test")
        case _:
            await ledger.tell_untold()


async def _told(bus: MemoryBus) -> dict[str, list[ApprovalState]]:
    """By approval, each state once: the same fact again has the same id."""
    found: dict[str, list[ApprovalState]] = {}
    seen: set[str] = set()
    for entry in await bus.reader().read_after({streams.EVENTS: "0-0"}, count=10_000, block_ms=1):
        envelope = Envelope.decode(entry.fields)
        if envelope.type in (ApprovalRequested.TYPE, ApprovalResolved.TYPE) and envelope.id not in seen:
            seen.add(envelope.id)
            view = ApprovalView.model_validate(envelope.data["approval"])
            found.setdefault(view.id, []).append(view.state)
    return found
