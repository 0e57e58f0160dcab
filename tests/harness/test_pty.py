"""A real shell on a real pseudo-terminal."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.waiting import until

from hive_harness.pty import Pty


def on_a_pty(tmp_path: Path, scenario: Callable[[Pty], Awaitable[None]]) -> None:
    async def main() -> None:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PS1": "$ ", "HISTFILE": ""}
        async with asyncio.timeout(20):
            pty = await Pty.start(columns=80, lines=24, env=env, cwd=tmp_path, uid=None)
            try:
                await scenario(pty)
            finally:
                await pty.close()

    asyncio.run(main())


async def shown(pty: Pty, until: str) -> str:
    text = ""
    while until not in text:
        data = await pty.read(4096)
        assert data, text
        text += data.decode()
    return text


def test_what_is_typed_is_run_and_shown(tmp_path: Path) -> None:
    async def scenario(pty: Pty) -> None:
        await pty.write(b"echo hi $((40 + 2)); tty; stty size\r")
        text = await shown(pty, "24 80")
        assert "hi 42" in text
        assert "/dev/pts/" in text

    on_a_pty(tmp_path, scenario)


def test_programs_learn_of_a_new_size(tmp_path: Path) -> None:
    async def scenario(pty: Pty) -> None:
        await pty.write(b"trap 'stty size' WINCH; echo re''ady\r")
        await shown(pty, "ready\r\n")
        pty.resize(132, 50)
        await pty.write(b"\r")
        await shown(pty, "50 132")

    on_a_pty(tmp_path, scenario)


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["heard", "ignored"])
def interrupts(request: pytest.FixtureRequest) -> Iterator[None]:
    """What this process does with an interrupt, which whom it starts inherits."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_the_program_and_not_the_shell(tmp_path: Path) -> None:
    async def scenario(pty: Pty) -> None:
        await pty.write(b"sh -c \"echo be''gin; exec sleep 100\"; echo not''reached\r")
        await shown(pty, "begin\r\n")
        await pty.write(b"\x03")
        await pty.write(b"echo al''ive\r")
        assert "notreached" not in await shown(pty, "alive\r\n")

    on_a_pty(tmp_path, scenario)


def test_its_end_is_an_empty_read(tmp_path: Path) -> None:
    async def scenario(pty: Pty) -> None:
        await pty.write(b"exit\r")
        while await pty.read(4096):
            pass

    on_a_pty(tmp_path, scenario)


@pytest.mark.slow
def test_closing_ends_what_runs_in_it_even_what_does_not_want_to(tmp_path: Path) -> None:
    async def main() -> None:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PS1": "$ "}
        async with asyncio.timeout(20):
            pty = await Pty.start(columns=80, lines=24, env=env, cwd=tmp_path, uid=None)
            await pty.write(b"trap '' HUP TERM; echo $$ >pid; echo re''ady; while :; do sleep 1; done\r")
            await shown(pty, "ready\r\n")
            pid = int((tmp_path / "pid").read_text())
            await pty.close()

            await until(lambda: not Path(f"/proc/{pid}").exists())

    asyncio.run(main())


@pytest.mark.slow
def test_a_program_that_floods_waits_for_its_reader(tmp_path: Path) -> None:
    async def scenario(pty: Pty) -> None:
        written = tmp_path / "written"
        written.touch()
        await pty.write(b"yes | head -c 3000000 | tee >(wc -c >written) ; echo do''ne\r")
        await shown(pty, "y\r\ny\r\n")
        assert not written.read_text()
        await shown(pty, "done\r\n")

    on_a_pty(tmp_path, scenario)
