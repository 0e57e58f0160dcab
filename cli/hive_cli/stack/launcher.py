"""`hive up` itself: the steps of a start in order, then waiting, then an end in order."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from hive_cli.client import HiveClient
from hive_cli.errors import UsageProblem
from hive_cli.paths import DataDir
from hive_cli.stack import config, data_dir, demo, engine, lock, port, redis_embedded
from hive_cli.stack.child import Child, ChildFailed, ChildSpec
from hive_cli.stack.leftovers import ProcessBook
from hive_cli.stack.log_file import last_reason
from hive_cli.stack.managed import manager_of
from hive_cli.stack.prepare import TOKENS
from hive_cli.stack.ready import Readiness
from hive_cli.stack.services import SERVICES, Service, Surroundings, child_spec, service_users
from hive_contracts.errors import Refused
from hive_runtime import VERSION, acl
from hive_runtime.hive_id import hive_id
from hive_runtime.passwords import PasswordFiles
from hive_runtime.redis_url import RedisAddress

SERVICES_GRACE_S: Final = 5.0
REDIS_GRACE_S: Final = 0.8
REDIS_TIMEOUT_S: Final = 15.0
REDIS_POLL_S: Final = 0.01
API_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """As given on the command line. `port` 0 takes any free one; None chooses `engine` and `runtime`."""

    port: int | None = None
    engine: str | None = None
    redis: str | None = None
    runtime: str | None = None
    demo: bool = False


@dataclass(slots=True)
class Running:
    """What is known of a start so far. The address of Redis is the supervisor's own: it may do everything."""

    started: float
    since: datetime
    host: str = ""
    port: int = 0
    redis: RedisAddress | None = None
    children: dict[str, Child] = field(default_factory=dict)
    server: Child | None = None
    ready: bool = False

    @property
    def address(self) -> str:
        return config.address_of(self.host, self.port)


