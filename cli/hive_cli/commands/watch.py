"""`hive watch`."""

import json
import sys
import time
from contextlib import suppress
from typing import Final

import click

from hive_cli.client import HiveClient
from hive_cli.command import command, hive_client
from hive_cli.output import dim, printable, say, when
from hive_cli.watch.look import Change, Look, changes, look
from hive_cli.watch.screen import Screen, full_screen, overview
from hive_contracts.errors import HiveError

LOOK_S: Final = 5.0
"""How long a look may take; a hive that is slow shows as one that is away."""


@command("watch", example="hive watch\nhive watch --interval 5\nhive watch --json | jq .text")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--json", "as_json", is_flag=True, help="Print each change as a line of JSON.")
@click.option("--lines", "as_lines", is_flag=True, help="Print each change as a line, as in a pipe.")
def watch(*, interval: float, as_json: bool, as_lines: bool) -> None:
    """Watch the hive: what waits for you, what each agent does, what is said. q or Ctrl-C leaves.

    In a pipe, or with --lines, it prints what is, and then a line for each change.
    """
    client = hive_client().patient(LOOK_S)
    first = look(client)
    with suppress(KeyboardInterrupt):
        if as_json or as_lines or not (sys.stdout.isatty() and sys.stdin.isatty()):
            _lines(client, first, interval, as_json=as_json)
        else:
            with full_screen() as screen:
                _draw(screen, client, first, interval)


def _lines(client: HiveClient, found: Look, interval: float, *, as_json: bool) -> None:
    before: Look | None = None
    away = ""
    while True:
        for change in changes(before, found):
            _print(change, as_json=as_json)
        before = found
        while True:
            time.sleep(interval)
            try:
                found = look(client)
            except HiveError as error:
                if str(error) != away:
                    _print({"kind": "away", "text": str(error)}, as_json=as_json)
                away = str(error)
                continue
            if away:
                _print({"kind": "back", "text": "the hive answers again"}, as_json=as_json)
            away = ""
            break


def _print(change: Change, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(change, ensure_ascii=False))
    else:
        say(f"{dim(when(change.get('at')) or time.strftime('%H:%M:%S'))} {' '.join(printable(change['text']).split())}")
    sys.stdout.flush()


def _draw(screen: Screen, client: HiveClient, found: Look, interval: float) -> None:
    note = ""
    while True:
        width, height = screen.size
        screen.show(overview(found, width=width, height=height, note=note))
        if screen.is_left(interval):
            return
        try:
            found, note = look(client), ""
        except HiveError as error:
            note = f"{error}; what is shown is old. q leaves"
