"""Which user ids of this machine are which hive's: so that two hives on it never give their agents the same ones.

Each hive, started by root, writes down from where on it counts, and where else its agents have ids, as in a data
directory that was restored. One whose data directory is gone counts no more.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hive_supervisor.config import FIRST_ID, LAST_FIRST_ID
from hive_supervisor.runtimes.base import IDS
from hive_supervisor.store import AgentIds

PLACE: Final = Path("/var/lib/hyperhive/ids")
SPAN: Final = 256 * IDS
"""What one hive's agents take, as far as others keep clear of it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`first`: from where on this hive counts. `clash`: who else has ids there, as a sentence; else empty."""

    first: int
    clash: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What a hive wrote down. `places`: from where on ids are its own; `SPAN` of each. New agents get theirs in the
    first."""

    hive_id: str
    data_dir: Path
    places: tuple[int, ...]

    def lacks(self, ids: AgentIds) -> bool:
        """Whether these ids of an agent of this hive are not among what it wrote down."""
        return not any(start <= ids.base < start + SPAN for start in self.places)

    def with_all(self, given: Iterable[AgentIds]) -> "Record":
        found = self
        for ids in sorted(given, key=lambda ids: ids.base):
            if found.lacks(ids):
                found = replace(found, places=(*found.places, _place_of(ids)))
        return found

    @property
    def lives(self) -> bool:
        """Whether that hive is there still: its data directory may be gone, or another hive's by now."""
        try:
            return (self.data_dir / "hive.id").read_text().strip() == self.hive_id
        except OSError:
            return False


def claim(
    hive_id: str, data_dir: Path, wanted: int, *, given: Iterable[AgentIds] | None = (), place: Path = PLACE
) -> Claim:
    """From `wanted` on, unless that is the default and another hive's: then from the first place that is free.

    A hive that counts from somewhere already goes on there; so does one whose agents have the ids `given`. These are
    its own from now on, wherever they are; None when that cannot be known. Where nothing can be written down, no hive
    is known.
    """
    try:
        with _locked(place):
            return _claim(hive_id, data_dir, wanted, given=None if given is None else tuple(given), place=place)
    except OSError:
        return Claim(wanted)


def add(hive_id: str, given: Iterable[AgentIds], place: Path = PLACE) -> None:
    """These ids are that hive's too, which wrote something down before. Raises `OSError`."""
    with _locked(place):
        for record in list(_written(place)):
            if record.hive_id == hive_id:
                _write(place, record.with_all(given))


def own(hive_id: str, place: Path = PLACE) -> Record | None:
    """What that hive wrote down; None when it never did."""
    return next((record for record in _written(place) if record.hive_id == hive_id), None)


def others(hive_id: str, place: Path = PLACE) -> list[Record]:
    """Of this machine's other hives."""
    return [record for record in _written(place) if record.hive_id != hive_id and record.lives]


def known(place: Path = PLACE) -> dict[str, Path]:
    """The ids of this machine's hives that are there, and where each is."""
    return {record.hive_id: record.data_dir for record in _written(place) if record.lives}


def _claim(hive_id: str, data_dir: Path, wanted: int, *, given: tuple[AgentIds, ...] | None, place: Path) -> Claim:
    taken, before = others(hive_id, place), own(hive_id, place)
    for record in list(_written(place)):
        if record.hive_id != hive_id and record not in taken:
            (place / record.hive_id).unlink(missing_ok=True)
    settled = before.places[0] if before else wanted if given is None else min(map(_place_of, given), default=None)
    first = settled if settled is not None and wanted == FIRST_ID else wanted
    also = before.places[1:] if before and given is None else ()
    mine = Record(hive_id, data_dir.resolve(), (first, *also))
    if settled is None and wanted == FIRST_ID and _clash(mine, taken):
        free = (replace(mine, places=(start,)) for start in range(FIRST_ID, LAST_FIRST_ID, SPAN))
        mine = next((record for record in free if not _clash(record, taken)), mine)
    mine = mine.with_all(given or ())
    _write(place, mine)
    return Claim(mine.places[0], _clash(mine, taken))


def _place_of(ids: AgentIds) -> int:
    """Places lie where ids are counted from, so that those of two hives side by side do not overlap."""
    return ids.base - (ids.base - ids.origin) % SPAN


def _clash(mine: Record, taken: Iterable[Record]) -> str:
    for other in taken:
        if any(abs(one - two) < SPAN for one in mine.places for two in other.places):
            return (
                f"The agents of this hive and of that in {other.data_dir} share user ids, so one can read the other's "
                "files; set first_uid in [supervisor] of one of them to another range, and make its agents anew."
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


def _written(place: Path) -> Iterator[Record]:
    for path in sorted(place.glob("[!.]*")):
        try:
            found = json.loads(path.read_text())
            places = (int(found["first"]), *map(int, found.get("also", ())))
            yield Record(path.name, Path(found["data_dir"]), places)
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _write(place: Path, record: Record) -> None:
    first, *also = record.places
    partial = place / f".{record.hive_id}.new"
    partial.write_text(json.dumps({"data_dir": str(record.data_dir), "first": first, "also": also}))
    partial.replace(place / record.hive_id)
