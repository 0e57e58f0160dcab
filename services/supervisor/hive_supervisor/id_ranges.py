"""Which user ids of this machine are which hive's: so that two hives on it never give their agents the same ones.

Each hive, started by root, writes down from where on it counts. One whose data directory is gone counts no more.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_supervisor.config import FIRST_ID, LAST_FIRST_ID
from hive_supervisor.runtimes.base import IDS

PLACE: Final = Path("/var/lib/hyperhive/ids")
SPAN: Final = 256 * IDS
"""What one hive's agents take, as far as others keep clear of it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`first`: from where on this hive counts. `clash`: who else has ids there, as a sentence; else empty."""

    first: int
    clash: str = ""


def claim(hive_id: str, data_dir: Path, wanted: int, *, given: int | None = None, place: Path = PLACE) -> Claim:
    """From `wanted` on, unless that is the default and another hive's: then from the first place that is free.

    A hive that counts from somewhere already goes on there; so does one whose agents have ids from `given` on, as in a
    data directory that was restored. Where nothing can be written down, none is known.
    """
    try:
        with _locked(place):
            return _claim(hive_id, data_dir, wanted, given=given, place=place)
    except OSError:
        return Claim(wanted)


def others(hive_id: str, place: Path = PLACE) -> dict[Path, int]:
    """The data directories of this machine's other hives, and from where on each counts."""
    return {folder: first for name, folder, first in _written(place) if name != hive_id and _lives(folder, name)}


def known(place: Path = PLACE) -> dict[str, Path]:
    """The ids of this machine's hives that are there, and where each is."""
    return {name: folder for name, folder, _ in _written(place) if _lives(folder, name)}


def _claim(hive_id: str, data_dir: Path, wanted: int, *, given: int | None, place: Path) -> Claim:
    taken = others(hive_id, place)
    for name, folder, _ in list(_written(place)):
        if name != hive_id and folder not in taken:
            (place / name).unlink(missing_ok=True)
    own = next((first for name, _, first in _written(place) if name == hive_id), given)
    first = own if own is not None and wanted == FIRST_ID else wanted
    clash = _clash(first, taken)
    if clash and own is None and wanted == FIRST_ID:
        free = next((start for start in range(FIRST_ID, LAST_FIRST_ID, SPAN) if not _clash(start, taken)), None)
        first, clash = (free, "") if free is not None else (first, clash)
    _write(place / hive_id, data_dir, first)
    return Claim(first, clash)


def _clash(first: int, taken: dict[Path, int]) -> str:
    for folder, start in taken.items():
        if abs(first - start) < SPAN:
            return (
                f"The agents of this hive and of that in {folder} share user ids, so one can read the other's files; "
                "set first_uid in [supervisor] of one of them to another range, and make its agents anew."
            )
    return ""


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _written(place: Path) -> Iterator[tuple[str, Path, int]]:
    for path in sorted(place.glob("[!.]*")):
        try:
            record = json.loads(path.read_text())
            yield path.name, Path(record["data_dir"]), int(record["first"])
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _lives(folder: Path, hive_id: str) -> bool:
    """Whether that hive is there still: its data directory may be gone, or another hive's by now."""
    try:
        return (folder / "hive.id").read_text().strip() == hive_id
    except OSError:
        return False


def _write(path: Path, data_dir: Path, first: int) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(json.dumps({"data_dir": str(data_dir.resolve()), "first": first}))
    partial.replace(path)
