"""What the operator sees of a request, and that an agent's text in it is nothing but text."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.dashboard.opened import ADDRESS, Opened, opened

from hive_contracts import streams
from hive_contracts.agents import CommandDone
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, ResolveApproval
from hive_contracts.drafts import DraftView, TakeOverDraft
from hive_contracts.envelope import Envelope
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter

SHA = "a" * 40
DIFF = """\
diff --git a/agent.toml b/agent.toml
index 1..2 100644
--- a/agent.toml
+++ b/agent.toml
@@ -1,2 +1,2 @@
-model = "haiku"
+model = "<script>alert(1)</script>"
 # same
diff --git a/seed/notes.md b/seed/notes.md
new file mode 100644
--- /dev/null
+++ b/seed/notes.md
@@ -0,0 +1 @@
+++ looks like a header
"""


def approval(identity: str = "a-1") -> ApprovalView:
    now = datetime.now(UTC)
    return ApprovalView(
        id=identity,
        kind=ApprovalKind.APPLY_COMMIT,
        agent="ada",
        requester="hm1nd",
        state=ApprovalState.PENDING,
        commit=SHA,
        base="b" * 40,
        description="<b>better</b>",
        requested_at=now,
        expires_at=now + timedelta(days=7),
    )


def test_a_request_is_listed_shown_and_decided_by_plain_forms(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        writer = ApprovalWriter(tmp_path / "approvals.sqlite")
        writer.add(approval(), DIFF)
        async with asyncio.timeout(20), opened(bus, tmp_path) as hive:
            await hive.sign_in()
            assert "&lt;b&gt;better&lt;/b&gt;" in (await hive.browser.get("/approvals")).text
            page = (await hive.browser.get("/approvals/a-1")).text
            assert "&lt;script&gt;" in page
            assert "<script>alert" not in page
            assert SHA in page
            supervisor = asyncio.ensure_future(_supervisor(bus, writer))
            answer = await hive.post("/approvals/a-1/decision", decision="deny", commit=SHA, note="no")
            assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/a-1")
            wish = await supervisor
            assert (wish.id, wish.decision, wish.commit, wish.note) == ("a-1", "deny", SHA, "no")
            page = (await hive.browser.get("/approvals/a-1")).text
            assert "denied" in page
            assert 'name="decision"' not in page
        writer.close()

    asyncio.run(main())


def test_drafts_are_listed_discarded_and_taken_over(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        writer = ApprovalWriter(tmp_path / "approvals.sqlite")
        now = datetime.now(UTC)
        writer.keep_draft(DraftView(name="lin", author="hm1nd", created_at=now, commit=SHA, committed_at=now))
        async with asyncio.timeout(20), opened(bus, tmp_path) as hive:
            listed = (await hive.api.get("/api/v1/drafts")).json()["drafts"]
            assert [(one["name"], one["author"], one["revives"]) for one in listed] == [("lin", "hm1nd", False)]
            assert (await hive.api.delete("/api/v1/drafts/nobody")).status_code == 404
            carried_out = asyncio.ensure_future(_answered(bus))
            assert (await hive.api.post("/api/v1/drafts/lin/take-over")).json()["name"] == "lin"
            assert (await carried_out).payload(TakeOverDraft).name == "lin"
        writer.close()

    asyncio.run(main())


async def _answered(bus: MemoryBus) -> Envelope:
    """Takes the next command and says that it is done."""
    (entry,) = await bus.reader().read_after({streams.COMMANDS_SUPERVISOR: "0-0"}, count=1, block_ms=10_000)
    command = Envelope.decode(entry.fields)
    fact = CommandDone(command=command.type, subject=command.subject)
    await bus.append(streams.EVENTS, Envelope.of(fact, source="supervisor", correlation_id=command.id))
    return command


async def _supervisor(bus: MemoryBus, writer: ApprovalWriter) -> ResolveApproval:
    """Takes the next command and denies what it is about."""
    reader = bus.reader()
    (entry,) = await reader.read_after({streams.COMMANDS_SUPERVISOR: "0-0"}, count=1, block_ms=10_000)
    command = Envelope.decode(entry.fields)
    wish = command.payload(ResolveApproval)
    found = writer.get(wish.id)
    assert found
    writer.move(found, ApprovalState.DENIED, at=datetime.now(UTC), note=wish.note)
    fact = CommandDone(command=command.type, subject="ada")
    await bus.append(streams.EVENTS, Envelope.of(fact, source="supervisor", correlation_id=command.id))
    return wish


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/approvals/a-none", None, 404),
        ("/api/v1/approvals/a-1/decision", {"decision": "approve", "commit": "short"}, 422),
        ("/api/v1/approvals/a-1/decision", {"decision": "maybe", "commit": SHA}, 422),
        ("/api/v1/approvals/a-1/decision", {"decision": "deny", "commit": SHA, "note": "x" * 4001}, 422),
    ],
)
def test_the_api_refuses_what_it_cannot_mean(
    tmp_path: Path, path: str, body: dict[str, str] | None, status: int
) -> None:
    async def scenario(hive: Opened) -> None:
        answer = await (hive.api.post(path, json=body) if body else hive.api.get(path))
        assert answer.status_code == status

    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path) as hive:
            await scenario(hive)
            stranger = await hive.browser.post(path, json=body or {}, headers={"origin": ADDRESS})
            assert stranger.status_code in (401, 403, 405)

    asyncio.run(main())
