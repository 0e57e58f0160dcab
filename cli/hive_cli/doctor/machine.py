"""What `hive up` itself needs of the machine: a port, room on the disk, an engine."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_cli.client import find_hive
from hive_cli.doctor.site import Site
from hive_cli.output import size
from hive_cli.stack import engine
from hive_cli.stack.config import dashboard_place
from hive_cli.stack.port import check_free
from hive_contracts.errors import HiveError, Refused
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.drain import DISK_FROM_BYTES

LITTLE_BYTES: Final = 1_000_000_000


def port(site: Site) -> Iterator[Finding]:
    if site.runs and (address := _address(site)):
        yield Finding(EVERYTHING, "port", State.OK, f"this hive runs at {address}")
        return
    host, number = dashboard_place(site.data, site.environ, port=None)
    try:
        check_free(host, number)
    except Refused as error:
        text, _, fix = str(error).partition("; ")
        yield Finding(EVERYTHING, "port", State.LACKS, text, fix)
    else:
        yield Finding(EVERYTHING, "port", State.OK, f"{number} on {host} is free")


def _address(site: Site) -> str:
    """Empty when it does not say."""
    try:
        return find_hive(site.data).address
    except HiveError:
        return ""


def disk(site: Site) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(site.data.root)).free
    text = f"{size(free)} free for {site.data.root}"
    fix = "free some, or name another place with --data-dir"
    if free < DISK_FROM_BYTES:
        yield Finding(EVERYTHING, "disk", State.WRONG, f"{text}: too little to take on messages", fix)
    elif free < LITTLE_BYTES:
        yield Finding(EVERYTHING, "disk", State.NOTE, text, fix)
    else:
        yield Finding(EVERYTHING, "disk", State.OK, text)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def engine_found(site: Site) -> Iterator[Finding]:
    choice = _engine(site)
    if choice.engine == "claude":
        yield Finding(EVERYTHING, "engine", State.OK, choice.reason or choice.engine)
        return
    reason, _, fix = choice.reason.partition("; ")
    yield Finding(EVERYTHING, "engine", State.NOTE, f"scripted, which needs no model: {reason}", fix)


def _engine(site: Site) -> engine.EngineChoice:
    """As the hive that runs says, else as its supervisor is told here, else as the next `hive up` would have it."""
    if chosen := site.info.get("engine"):
        return engine.EngineChoice(chosen, site.info.get("engine_reason", ""))
    if chosen := site.environ.get("HIVE_SUPERVISOR_ENGINE"):
        return engine.EngineChoice(chosen, site.environ.get("HIVE_SUPERVISOR_ENGINE_REASON", ""))
    return engine.choose(None, site.data, site.environ)
