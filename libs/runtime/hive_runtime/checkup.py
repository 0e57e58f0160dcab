"""What `hive doctor` is made of: named checks, each of which looks at one thing and may mend what it finds.

The command line and the supervisor each have a tuple of them, `CHECKS` in their `doctor/registry.py`: a new check is a
function and a line there. Names are unique over both.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Generic, TypeVar

from hive_contracts.errors import HiveError

Place = TypeVar("Place")


class State(StrEnum):
    """`LACKS`: a part cannot be used; fatal for what all need. `WRONG`: it is broken, whatever the hive is used for."""

    OK = "ok"
    NOTE = "note"
    LACKS = "lacks"
    WRONG = "wrong"


EVERYTHING: Final = "all"
"""The part of what every hive needs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`part`: what it is for, `all` or a back-end's name. `text`: what was found, and the cause. `fix`: what to do,
    empty when there is nothing. `mendable`: `hive doctor --fix` does it. `check`: whose finding it is."""

    part: str
    what: str
    state: State
    text: str
    fix: str = ""
    mendable: bool = False
    check: str = ""

    @property
    def is_fatal(self) -> bool:
        return self.state is State.WRONG or (self.state is State.LACKS and self.part == EVERYTHING)


@dataclass(frozen=True, slots=True)
class Check(Generic[Place]):
    """`look` changes nothing. `mend` does what is safe on a hive in use, may be repeated, and yields what it did."""

    name: str
    about: str
    look: Callable[[Place], Iterable[Finding]]
    mend: Callable[[Place], Iterable[str]] | None = None


@dataclass(slots=True)
class Report:
    findings: list[Finding] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


def examine(
    checks: Sequence[Check[Place]], place: Place, *, fix: bool = False, only: Container[str] | None = None
) -> Report:
    """What the checks find, after mending when `fix`. One that fails is a finding itself and ends no other."""
    report = Report()
    for check in checks:
        if only is not None and check.name not in only:
            continue
        found = _look(check, place)
        if fix and check.mend and any(one.mendable for one in found):
            found = [*_mend(check, place, report.mended), *_look(check, place)]
        report.findings += found
    return report


def _look(check: Check[Place], place: Place) -> list[Finding]:
    try:
        return [replace(one, check=check.name) for one in check.look(place)]
    except (HiveError, OSError) as error:
        return [_failed(check, f"could not be looked at: {error}")]


def _mend(check: Check[Place], place: Place, mended: list[str]) -> list[Finding]:
    assert check.mend  # noqa: S101
    try:
        mended.extend(f"{check.name}: {done}" for done in check.mend(place))
    except (HiveError, OSError) as error:
        return [_failed(check, f"could not be mended: {error}")]
    return []


def _failed(check: Check[Place], text: str) -> Finding:
    return Finding(
        EVERYTHING, check.name, State.WRONG, text, "mend what the sentence says and look again", False, check.name
    )
