"""The host that other tests boot, looked at by itself: systemd, D-Bus from outside, and nothing left afterwards."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next import BusType, Message, MessageType  # type: ignore[attr-defined]
from dbus_next.aio import MessageBus  # type: ignore[attr-defined]
from tests.support.processes import alive, still_alive
from tests.support.systemd_host import ROOT, SystemdHost, systemd_host
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
"""Making the roots the first time takes a minute or two."""

SYSTEMD = "org.freedesktop.systemd1"


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with systemd_host() as booted:
        yield booted


def test_systemd_is_process_one_and_its_units_are_managed(host: SystemdHost) -> None:
    assert host.run("cat", "/proc/1/comm").stdout.strip() == "systemd"
    assert host.run("systemctl", "is-active", "dbus.service").stdout.strip() == "active"


def test_this_hyperhive_runs_inside_it_and_cannot_be_written_there(host: SystemdHost) -> None:
    done = host.run(sys.executable, "-c", "import hive_supervisor; print(hive_supervisor.__file__)")
    assert Path(done.stdout.strip()).exists()
    refused = host.run("touch", str(Path(__file__).with_name("written")), check=False)
    assert refused.returncode != 0
    assert "Read-only" in refused.stderr


def test_scratch_is_the_same_directory_inside_and_outside(host: SystemdHost) -> None:
    host.run("sh", "-c", f"echo within > {host.scratch}/note")
    assert (host.scratch / "note").read_text() == "within\n"


def test_the_death_of_a_unit_is_seen_from_outside_over_the_bus(host: SystemdHost) -> None:
    async def story() -> dict[str, Any]:
        bus = await MessageBus(bus_address=host.bus_address, bus_type=BusType.SYSTEM).connect()
        seen: asyncio.Queue[Message] = asyncio.Queue()
        bus.add_message_handler(lambda message: seen.put_nowait(message) if message.path == unit else None)
        unit = "/org/freedesktop/systemd1/unit/sleeper_2eservice"
        rule = f"type='signal',interface='org.freedesktop.DBus.Properties',path='{unit}'"
        await call(
            bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", [rule]
        )
        await call(bus, SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager", "Subscribe")
        host.run("systemd-run", "--unit=sleeper", "sleep", "600")
        manager = ("/org/freedesktop/systemd1", f"{SYSTEMD}.Manager")
        await call(bus, SYSTEMD, *manager, "KillUnit", "ssi", ["sleeper.service", "all", 9])
        found: dict[str, Any] = {}
        async with asyncio.timeout(30):
            while found.get("ActiveState") != "failed" or "Result" not in found:
                message = await seen.get()
                if message.member == "PropertiesChanged":
                    found |= {name: value.value for name, value in message.body[1].items()}
        bus.disconnect()  # type: ignore[no-untyped-call]
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        bus._stream.close()  # dbus-next does not
        bus._sock.close()
        return found

    found = asyncio.run(story())
    assert found["Result"] == "signal"
    assert found["ExecMainStatus"] == 9


async def call(bus: MessageBus, *words: Any) -> Message:
    destination, path, interface, member, *rest = words
    signature, body = rest or ("", [])
    message = Message(
        destination=destination, path=path, interface=interface, member=member, signature=signature, body=body
    )
    reply = await bus.call(message)
    assert reply is not None
    assert reply.message_type is not MessageType.ERROR, reply.body
    return reply


def test_nothing_of_a_host_is_left_when_a_test_fails_in_it() -> None:
    with pytest.raises(RuntimeError, match="a test fails"), systemd_host() as host:
        started = host.popen("sleep", "600")
        inside = {host.leader, started.pid}
        raise RuntimeError("a test fails")
    started.wait(10)
    assert not still_alive(inside)
    assert not host.scratch.exists()
    assert str(host.scratch.parent) not in Path("/proc/self/mounts").read_text()
    assert not os.path.lexists(f"/proc/{host.leader}/root/etc")


def test_a_host_dies_with_the_process_that_booted_it() -> None:
    story = (
        "from tests.support.systemd_host import systemd_host\n"
        "with systemd_host() as host: print(host.leader, host.scratch.parent, flush=True); input()"
    )
    command = [sys.executable, "-c", story]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as booter:
        assert booter.stdout
        leader, folder = booter.stdout.readline().split()
        assert alive(int(leader))
        booter.kill()
    wait_until(lambda: not alive(int(leader)))
    shutil.rmtree(folder)
