"""systemd over D-Bus: starts, ends and watches units.

It subscribes before it asks anything, so no change goes unseen. A lost connection is made again when it is next needed;
`changes` does so by itself, reads every unit anew, and tells what became of those that it knew.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog

from hive_contracts.errors import TimedOut, Unavailable
from hive_runtime.backoff import Backoff
from hive_supervisor.errors import NoSuchUnit, NothingToKill, NotPermitted, SystemdError, UnitTaken
from hive_supervisor.runtimes.dbus_link import DBusLink, DBusRefusal, Signal, typed
from hive_supervisor.runtimes.systemd_units import SIGNATURES, UnitState, path_of, unit_of, unit_state

SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
JOB_TIMEOUT_S: Final = 120.0
LAST_RETRY_S: Final = 5.0

_SYSTEMD: Final = "org.freedesktop.systemd1"
_PATH: Final = "/org/freedesktop/systemd1"
_DBUS: Final = "org.freedesktop.DBus"
_REFUSALS: Final[Mapping[str, type[SystemdError]]] = {
    f"{_DBUS}.Error.AccessDenied": NotPermitted,
    f"{_DBUS}.Error.InteractiveAuthorizationRequired": NotPermitted,
    f"{_SYSTEMD}.UnitExists": UnitTaken,
    f"{_SYSTEMD}.NoSuchUnit": NoSuchUnit,
    f"{_SYSTEMD}.NoSuchProcess": NothingToKill,
}
_AWAY: Final = frozenset(f"{_DBUS}.Error.{name}" for name in ("NoReply", "ServiceUnknown", "NameHasNoOwner"))
"""systemd starts itself anew, for an upgrade."""

T = TypeVar("T")
Known = dict[str, dict[str, Any]]
"""Unit → its properties, as far as systemd told them."""

log = structlog.get_logger()


class SystemdBus:
    """systemd at one address. Every method may raise `Unavailable`, and `NotPermitted` for another user than root."""

    def __init__(self, address: str = SYSTEM_BUS) -> None:
        self._address = address
        self._link: DBusLink | None = None
        self._connecting = asyncio.Lock()

    async def start_transient(self, unit: str, properties: Mapping[str, object]) -> str:
        """Make `unit` and start it; the job's result, `done` when it is up. Raises `UnitTaken`, `SystemdError`."""
        body = [unit, "fail", typed(SIGNATURES, properties), []]
        return await self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    async def start(self, unit: str) -> str:
        """The job's result: `done`, `failed`, `timeout`, …; raises `NoSuchUnit`, `SystemdError`."""
        return await self._job("StartUnit", "ss", [unit, "replace"])

    async def stop(self, unit: str) -> str:
        """The job's result; `done` also when it was not loaded."""
        try:
            return await self._job("StopUnit", "ss", [unit, "replace"])
        except NoSuchUnit:
            return "done"

    async def kill(self, unit: str, signal: int, *, whom: str = "all") -> None:
        """`whom`: `main` or `all`. Nothing to do when it does not run."""
        with contextlib.suppress(NoSuchUnit, NothingToKill):
            await self._ask("KillUnit", "ssi", [unit, whom, signal])

    async def reset_failed(self, unit: str) -> None:
        """Forget that it failed; then systemd forgets a transient unit. Nothing to do when it is not loaded."""
        with contextlib.suppress(NoSuchUnit):
            await self._ask("ResetFailedUnit", "s", [unit])

    async def reload(self) -> None:
        """Have systemd read its unit files anew."""
        await self._ask("Reload", "", [])

    async def state(self, unit: str) -> UnitState:
        """Also of one that is not there: then it is not `loaded`."""
        return unit_state(unit, await self._again(lambda link: _properties(link, unit)))

    async def units(self, pattern: str) -> dict[str, UnitState]:
        """Those that are loaded, by name; `pattern` as in a shell."""

        async def read(link: DBusLink) -> dict[str, UnitState]:
            return {unit: unit_state(unit, await _properties(link, unit)) for unit in await _names(link, pattern)}

        return await self._again(read)

    async def until(self, unit: str, condition: Callable[[UnitState], bool]) -> UnitState:
        """The first state for which `condition` holds, also over a lost connection. The caller bounds it."""
        async with contextlib.aclosing(self._changes(unit, {unit: {}})) as states:
            async for state in states:
                if state.name == unit and condition(state):
                    return state
        raise AssertionError("it goes on until it is closed")

    async def changes(self, prefix: str) -> AsyncGenerator[UnitState, None]:
        """Every unit whose name begins with `prefix`, as it is and then as it changes; goes on until it is closed.

        A unit that systemd forgot is told once more, as not `loaded`. After a lost connection each is told anew.
        """
        async with contextlib.aclosing(self._changes(prefix, {})) as states:
            async for state in states:
                yield state

    async def aclose(self) -> None:
        if self._link:
            await self._link.aclose()

    async def _connect(self) -> DBusLink:
        async with self._connecting:
            if self._link is None or self._link.lost:
                link = await DBusLink.open(self._address, _SYSTEMD)
                await _call(link, f"{_SYSTEMD}.Manager.Subscribe")
                self._link = link
            return self._link

    async def _again(self, work: Callable[[DBusLink], Awaitable[T]]) -> T:
        """Once more when the connection turns out to be lost: only for what may be done twice."""
        link = await self._connect()
        try:
            return await work(link)
        except Unavailable:
            if not link.lost:
                raise
            return await work(await self._connect())

    async def _ask(self, method: str, signature: str, body: Sequence[Any]) -> Any:
        return await self._again(lambda link: _call(link, f"{_SYSTEMD}.Manager.{method}", signature, body))

    async def _job(self, method: str, signature: str, body: Sequence[Any]) -> str:
        """Do what is answered with a job, and wait for its result."""
        link = await self._connect()
        with link.listening() as signals:
            job = await _call(link, f"{_SYSTEMD}.Manager.{method}", signature, body)
            try:
                async with asyncio.timeout(JOB_TIMEOUT_S):
                    while signal := await signals.get():
                        if signal.member == "JobRemoved" and signal.body[1] == job:
                            return str(signal.body[3])
            except TimeoutError as error:
                raise TimedOut(f"systemd did not finish {method} of {body[0]} in {JOB_TIMEOUT_S:.0f} s") from error
        raise Unavailable("the connection to systemd was lost; what it was asked to do may be done")

    async def _changes(self, prefix: str, known: Known) -> AsyncGenerator[UnitState, None]:
        backoff = Backoff(limit_s=LAST_RETRY_S, at_once=True)
        while True:
            try:
                link = await self._connect()
                with link.listening() as signals:
                    async for found in _all(link, prefix, known):
                        yield found
                    backoff.reset()
                    while signal := await signals.get():
                        if changed := await _after(link, signal, prefix, known):
                            yield changed
                log.warning("connection to systemd lost; making it again")
            except (SystemdError, Unavailable, TimedOut) as error:
                log.warning("systemd cannot be watched", reason=str(error))
            await backoff.wait()


