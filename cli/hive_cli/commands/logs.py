"""`hive logs`: reads the log files, so it works when the hive is down."""

import json
import os
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any, Final

import click

from hive_cli.command import agent_argument, command, data_dir
from hive_cli.output import coloured, dim, printable, say, when
from hive_cli.paths import DataDir
from hive_cli.stack.managed import manager_of
from hive_contracts.errors import NotFound

POLL_S: Final = 0.2
SERVICES: Final = frozenset({"redis", "broker", "supervisor", "dashboard"})
PLAIN_FIELDS: Final = frozenset({"timestamp", "level", "event", "service"})


@command("logs", example="hive logs broker -f\nhive logs hm1nd -n 200\nhive logs supervisor --json | jq .event")
@agent_argument("name", metavar="SERVICE|AGENT")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="How many lines back.")
@click.option("--json", "raw", is_flag=True, help="Print the lines as they are in the file.")
def logs(name: str, *, follow: bool, lines: int, raw: bool) -> None:
    """Show the log of a service (redis, broker, supervisor, dashboard) or of an agent."""
    path = _find(data_dir(), name)
    file = path.open(errors="replace")
    with closing(file):
        for line in deque(file, maxlen=lines):
            _show(line, raw=raw)
        if not follow:
            return
        with closing(follow_file(path, file)) as coming, suppress(KeyboardInterrupt):
            for line in coming:
                _show(line, raw=raw)


def _find(data: DataDir, name: str) -> Path:
    known = {path.stem: path for folder in (data.logs / "agents", data.logs) for path in folder.glob("*.log")}
    if name in known:
        return known[name]
    if not known:
        raise NotFound(f"there are no logs in {data.logs} yet; start a hive with `hive up`")
    if name in SERVICES and manager_of(data) == "systemd":
        raise NotFound(f"the log of {name} is in the journal: journalctl -u hyperhive-{name}")
    raise NotFound(f"there is no log of {name!r}; there are {', '.join(sorted(known))}")


def follow_file(path: Path, file: IO[str]) -> Generator[str]:
    """Whole lines from where `file` stands, for ever; goes on in the new file when the log was rotated or cut."""
    held, ended = "", False
    try:
        while True:
            held += file.readline()
            if held.endswith("\n"):
                yield held
                held = ""
            elif ended:
                file.close()
                file = path.open(errors="replace")
                held, ended = "", False
            else:
                ended = _replaced(path, file.fileno(), file.tell())  # then once more to its end: it may have grown
                time.sleep(0 if ended else POLL_S)
    finally:
        file.close()


def _replaced(path: Path, descriptor: int, position: int) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return now.st_ino != os.fstat(descriptor).st_ino or now.st_size < position


def _show(line: str, *, raw: bool) -> None:
    say(line.rstrip("\n") if raw else pretty(line.rstrip("\n")))


def pretty(line: str) -> str:
    """A structured line for people; any other line as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(entry, dict) or "event" not in entry:
        return printable(line)
    fields = "  ".join(f"{dim(key + '=')}{_text(value)}" for key, value in entry.items() if key not in PLAIN_FIELDS)
    level = str(entry.get("level", "info"))
    head = f"{dim(_time(entry.get('timestamp')))} {_level(level)} {printable(str(entry['event']))}"
    return f"{head}  {fields}".rstrip()


def _level(level: str) -> str:
    if level in {"error", "critical", "exception"}:
        return click.style(f"{level:<7}", fg="red")
    return coloured("warning") if level == "warning" else f"{level:<7}"


def _text(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _time(value: Any) -> str:
    try:
        return when(str(value)) if value else ""
    except ValueError:
        return str(value)
