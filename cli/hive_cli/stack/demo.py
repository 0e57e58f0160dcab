"""`hive up --demo`: two scripted agents, and once, on the first such start, the story's opening."""

from collections.abc import Callable
from typing import Final

from hive_cli.client import HiveClient
from hive_cli.paths import DataDir
from hive_cli.stack import story
from hive_cli.stack.data_dir import write_private

MARK: Final = "demo.told"
KEY: Final = "demo-opening"


def play(client: HiveClient, data: DataDir, report: Callable[[str], None]) -> None:
    """Idempotent: makes only the agents that are missing, and sends the opening under one key. Raises `HiveError`."""
    there = {agent["name"] for agent in client.get("/api/v1/agents")["agents"]}
    for name, description in story.CAST.items():
        if name not in there:
            client.post("/api/v1/agents", {"name": name, "description": description, "engine": "scripted"})
    mark = data.root / MARK
    if mark.exists():
        report("demo       ada and lin are here; the story went on where you left it")
        return
    client.post("/api/v1/messages", {"to": story.ADA, "body": story.OPENING}, headers={"Idempotency-Key": KEY})
    write_private(mark, "")
    report("demo       ada and lin are talking; one of them will ask you something")
