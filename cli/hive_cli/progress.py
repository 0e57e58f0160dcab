"""What is being done to an agent, shown step by step while a command waits for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import click

from hive_cli.client import HiveClient
from hive_cli.output import printable
from hive_contracts.errors import HiveError, Refused, TimedOut

POLL_S: Final = 0.25
QUIET_S: Final = 0.6
"""What is done so quickly needs no words."""

PATIENCE_S: Final = 120.0
"""The longest that a command waits for what is still under way when it was answered, in seconds."""


@contextmanager
def shown(client: HiveClient, name: str, *, quiet: bool) -> Iterator[None]:
    """Within the block each step that the agent's container comes to is told on standard error."""
    if quiet:
        yield
        return
    over = threading.Event()
    showing = threading.Thread(target=_show, args=(client, name, over), daemon=True)
    showing.start()
    try:
        yield
    finally:
        over.set()
        showing.join()


def until_done(client: HiveClient, view: dict[str, Any]) -> dict[str, Any]:
    """The agent once nothing is under way. Raises `Refused` when it does not run though it is to, or `TimedOut`."""
    end = time.monotonic() + PATIENCE_S
    while view.get("operation"):
        if time.monotonic() > end:
            raise TimedOut(f"{view['name']}: {_words(view)}; `hive agents` shows when that is done")
        time.sleep(POLL_S)
        view = client.get(f"/api/v1/agents/{quote(view['name'])}")
    if view.get("desired") == "running" and view.get("container") in {"crashed", "quarantined"}:
        raise Refused(f"{view['name']} does not run: {view['detail']}")
    return view


def until_gone(client: HiveClient, name: str) -> None:
    """Returns once there is no such agent. Raises `TimedOut`."""
    end = time.monotonic() + PATIENCE_S
    while view := _look(client, name):
        if time.monotonic() > end:
            raise TimedOut(f"{name} is still being wiped ({_words(view)}); it goes on by itself")
        time.sleep(POLL_S)


def _show(client: HiveClient, name: str, over: threading.Event) -> None:
    told = ""
    over.wait(QUIET_S)
    while not over.is_set():
        words = _words(_look(client, name))
        if words and words != told:
            told = words
            click.echo(f"{name}: {printable(words)}", err=True)
        over.wait(POLL_S)


def _look(client: HiveClient, name: str) -> dict[str, Any]:
    """The agent as it is now; empty when there is none, or nobody answers."""
    try:
        return dict(client.get(f"/api/v1/agents/{quote(name)}"))
    except HiveError:
        return {}


def _words(view: dict[str, Any]) -> str:
    operation = view.get("operation") or {}
    return f"{operation['verb']}: {operation.get('step', '')}".rstrip(": ") if operation else ""
