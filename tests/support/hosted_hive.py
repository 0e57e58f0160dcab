"""A whole hive on a systemd host, started there as its user starts it, with agents under systemd-nspawn."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis
from tests.support.built_image import built_image
from tests.support.systemd_host import ROOT, SystemdHost, systemd_host
from tests.support.waiting import wait_until

PORT: Final = 7000
READY_S: Final = 120
END_S: Final = 60


@dataclass
class HostedHive:
    """`data_dir` has the same path inside and outside."""

    host: SystemdHost
    data_dir: Path
    process: subprocess.Popen[Any]

    def cli(self, *arguments: str, status: int = 0) -> str:
        """What the command printed; asserts its exit status."""
        done = self.host.run(*_hive(self.data_dir, *arguments), check=False)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return str(done.stdout)

    def read(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "--json"))

    def answers(self) -> list[str]:
        """Bodies in the operator's inbox."""
        return [str(message["body"]) for message in self.read("inbox")["messages"]]

    def says(self, name: str, words: str) -> None:
        """Returns when `name`, asked to, has told the operator `words`."""
        self.cli("send", name, f"!send operator {words}")
        wait_until(lambda: words in self.answers(), within_s=END_S)

    def terminal(self, name: str, line: str, *, sees: str) -> str:
        """What the terminal of `name` shows after `line`, once it shows `sees`."""
        words = ["-m", "tests.support.terminal", str(self.data_dir), f"http://127.0.0.1:{PORT}", name, line, sees]
        done = self.host.run("env", f"--chdir={ROOT}", sys.executable, *words, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return str(done.stdout)

    def container(self, name: str) -> str:
        rows = self.read("agents")["agents"]
        return next((str(row["container"]) for row in rows if row["name"] == name), "")

    def unit(self, name: str) -> dict[str, str]:
        """What systemd shows of the agent's unit; empty when it has none."""
        listed = self.host.run(
            "systemctl", "list-units", "--all", "--plain", "--no-legend", f"hive-*-{name}.service"
        ).stdout
        if not listed.strip():
            return {}
        shown = self.host.run("systemctl", "show", "--property=Id,ActiveState,InvocationID,MainPID", listed.split()[0])
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def kill_unit(self, name: str) -> None:
        self.host.run("systemctl", "kill", "--signal=KILL", self.unit(name)["Id"])

    def facts(self, kind: str, agent: str) -> list[dict[str, Any]]:
        """The data of all facts of this kind about `agent`, each once however often it was told."""
        password = (self.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
        socket = str(self.data_dir / "run" / "redis" / "redis.sock")
        with closing(
            Redis(unix_socket_path=socket, username="hive-supervisor", password=password, decode_responses=True)
        ) as redis:
            entries: Any = redis.xrange("hive:events")
        told = {fields["id"]: json.loads(fields["data"]) for _, fields in entries if fields["type"] == kind}
        return [data for data in told.values() if data["agent"] == agent]

    def supervisor(self) -> int:
        """Its pid inside the host."""
        found = [row for row in self.read("status")["services"] if row["service"] == "supervisor"]
        return int(found[0]["pid"])

    def another_supervisor(self, *between: str) -> None:
        """Kill this one, run a command in between; returns when the next one is at work."""
        before = self.supervisor()
        self.host.run("kill", "-STOP", str(before))
        if between:
            self.host.run(*between)
        self.host.run("kill", "-KILL", str(before))
        wait_until(lambda: self.supervisor() != before, within_s=END_S)


@contextmanager
def hosted_hive(data_dir: Path) -> Iterator[HostedHive]:
    """A machine that was just switched on, and a hive on it, whose agents have no network.

    What lies in `data_dir` stays when the machine is switched off.
    """
    images = built_image().root.parents[1]
    options = [f"--bind-ro={images}", f"--bind={data_dir.parent}"]
    with systemd_host(*options) as host, (data_dir.parent / "up.log").open("wb") as log:
        up = ["up", "--port", str(PORT), "--runtime", "nspawn", "--engine", "scripted"]
        settings = [f"HIVE_IMAGES_DIR={images}", "HIVE_SUPERVISOR_NETWORK=none"]
        process = host.popen("env", *settings, *_hive(data_dir, *up), stdout=log, stderr=log)
        hive = HostedHive(host, data_dir, process)
        try:
            wait_until(lambda: _is_ready(hive), within_s=READY_S)
            yield hive
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def _hive(data_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "hive_cli", "--data-dir", str(data_dir), *arguments]


def _is_ready(hive: HostedHive) -> bool:
    said = (hive.data_dir.parent / "up.log").read_text()
    assert hive.process.poll() is None, said
    return "Sign in:" in said
