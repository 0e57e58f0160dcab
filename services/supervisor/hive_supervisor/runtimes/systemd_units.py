"""What systemd knows of a service unit, as far as a container back-end needs it. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SIGNATURES: Final[Mapping[str, str]] = {
    "ExecStartEx": "a(sasas)",
    "DeviceAllow": "a(ss)",
    "MemoryMax": "t",
    "MemorySwapMax": "t",
    "CPUQuotaPerSecUSec": "t",
    "TasksMax": "t",
    "TimeoutStopUSec": "t",
    "RemainAfterExit": "b",
    "Delegate": "b",
    "CPUAccounting": "b",
}
"""D-Bus types of the unit properties that are not strings."""

_UNIT_PATH: Final = "/org/freedesktop/systemd1/unit/"
_ENDED: Final = frozenset({"inactive", "failed"})
_KILLED: Final = frozenset({2, 3})
"""CLD_KILLED and CLD_DUMPED: `ExecMainStatus` is a signal."""

_UNKNOWN: Final = 2**64 - 1
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class UnitState:
    """One service unit. `active` and `sub` are systemd's words; `invocation` is another for each start, empty before.

    `result`: why it ended (`exit-code`, `signal`, `oom-kill`, `timeout`, …) or `success`.
    `transient`: made over D-Bus, not from a file.
    `started`, `ended`: of its main process, in UTC.
    """

    name: str
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    invocation: str = ""
    main_pid: int = 0
    main_code: int = 0
    main_status: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    loaded: bool = True
    transient: bool = False
    memory_bytes: int | None = None
    cpu_ns: int | None = None
    tasks: int | None = None

    @property
    def runs(self) -> bool:
        """It is up, or on its way up or down."""
        return self.loaded and self.active not in _ENDED and self.sub != "exited"

    @property
    def has_ended(self) -> bool:
        """It was started and is over; not so one that is about to start."""
        over = self.active in _ENDED or self.sub == "exited"
        return over and bool(self.main_code or self.result != "success")

    @property
    def exit_status(self) -> int | None:
        """As a shell tells it: 128 + n for signal n; None when its main process never ran."""
        if not self.main_code:
            return None
        return 128 + self.main_status if self.main_code in _KILLED else self.main_status

    @property
    def out_of_memory(self) -> bool:
        return self.result == "oom-kill"

    @property
    def uptime_s(self) -> float:
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


def unit_state(name: str, properties: Mapping[str, Any]) -> UnitState:
    """From the properties of its `Unit` and `Service` interfaces, of which any may be missing."""

    def number(key: str) -> int | None:
        value = properties.get(key)
        return None if value is None or value == _UNKNOWN else int(value)

    return UnitState(
        name=name,
        active=properties.get("ActiveState", "inactive"),
        sub=properties.get("SubState", "dead"),
        result=properties.get("Result", "success"),
        invocation=bytes(properties.get("InvocationID", b"")).hex(),
        main_pid=properties.get("MainPID", 0),
        main_code=properties.get("ExecMainCode", 0),
        main_status=properties.get("ExecMainStatus", 0),
        started=_moment(properties.get("ExecMainStartTimestamp", 0)),
        ended=_moment(properties.get("ExecMainExitTimestamp", 0)),
        loaded=properties.get("LoadState", "loaded") != "not-found",
        transient=properties.get("Transient", False),
        memory_bytes=number("MemoryCurrent"),
        cpu_ns=number("CPUUsageNSec"),
        tasks=number("TasksCurrent"),
    )


def path_of(unit: str) -> str:
    """The D-Bus path of a unit: every other character than a letter or a digit as `_` and its two hex digits."""
    return _UNIT_PATH + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


def unit_of(path: str) -> str:
    """The unit of a D-Bus path; empty for another path."""
    if not path.startswith(_UNIT_PATH):
        return ""
    first, *rest = path.removeprefix(_UNIT_PATH).split("_")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def _moment(microseconds: int) -> datetime | None:
    return datetime.fromtimestamp(microseconds / _US, UTC) if microseconds else None
