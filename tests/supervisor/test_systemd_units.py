"""What is read out of systemd's properties, without systemd."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.nspawn_host import TreeImage

from hive_contracts.errors import Unavailable
from hive_supervisor.runtimes import nixos, nspawn_unit
from hive_supervisor.runtimes.base import Limits
from hive_supervisor.runtimes.nspawn import NspawnRuntime
from hive_supervisor.runtimes.systemd_bus import SystemdBus
from hive_supervisor.runtimes.systemd_units import path_of, unit_of, unit_state


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_a_units_path_leads_back_to_its_name(unit: str) -> None:
    assert unit_of(path_of(unit)) == unit


def test_another_path_is_no_units() -> None:
    assert unit_of("/org/freedesktop/systemd1/job/17") == ""


def test_an_exit_status_is_as_a_shell_tells_it() -> None:
    exited = unit_state("a.service", {"ExecMainCode": 1, "ExecMainStatus": 7, "ActiveState": "failed"})
    killed = unit_state("a.service", {"ExecMainCode": 2, "ExecMainStatus": 9, "ActiveState": "failed"})
    assert (exited.exit_status, killed.exit_status) == (7, 137)
    assert exited.has_ended
    assert killed.has_ended


def test_what_is_about_to_start_has_not_ended() -> None:
    state = unit_state("a.service", {"ActiveState": "inactive", "InvocationID": b"\x01", "MainPID": 17})
    assert not state.has_ended
    assert not state.runs


def test_what_stays_after_its_end_does_not_run() -> None:
    state = unit_state("a.service", {"ActiveState": "active", "SubState": "exited", "ExecMainCode": 1})
    assert state.has_ended
    assert not state.runs
    assert state.exit_status == 0


def test_what_systemd_ended_for_its_memory_is_told_so_by_both_back_ends(tmp_path: Path) -> None:
    """On cgroups of version 2 a unit ends with this result; the units ask for it by their `OOMPolicy`."""
    shown = {
        "ActiveState": "failed",
        "SubState": "failed",
        "Result": "oom-kill",
        "ExecMainCode": 2,
        "ExecMainStatus": 9,
    }
    nspawn = NspawnRuntime(tmp_path, "0123456789abcdef", lambda _: TreeImage("v1", tmp_path))
    ends = [
        nspawn._exit_of(unit_state("hive-456789abcdef-ada.service", shown)),
        nixos._exit_of(unit_state("container@ada.service", shown)),
    ]
    assert [(end.name, end.signal, end.oom) for end in ends] == [("ada", 9, True)] * 2
    made = nspawn_unit.Made(command=("x",), image="v1", id_base=1, log_file=tmp_path, limits=Limits(memory_bytes=4096))
    wanted = nspawn_unit.properties("ada", made)
    assert (wanted["OOMPolicy"], wanted["MemoryMax"], wanted["MemorySwapMax"]) == ("stop", 4096, 0)


def test_an_amount_that_systemd_does_not_know_is_none() -> None:
    assert unit_state("a.service", {"MemoryCurrent": 2**64 - 1}).memory_bytes is None


def test_a_bus_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="D-Bus does not answer at"):
        asyncio.run(SystemdBus(f"unix:path={tmp_path}/nothing").state("a.service"))


def test_a_bus_that_hangs_up_while_signing_in_is_unavailable(tmp_path: Path) -> None:
    async def hung_up() -> None:
        async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_unix_server(close, tmp_path / "bus")
        async with server, asyncio.timeout(20):
            with pytest.raises(Unavailable, match="D-Bus does not answer at"):
                await SystemdBus(f"unix:path={tmp_path}/bus").state("a.service")

    asyncio.run(hung_up())


def test_an_address_that_is_none_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="D-Bus does not answer at"):
        asyncio.run(SystemdBus("nonsense").state("a.service"))


def test_a_socket_that_nobody_serves_is_unavailable(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "bus"))
        with pytest.raises(Unavailable, match="refused"):
            asyncio.run(SystemdBus(f"unix:path={tmp_path}/bus").state("a.service"))