async def _all(link: DBusLink, prefix: str, known: Known) -> AsyncGenerator[UnitState, None]:
    """Every unit that there is, and what became of those that there were."""
    for unit in sorted({*known, *await _names(link, f"{prefix}*")}):
        known[unit] = await _properties(link, unit)
        state = unit_state(unit, known[unit])
        if not state.loaded:
            del known[unit]
        yield state


async def _after(link: DBusLink, signal: Signal, prefix: str, known: Known) -> UnitState | None:
    """What a signal says of a unit. Of one that ends, systemd tells every property before it forgets it.

    It also "removes" every unit when it reads its configuration anew, and then has them as before.
    """
    if signal.member == "PropertiesChanged":
        unit = unit_of(signal.path)
        if unit.startswith(prefix):
            known.setdefault(unit, {}).update(signal.body[1])
            return unit_state(unit, known[unit])
    elif signal.member == "UnitRemoved" and (unit := signal.body[0]) in known:
        now = await _properties(link, unit)
        if unit_state(unit, now).loaded:
            known[unit] = now
            return unit_state(unit, now)
        return unit_state(unit, known.pop(unit) | {"LoadState": "not-found"})
    return None


async def _names(link: DBusLink, pattern: str) -> list[str]:
    rows = await _call(link, f"{_SYSTEMD}.Manager.ListUnitsByPatterns", "asas", [[], [pattern]])
    return [row[0] for row in rows]


async def _properties(link: DBusLink, unit: str) -> dict[str, Any]:
    found: dict[str, Any] = await _call(link, f"{_DBUS}.Properties.GetAll", "s", [""], path=path_of(unit))
    return found


async def _call(
    link: DBusLink, method: str, signature: str = "", body: Sequence[Any] = (), *, path: str = _PATH
) -> Any:
    """Raises `SystemdError` where systemd refuses, `Unavailable` where it is not there."""
    try:
        return await link.call(path, method, signature, body)
    except DBusRefusal as error:
        if error.name in _AWAY:
            raise Unavailable(f"systemd went away from D-Bus: {error}") from error
        raise _REFUSALS.get(error.name, SystemdError)(f"systemd refused: {error}") from error
