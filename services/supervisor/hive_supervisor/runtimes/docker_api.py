"""A client of the Docker Engine API, or Podman's compatible one, over its unix socket: what a back-end needs, typed.

It knows nothing of agents. Paths carry no version, so an engine answers in its newest; what is asked for here has been
the same since API 1.40 (Docker 19.03, Podman 4).
"""

import contextlib
import json
import os
import shutil
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hive_contracts.errors import HiveError
from hive_supervisor.errors import EngineAway, EngineConflict, EngineLacks, EngineRefused

SOCKETS: Final = (Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
"""The longest that an engine may take for one answer: it unpacks layers and waits for kernels."""

EVENTS_S: Final = 30.0
"""An events stream that is silent for so long counts as lost: who hangs does not close its connection."""

_FRAME_HEADER: Final = 8


class _Answer(BaseModel):
    model_config = ConfigDict(populate_by_name=True, frozen=True)


A = TypeVar("A", bound=_Answer)


class Component(_Answer):
    """A part of an engine, by name: `Engine`, `containerd`, `Podman Engine`, …"""

    name: str = Field(alias="Name")


class Engine(_Answer):
    """What an engine says of itself. `root_dir` ends with `uid.gid` of its root user when it maps users."""

    version: str = Field(alias="ServerVersion")
    security: tuple[str, ...] = Field(default=(), alias="SecurityOptions")
    root_dir: Path = Field(alias="DockerRootDir")
    limits_memory: bool = Field(default=False, alias="MemoryLimit")
    limits_cpu: bool = Field(default=False, alias="CpuCfsQuota")
    limits_pids: bool = Field(default=False, alias="PidsLimit")
    os_type: str = Field(default="linux", alias="OSType")
    components: tuple[Component, ...] = Field(default=(), alias="Components")

    @property
    def is_podman(self) -> bool:
        return any("Podman" in one.name for one in self.components)

    def has(self, option: str) -> bool:
        """Whether `option` (`seccomp`, `apparmor`, `userns`, `rootless`, …) is among its security options."""
        return any(f"name={option}" in words.split(",") for words in self.security)


class Image(_Answer):
    id: str = Field(alias="Id")


class State(_Answer):
    """`exit_code` is 128 + n after signal n. Times are from year 1 before the first start and the first end."""

    running: bool = Field(alias="Running")
    exit_code: int = Field(alias="ExitCode")
    oom_killed: bool = Field(default=False, alias="OOMKilled")
    started_at: datetime = Field(alias="StartedAt")
    finished_at: datetime = Field(alias="FinishedAt")
    error: str = Field(default="", alias="Error")


class Settings(_Answer):
    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class Mount(_Answer):
    """A folder of the machine, and where it is in the container."""

    source: Path = Field(alias="Source")
    destination: Path = Field(alias="Destination")


class ContainerInfo(_Answer):
    id: str = Field(alias="Id")
    image: str = Field(alias="Image")
    state: State = Field(alias="State")
    settings: Settings = Field(alias="Config")
    mounts: tuple[Mount, ...] = Field(default=(), alias="Mounts")

    @property
    def labels(self) -> dict[str, str]:
        return self.settings.labels or {}


class Listed(_Answer):
    id: str = Field(alias="Id")
    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class Event(_Answer):
    """Something happened to a container: `start`, `die`, `oom`, `destroy`, …"""

    action: str = Field(default="", alias="Action")
    actor: dict[str, Any] = Field(default_factory=dict, alias="Actor")
    time_ns: int = Field(default=0, alias="timeNano")

    @property
    def id(self) -> str:
        return str(self.actor.get("ID", ""))

    @property
    def time_s(self) -> float:
        """Since 1970."""
        return self.time_ns / 1e9


class DockerApi:
    """One engine. Every method raises `EngineAway` when it does not answer, and `EngineRefused` when it says no."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None))
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=timeout)

    async def engine(self) -> Engine:
        parts = await self._ask("GET", "/version")
        return _typed(Engine, {**await self._ask("GET", "/info"), "Components": parts.get("Components") or ()})

    async def image(self, reference: str) -> Image:
        """Raises `EngineLacks`."""
        return _typed(Image, await self._ask("GET", f"/images/{reference}/json"))

    async def containers(self, labels: Mapping[str, str]) -> list[Listed]:
        """All that carry `labels`, running or not."""
        found = await self._ask("GET", "/containers/json", {"all": "1", "filters": _filters(labels)})
        return [_typed(Listed, one) for one in found]

    async def container(self, id_or_name: str) -> ContainerInfo:
        """Raises `EngineLacks`."""
        return _typed(ContainerInfo, await self._ask("GET", f"/containers/{id_or_name}/json"))

    async def find(self, id_or_name: str) -> ContainerInfo | None:
        """None when there is none."""
        try:
            return await self.container(id_or_name)
        except EngineLacks:
            return None

    async def create(self, name: str, config: Mapping[str, object]) -> str:
        """Returns the id. Raises `EngineConflict` when the name is taken, `EngineLacks` when the image is not there."""
        made = await self._ask("POST", "/containers/create", {"name": name}, body=config)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Nothing to do when it runs."""
        await self._ask("POST", f"/containers/{container}/start")

    async def kill(self, container: str, signal: int) -> None:
        """Send `signal` to its first process. Raises `EngineConflict` when it does not run."""
        await self._ask("POST", f"/containers/{container}/kill", {"signal": str(int(signal))})

    async def ended(self, container: str) -> None:
        """Returns once it does not run, however long that takes."""
        await self._ask("POST", f"/containers/{container}/wait", {"condition": "not-running"}, patience_s=None)

    async def remove(self, container: str) -> None:
        """End it if it runs, and remove it with what is written in it. Raises `EngineLacks`."""
        await self._ask("DELETE", f"/containers/{container}", {"force": "1", "v": "1"})

    async def stats(self, container: str) -> dict[str, Any]:
        """Its cgroup's figures, as they are."""
        return dict(await self._ask("GET", f"/containers/{container}/stats", {"stream": "0", "one-shot": "1"}))

    async def exec(self, container: str, command: Sequence[str], *, user: str, limit: int) -> tuple[int, bytes]:
        """Run `command` as `user` (`uid:gid`); its status and the last `limit` bytes of both its outputs."""
        wanted = {"Cmd": list(command), "User": user, "AttachStdout": True, "AttachStderr": True}
        made = await self._ask("POST", f"/containers/{container}/exec", body=wanted)
        begun = {"Detach": False, "Tty": False}
        async with self._stream("POST", f"/exec/{made['Id']}/start", patience_s=None, body=begun) as answer:
            output = await _last_bytes(_unframed(answer.aiter_raw()), limit)
        return int((await self._ask("GET", f"/exec/{made['Id']}/json"))["ExitCode"]), output

    async def events(self, labels: Mapping[str, str]) -> AsyncGenerator[Event | None, None]:
        """First None, once the engine listens; then what happens to containers with `labels`.

        It ends after a silence, or with `EngineAway`: then ask anew, and look what was missed.
        """
        wanted = {"filters": _filters(labels, type="container")}
        async with self._stream("GET", "/events", wanted, patience_s=EVENTS_S) as answer:
            yield None
            with contextlib.suppress(httpx.ReadTimeout):
                async for line in answer.aiter_lines():
                    yield Event.model_validate_json(line)

    async def ensure_network(self, name: str, config: Mapping[str, object]) -> None:
        """Nothing to do when there is one of that name."""
        try:
            await self._ask("GET", f"/networks/{name}")
        except EngineLacks:
            await self._ask("POST", "/networks/create", body={**config, "Name": name, "CheckDuplicate": True})

    async def remove_network(self, name: str) -> None:
        """Raises `EngineLacks`, and `EngineRefused` while containers are in it."""
        await self._ask("DELETE", f"/networks/{name}")

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, object] | None = None,
        patience_s: float | None = ANSWER_S,
    ) -> Any:
        async with self._stream(method, path, query, body=body, patience_s=patience_s) as answer:
            content = await answer.aread()
            return json.loads(content) if content.strip() else None

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, object] | None = None,
        patience_s: float | None = ANSWER_S,
    ) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=patience_s)
        try:
            async with self._http.stream(method, path, json=body, params=query, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    raise _refusal(method, answer.status_code, await answer.aread())
                yield answer
        except (httpx.HTTPError, ValueError) as error:
            raise EngineAway(self._why_away(error)) from error

    def _why_away(self, error: Exception) -> str:
        if not isinstance(error, httpx.ConnectError):
            return f"the container engine at {self._socket} broke off ({error or type(error).__name__}); is it running?"
        return why_not_reachable(self._socket) or f"the container engine at {self._socket} does not listen; start it"


def _typed(kind: type[A], answer: object) -> A:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        text = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise EngineAway(
            f"the container engine's answer is not understood ({text}); is it Docker or Podman?"
        ) from error


def socket_path(environ: Mapping[str, str], configured: str = "") -> Path:
    """Where the engine listens: as configured, as DOCKER_HOST says, or the first usual place that is there."""
    named = configured or environ.get("DOCKER_HOST", "")
    if named.startswith(("unix://", "/")):
        return Path(named.removeprefix("unix://"))
    return next((path for path in SOCKETS if path.exists()), SOCKETS[0])


def why_not_reachable(socket: Path) -> str:
    """One sentence without its full stop, or empty: what a look at the socket tells before it is tried."""
    try:
        socket.stat()
    except PermissionError:
        return f"this user may not reach {socket.parent}, where the container engine listens"
    except OSError:
        return f"no container engine listens at {socket}; {_how_to_start()}, or set DOCKER_HOST"
    if not os.access(socket, os.R_OK | os.W_OK):
        return f"this user may not use {socket}; run as root, or join its group (usermod -aG docker USER)"
    return ""


def _how_to_start() -> str:
    if shutil.which("dockerd"):
        return "start Docker's (systemctl start docker)"
    if shutil.which("podman"):
        return "let Podman listen (systemctl enable --now podman.socket)"
    return "install docker.io or podman and start it"


def _filters(labels: Mapping[str, str], **others: str) -> str:
    wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
    return json.dumps(wanted | {name: [value] for name, value in others.items()})


def _refusal(method: str, status: int, content: bytes) -> HiveError:
    """A look that fails on the engine's side says nothing of what was looked for: it is worth another try."""
    try:
        reason = str(json.loads(content)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        reason = content.decode(errors="replace").strip() or f"status {status}"
    if "no space left on device" in reason:
        return EngineRefused(f"the container engine's disk is full ({reason}); `docker system df` shows what takes it")
    if method == "GET" and status >= 500:
        return EngineAway(f"the container engine fails to answer: {reason}")
    kinds = {404: EngineLacks, 409: EngineConflict}
    return kinds.get(status, EngineRefused)(f"the container engine refused: {reason}")


async def _unframed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Output without the headers between its pieces: channel, three zeroes, length in four bytes."""
    waiting = b""
    left = 0
    async for chunk in chunks:
        waiting += chunk
        while waiting:
            if left:
                yield waiting[:left]
                left, waiting = max(0, left - len(waiting)), waiting[left:]
            elif len(waiting) >= _FRAME_HEADER:
                left, waiting = int.from_bytes(waiting[4:_FRAME_HEADER], "big"), waiting[_FRAME_HEADER:]
            else:
                break


async def _last_bytes(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    kept: deque[bytes] = deque()
    size = 0
    async for chunk in chunks:
        kept.append(chunk)
        size += len(chunk)
        while size - len(kept[0]) >= limit:
            size -= len(kept.popleft())
    return b"".join(kept)[-limit:]
