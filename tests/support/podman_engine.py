"""A Podman of the tests' own, answering over its Docker-compatible socket; its data in one folder, gone afterwards."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.support.docker_engine import PROGRAMS, SMALL_IMAGE, small_root
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent
from hive_supervisor.runtimes.docker import DockerRuntime
from hive_supervisor.runtimes.docker_api import Engine
from hive_supervisor.runtimes.docker_config import PROGRAM

START_S: Final = 60


@dataclass(slots=True)
class PodmanEngine:
    """`directory` holds all that it has. `keeper` keeps the network that it is in."""

    directory: Path
    keeper: subprocess.Popen[bytes]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        served = ["system", "service", "--time", "0", f"unix://{self.socket}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within(), *served], stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGTERM)
            )
        wait_until(lambda: self.socket.exists() or self._over(), within_s=START_S)
        assert not self._over(), self.log.read_text()[-2000:]

    def kill(self) -> None:
        """As `kill -9` of the service alone."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self.socket.unlink()

    @property
    def log(self) -> Path:
        return self.directory / "engine.log"

    def _over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _within(self) -> list[str]:
        return ["nsenter", "--target", str(self.keeper.pid), "--net", "--", *_podman(self.directory)]

    @property
    def socket(self) -> Path:
        return self.directory / "podman.sock"

    def docker(self, *arguments: str, given: bytes = b"") -> str:
        """What the `podman` command printed; asserts that it ended well."""
        done = subprocess.run([*self._within(), *arguments], input=given, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, f"podman {arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def _asked(self, path: str) -> dict[str, object]:
        """Asked apart from any loop that runs."""
        asking = ["curl", "--silent", "--unix-socket", str(self.socket), f"http://engine{path}"]
        done = subprocess.run(asking, capture_output=True, text=True, timeout=30, check=True)
        return dict(json.loads(done.stdout))

    def engine(self) -> Engine:
        """What it says of itself."""
        return Engine.model_validate({**self._asked("/info"), "Components": self._asked("/version")["Components"]})

    def runtime(
        self, agents_dir: Path, *, hive_id: str, program: Sequence[str] = PROGRAM, engine: Engine | None = None
    ) -> DockerRuntime:
        """A back-end on it, as a supervisor makes it."""
        engine = engine or self.engine()
        return DockerRuntime(agents_dir, self.socket, hive_id=hive_id, engine=engine, program=program)

    def end(self) -> None:
        """All of it is gone."""
        self.docker("rm", "--all", "--force", "--time", "0")
        for process in (self.process, self.keeper):
            if process:
                process.kill()
                process.wait(START_S)


def why_no_podman() -> str:
    """Why the tests cannot start one here; empty when they can."""
    if os.geteuid() != 0:
        return "only root can start Podman with users of its own"
    missing = [program for program in ("podman", "runc", "conmon") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed (packages podman, runc)" if missing else ""


@contextmanager
def podman_engine() -> Iterator[PodmanEngine]:
    """A running service with the image `small`, in a network of its own.

    Skips where there can be none; under CI that fails.
    """
    if reason := why_no_podman():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hive-podman-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent(signal.SIGTERM))
        wait_until(lambda: Path(f"/proc/{keeper.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
        engine = PodmanEngine(directory, keeper)
        try:
            engine.start()
            engine.docker("import", "-", SMALL_IMAGE, given=small_root(PROGRAMS))
            yield engine
        finally:
            engine.end()


def _podman(directory: Path) -> list[str]:
    """With runc, for crun refuses the control groups of a machine that mounts both versions."""
    # fmt: off
    return [
        "podman", "--root", str(directory / "data"), "--runroot", str(directory / "run"),
        "--network-config-dir", str(directory / "networks"), "--cgroup-manager", "cgroupfs",
        "--events-backend", "file", "--tmpdir", str(directory / "tmp"), "--runtime", "runc",
    ]
    # fmt: on
