"""One connection to a D-Bus: calls, and every signal of one service. The only module that imports dbus-next."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import MessageType
from dbus_next.errors import AuthError
from dbus_next.message import Message
from dbus_next.signature import Variant

from hive_contracts.errors import TimedOut, Unavailable

CALL_TIMEOUT_S: Final = 30.0
_DBUS: Final = "org.freedesktop.DBus"
_OWNER_CHANGED: Final = "NameOwnerChanged"
_LOST: Final = "the connection to D-Bus was lost"


class DBusRefusal(Exception):
    """The service answered with an error; `name` is D-Bus's name of it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Signal:
    """`body`: its values, those of a dictionary of variants without their types."""

    path: str
    member: str
    body: Sequence[Any]


Signals = asyncio.Queue[Signal | None]
"""In order; None at the end of the connection."""


class _Connection(MessageBus):
    """dbus-next's own reads on for ever, without a pause, when the stream ends while it signs in; and it leaves its
    socket open when it cannot connect."""

    def _setup_socket(self) -> None:
        try:
            super()._setup_socket()  # type: ignore[no-untyped-call]
        except OSError:
            _close(self)
            raise

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            more = await self._loop.sock_recv(self._sock, 1)
            if not more:
                raise EOFError("it was closed while signing in")
            line += more
        return line[:-2].decode()


class DBusLink:
    """To `service`, whose signals all `listening` queues get. It is lost, too, when another process takes the name."""

    def __init__(self, bus: MessageBus, service: str) -> None:
        self.lost = False
        self._bus = bus
        self._service = service
        self._owner = ""
        self._listeners: set[Signals] = set()
        bus.add_message_handler(self._on_message)
        self._end = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        self._end.add_done_callback(self._on_end)

    @classmethod
    async def open(cls, address: str, service: str) -> "DBusLink":
        """Raises `Unavailable`."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                link = cls(await _connected(address), service)
        except (OSError, EOFError, AuthError, ValueError, TimeoutError) as error:
            raise Unavailable(f"D-Bus does not answer at {address}: {error or 'no answer'}") from error
        for rule in (f"sender='{service}'", f"sender='{_DBUS}',member='{_OWNER_CHANGED}',arg0='{service}'"):
            await link._call_bus("AddMatch", f"type='signal',{rule}")
        try:
            link._owner = await link._call_bus("GetNameOwner", service)
        except DBusRefusal as error:
            await link.aclose()
            raise Unavailable(f"{service} is not on D-Bus: {error}") from error
        return link

    async def call(self, path: str, method: str, signature: str = "", body: Sequence[Any] = ()) -> Any:
        """`method` with its interface. The answer's first value; raises `DBusRefusal`, `TimedOut`, `Unavailable`."""
        return await self._call(self._service, path, method, signature, body)

    async def _call_bus(self, member: str, argument: str) -> Any:
        return await self._call(_DBUS, "/org/freedesktop/DBus", f"{_DBUS}.{member}", "s", [argument])

    async def _call(self, to: str, path: str, method: str, signature: str, body: Sequence[Any]) -> Any:
        if self.lost:
            raise Unavailable(_LOST)
        interface, _, member = method.rpartition(".")
        # fmt: off
        message = Message(
            destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        # fmt: on
        answer = await self._answer(message)
        if answer.message_type is MessageType.ERROR:
            raise DBusRefusal(str(answer.error_name), str(answer.body[0] if answer.body else answer.error_name))
        return _plain(answer.body[0]) if answer.body else None

    async def _answer(self, message: Message) -> Message:
        """A call into a connection that has just ended would never return."""
        asked = asyncio.ensure_future(self._bus.call(message))
        try:
            await asyncio.wait({asked, self._end}, timeout=CALL_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and (answer := asked.result()) is not None:
                return answer
        except (OSError, EOFError) as error:
            await asyncio.wait({self._end}, timeout=CALL_TIMEOUT_S)
            raise Unavailable(_LOST) from error
        finally:
            asked.cancel()
        if self._end.done() or asked.done():
            raise Unavailable(_LOST)
        raise TimedOut(f"no answer to {message.member} on D-Bus within {CALL_TIMEOUT_S:.0f} s")

    @contextlib.contextmanager
    def listening(self) -> Iterator[Signals]:
        """What arrives from now on."""
        signals: Signals = asyncio.Queue()
        if self.lost:
            signals.put_nowait(None)
        self._listeners.add(signals)
        try:
            yield signals
        finally:
            self._listeners.discard(signals)

    async def aclose(self) -> None:
        if not self.lost:
            self._bus.disconnect()  # type: ignore[no-untyped-call]
            await asyncio.wait({self._end})

    def _on_message(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.sender == _DBUS and message.member == _OWNER_CHANGED and message.body[0] == self._service:
            self._bus.disconnect()  # type: ignore[no-untyped-call]
        if message.sender != self._owner:
            return  # anyone on a bus may send anyone a signal
        signal = Signal(message.path or "", message.member or "", [_plain(value) for value in message.body])
        for signals in self._listeners:
            signals.put_nowait(signal)

    def _on_end(self, ended: asyncio.Future[None]) -> None:
        self.lost = True
        if not ended.cancelled():
            ended.exception()
        _close(self._bus)
        for signals in self._listeners:
            signals.put_nowait(None)


def typed(signatures: Mapping[str, str], values: Mapping[str, object]) -> list[list[object]]:
    """Pairs of name and variant; a string where `signatures` names no other type."""
    return [[name, Variant(signatures.get(name, "s"), value)] for name, value in values.items()]


async def _connected(address: str) -> MessageBus:
    bus = _Connection(bus_address=address)
    try:
        await bus.connect()
    except BaseException:
        _close(bus)
        raise
    return bus


def _close(bus: MessageBus) -> None:
    with contextlib.suppress(OSError):
        bus._stream.close()
    bus._sock.close()


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item.value if isinstance(item, Variant) else item for key, item in value.items()}
