"""A whole hive, started as its user starts it, with a data directory of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tests.support.processes import command_line, descendants
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent

READY_S: Final = 60
STOP_S: Final = 10


@dataclass(slots=True)
class Hive:
    """`hive up` as a process; `output` is what it printed so far."""

    data_dir: Path
    arguments: tuple[str, ...] = ("--engine", "scripted")
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-m", "hive_cli", "--data-dir", str(self.data_dir), "up", "--port", "0"]
        with self.log.open("wb") as log:
            process = self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                preexec_fn=die_with_parent(signal.SIGKILL),
                start_new_session=True,
            )
        wait_until(lambda: self._over() or self._facts().get("pid") == process.pid, within_s=READY_S)
        if process.poll() is not None:
            raise AssertionError(f"hive up ended with {process.returncode}: {self.output}")

    def down(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process
        self.process.terminate()
        return self.process.wait(STOP_S)

    @property
    def log(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> str:
        return str(self._facts()["address"])

    def cli(self, *arguments: str, status: int = 0) -> str:
        """What the command printed; asserts its exit status."""
        done = subprocess.run(
            [sys.executable, "-m", "hive_cli", "--data-dir", str(self.data_dir), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def api(self, method: str, path: str, **options: Any) -> Any:
        """An answer of the HTTP API, decoded."""
        token = (self.data_dir / "secrets" / "api-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{self.address}/api/v1{path}", headers=headers, timeout=30, **options)
        answer.raise_for_status()
        return answer.json()

    def sign_in_link(self) -> str:
        """A new one-time link."""
        return str(self.api("POST", "/sign-in-links")["url"])

    def send(self, to: str, body: str) -> str:
        """Returns the message's id."""
        return str(self.api("POST", "/messages", json={"to": to, "body": body})["id"])

    def answers(self) -> list[str]:
        """Bodies in the operator's inbox, oldest first."""
        messages = self.api("GET", "/agents/operator/inbox", params={"limit": 200})["messages"]
        return [message["body"] for message in reversed(messages)]

    def pid(self, service: str) -> int:
        """Of a service, by its heartbeat."""
        found = [row for row in self.api("GET", "/status")["services"] if row["service"] == service]
        return int(found[0]["pid"])

    def processes(self) -> set[int]:
        """Everything that `hive up` started."""
        assert self.process
        return descendants(self.process.pid)

    def process_of(self, *words: str, agent: str = "") -> int:
        """The process with these words in its command line, of an agent's container or of the hive."""
        root = self.container_pid(agent) if agent else self.process.pid if self.process else 0
        for pid in descendants(root):
            line = command_line(pid).split()
            if line and not line[0].endswith(("sh", "bwrap")) and set(words) <= set(line):
                return pid
        raise AssertionError(f"no process with {words}")

    def container_pid(self, agent: str) -> int:
        return int(json.loads((self.data_dir / "agents" / agent / "container.json").read_text())["pid"])

    def _facts(self) -> dict[str, Any]:
        """`run/hive.json`; empty while there is none."""
        try:
            return dict(json.loads((self.data_dir / "run" / "hive.json").read_text()))
        except OSError:
            return {}

    def _over(self) -> bool:
        return self.process is not None and self.process.poll() is not None


@contextmanager
def hive(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Hive]:
    """A running hive; afterwards it is down and its files are gone."""
    with tempfile.TemporaryDirectory(prefix="hive-") as directory:
        running = Hive(Path(directory) / "data", arguments or ("--engine", "scripted"), environment or {})
        running.up()
        try:
            yield running
        finally:
            if running.process and running.process.poll() is None:
                running.down()
