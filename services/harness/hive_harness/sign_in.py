"""Whether the engine is signed in, and the operator's way to sign it in: a link to the operator, a code back."""

import asyncio
import contextlib
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import structlog

from hive_contracts.agents import AgentLoggedIn
from hive_contracts.control import BeginLogin, GiveLoginCode
from hive_contracts.errors import Refused
from hive_harness.control import Control
from hive_harness.engine import Command, EngineKind, as_user
from hive_harness.life import FOREVER, Life
from hive_harness.live import LivePublisher
from hive_harness.login import Login
from hive_harness.status import StatusKeeper

STATUS_S: Final = 15.0
MISSING: Final = "the engine is not signed in: do it on this page, or with `hive login`"

log = structlog.get_logger()


class SignIn:
    """`check` at the start, `attach` for the control stream; then `aclose`."""

    def __init__(self, agent: str, kind: EngineKind, *, life: Life, status: StatusKeeper, live: LivePublisher) -> None:
        self._agent = agent
        self._kind = kind
        self._life = life
        self._status = status
        self._live = live
        command = kind.auth("login")
        self._login = Login(command) if command else None

    def attach(self, control: Control) -> None:
        control.on(BeginLogin, self.begin)
        control.on(GiveLoginCode, self.finish, repeatable=False)

    async def check(self) -> None:
        """Without credentials no turn is begun; the operator is asked for them."""
        command = self._kind.auth("status")
        if command is not None and not await _succeeds(command):
            self._life.lose_login(FOREVER, MISSING)

    async def begin(self, _command: BeginLogin) -> Mapping[str, Any]:
        if self._login is None:
            raise Refused("this engine was given a key, or needs none, so there is nothing to sign in to")
        self._status.update(login_url="")
        url = await self._login.begin()
        self._status.update(login_url=url)
        return {"url": url}

    async def finish(self, command: GiveLoginCode) -> None:
        """Returns when the engine is signed in and the agent goes on."""
        if self._login is None:
            raise Refused("this engine was given a key, or needs none, so there is nothing to sign in to")
        try:
            await self._login.finish(command.code)
        finally:
            self._status.update(login_url="")
        log.info("engine signed in")
        self._live.publish(AgentLoggedIn(agent=self._agent))
        self._life.find_login()

    async def aclose(self) -> None:
        if self._login:
            await self._login.end()


async def _succeeds(command: Command) -> bool:
    """A program that does not say within its time is not in the way: the first turn will tell."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=command.cwd,
            env=dict(command.env),
            **as_user(command.uid),
        )
    except OSError as error:
        log.warning("cannot ask whether the engine is signed in", reason=error.strerror)
        return True
    try:
        async with asyncio.timeout(STATUS_S):
            return await process.wait() == 0
    except TimeoutError:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