class Launcher:
    """One hive on one data directory. `report` gets each line of progress; `services` is what to start."""

    def __init__(
        self,
        options: UpOptions,
        data: DataDir,
        *,
        environ: Mapping[str, str],
        report: Callable[[str], None],
        services: Sequence[Service] = SERVICES,
    ) -> None:
        self._options = options
        self._data = data
        self._environ = environ
        self._report = report
        self._services = services
        self._now = Running(time.monotonic(), datetime.now(UTC))
        self._book = ProcessBook(data.processes)
        self._stopping = False
        self._given: RedisAddress | None = None

    async def run(self) -> None:
        """Until SIGINT, SIGTERM or SIGHUP. Raises `HiveError` when it cannot start or cannot go on."""
        data_dir.check_place(self._data)
        settings = config.read(self._data, self._environ)
        place = config.dashboard_place(self._data, self._environ, port=self._options.port)
        if self._options.demo and self._options.engine == "claude":
            raise UsageProblem("--demo shows the product without a model; leave --engine claude out")
        if manager := manager_of(self._data):
            raise Refused(
                f"the services of {self._data.root} are started by {manager}; stop them there, and remove "
                f"{self._data.hive_json}, to start them here"
            )
        data_dir.prepare(self._data)
        with lock.held(self._data):
            data_dir.check_room(self._data)
            self._now.host, self._now.port = place[0], port.check_free(*place)
            self._report(f"data       {self._data.root}")
            await self._until_signal(self._serve(settings))

    async def _until_signal(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; a signal cancels it, a second one cuts the stopping short."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)

        def on_signal() -> None:
            if self._stopping:
                self._kill_all()
            else:
                self._stopping = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, on_signal)
        try:
            await task
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            self._report("stopping…")
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._stopping = True
            await self._stop()

    async def _serve(self, settings: config.RedisSettings) -> None:
        given = self._options.redis or settings.url
        await self._book.end_leftovers(self._report)
        async with asyncio.TaskGroup() as group:
            choice = group.create_task(asyncio.to_thread(self._choose_engine))
            group.create_task(self._take_redis(given) if given else self._start_redis(settings))
        chosen = choice.result()
        self._report(f"engine     {chosen.engine}: {chosen.reason}")
        async with asyncio.TaskGroup() as group:
            if self._now.server:
                group.create_task(self._now.server.keep())
            await self._start_services(chosen)
            for child in self._now.children.values():
                group.create_task(child.keep())
            group.create_task(self._watch_redis())
            if self._given and self._given.sentinels:
                group.create_task(self._keep_users(self._given))
            await self._become_ready()
            await asyncio.Event().wait()

    def _choose_engine(self) -> engine.EngineChoice:
        if self._options.demo:
            return engine.EngineChoice("scripted", "--demo needs no model")
        return engine.choose(self._options.engine, self._data, self._environ)

    async def _start_redis(self, settings: config.RedisSettings) -> None:
        spec, socket = redis_embedded.prepare(self._data, settings, service_users(self._data))
        server = self._now.server = self._child(spec)
        await server.start()
        await self._wait_for_redis(server, socket)
        self._set_redis(redis_embedded.url(socket))
        self._report(f"redis      embedded Valkey, append-only file synced {settings.appendfsync}")

    async def _wait_for_redis(self, server: Child, socket: Any) -> None:
        deadline = time.monotonic() + REDIS_TIMEOUT_S
        told = False
        while (state := await redis_embedded.answers(self._data, socket)) != "ready":
            if server.pid is None:
                raise ChildFailed(f"{_redis_failure(last_reason(self._data.log('redis')))}; see `hive logs redis`")
            if state == "loading":
                deadline = time.monotonic() + REDIS_TIMEOUT_S
                if not told:
                    self._report("redis      loading its append-only file…")
                told = True
            elif time.monotonic() > deadline:
                raise ChildFailed(
                    f"the embedded Redis did not answer within {REDIS_TIMEOUT_S:.0f} s; see `hive logs redis`"
                )
            await asyncio.sleep(REDIS_POLL_S)

    async def _take_redis(self, given: str) -> None:
        from hive_cli.stack import redis_external  # noqa: PLC0415  redis-py costs 0.2 s; the embedded start has no need

        address = redis_external.parse(given)
        name = await redis_external.take(address, service_users(self._data), hive_id(self._data.root))
        self._given = address
        self._set_redis(address.url)
        self._report(f"redis      {name} at {address.url}")

    async def _keep_users(self, given: RedisAddress) -> None:
        from hive_cli.stack import redis_external  # noqa: PLC0415  as above

        await redis_external.keep_users(given, lambda: service_users(self._data))

    def _set_redis(self, url: str) -> None:
        file = PasswordFiles(self._data.secrets).path(acl.SUPERVISOR)
        self._now.redis = RedisAddress(url, acl.SUPERVISOR, password_file=file, client_name="hive-up")

    async def _start_services(self, choice: engine.EngineChoice) -> None:
        for name in TOKENS:
            data_dir.secret(self._data, name)
        assert self._now.redis is not None  # noqa: S101
        supervisor = engine.variables(choice)
        if self._options.runtime:
            supervisor["HIVE_SUPERVISOR_RUNTIME"] = self._options.runtime
        dashboard = {"HIVE_DASHBOARD_HOST": self._now.host, "HIVE_DASHBOARD_PORT": str(self._now.port)}
        extra = {"supervisor": supervisor, "dashboard": dashboard}
        around = Surroundings(self._data, self._now.redis.url, self._environ, extra)
        self._now.children = {each.name: self._child(child_spec(each, around)) for each in self._services}
        for child in self._now.children.values():
            await child.start()
        self._report(f"services   {', '.join(self._now.children)}")

    async def _become_ready(self) -> None:
        client = self._client()
        readiness = Readiness(client, since=self._now.since)
        await readiness.services({name: child.pid for name, child in self._now.children.items()})
        if info := (await asyncio.to_thread(client.get, "/api/v1/status")).get("info"):
            self._report(f"runtime    {info['runtime']}: {info['runtime_reason']}; isolation: {info['isolation']}")
        problem = await readiness.manager()
        if problem:
            self._report(f"warning    hm1nd is not ready: {problem}; see `hive logs hm1nd` and `hive logs supervisor`")
        for child in self._all_children():
            child.proven = True
        link = await asyncio.to_thread(client.post, "/api/v1/sign-in-links")
        self._write_hive_json()
        self._now.ready = True
        if self._options.demo:
            await asyncio.to_thread(demo.play, client, self._data, self._report)
        self._report(f"ready      in {time.monotonic() - self._now.started:.1f} s: {self._now.address}")
        self._report(
            f"\n  Sign in:  {link.data['url']}\n  (works once; `hive sign-in` prints another. Ctrl-C stops the hive.)\n"
        )

    def _client(self) -> HiveClient:
        token = self._data.api_token.read_text().strip()
        return HiveClient(self._now.address, token, timeout_s=API_TIMEOUT_S)

    def _write_hive_json(self) -> None:
        facts = {
            "pid": os.getpid(),
            "address": self._now.address,
            "started_at": self._now.since.isoformat(),
            "version": VERSION,
            "redis": self._now.redis.url if self._now.redis else "",
        }
        data_dir.write_private(self._data.hive_json, json.dumps(facts))

    async def _watch_redis(self) -> None:
        from hive_cli.stack import redis_watch  # noqa: PLC0415  redis-py: while the services start, not before

        def changed(health: redis_watch.Health) -> None:
            sentence = redis_watch.SENTENCES[health]
            if health == redis_watch.Health.DISK_FULL and not self._now.ready:
                raise Refused(sentence)
            self._report(sentence)

        assert self._now.redis is not None  # noqa: S101
        await redis_watch.watch(self._now.redis, self._data.root, changed)

    def _child(self, spec: ChildSpec) -> Child:
        return Child(spec, self._report, started=self._book.started)

    def _all_children(self) -> list[Child]:
        return [*self._now.children.values(), *([self._now.server] if self._now.server else [])]

    def _kill_all(self) -> None:
        for child in self._all_children():
            child.kill()

    async def _stop(self) -> None:
        """The services together, then Redis, so that what they still write is kept."""
        with contextlib.suppress(OSError):
            self._data.hive_json.unlink(missing_ok=True)
        await asyncio.gather(*(child.stop(grace_s=SERVICES_GRACE_S) for child in self._now.children.values()))
        if self._now.server:
            await self._now.server.stop(grace_s=REDIS_GRACE_S)
        self._book.clear()


def _redis_failure(reason: str) -> str:
    if "No space left" in reason:
        return f"the embedded Redis cannot start because the disk is full: {reason}"
    return f"the embedded Redis does not start: {reason}"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
