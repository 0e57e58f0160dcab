"""What of the `nixos` runtime only NixOS can do: making and removing a container with `nixos-container`.

A container is a NixOS of its own, of the agent's flake where it has one, else of hyperhive's module (`nix/agent.nix`).
It finds its environment in /run/hive/environment. Everything else about it, systemd is asked.
"""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import bubblewrap, nspawn_unit
from hive_supervisor.runtimes.base import IDS, ContainerSpec

CONFIG_DIRS: Final = (Path("/etc/nixos-containers"), Path("/etc/containers"))
"""The second on NixOS before 22.05."""

BUILD_TIMEOUT_S: Final = 1800
REMOVE_TIMEOUT_S: Final = 120
MODULE: Final = Path(__file__).resolve().parents[4] / "nix" / "agent.nix"
"""Where hyperhive runs from its sources."""

PATH: Final = "/run/current-system/sw/bin"


class NixosContainer:
    """`nixos-container` on this machine. Both methods may take their time, and be done again."""

    def define(self, name: str, spec: ContainerSpec, flake: str) -> None:
        """Make it, or bring it up to `flake`; it is not started. Raises `CannotStart` with the last words."""
        verb = ["update" if (_config_dir() / f"{name}.conf").exists() else "create", name]
        source = ["--flake", flake] if flake else ["--config", configuration(spec)]
        _run(["nixos-container", *verb, *source], BUILD_TIMEOUT_S)
        path = _config_dir() / f"{name}.conf"
        kept = [line for line in path.read_text().splitlines() if not line.startswith("EXTRA_NSPAWN_FLAGS=")]
        path.write_text("".join(f"{line}\n" for line in [*kept, f"EXTRA_NSPAWN_FLAGS={shlex.quote(flags(spec))}"]))

    def destroy(self, name: str) -> None:
        """Nothing to do when there is none."""
        if (_config_dir() / f"{name}.conf").exists():
            _run(["nixos-container", "destroy", name], REMOVE_TIMEOUT_S)


def configuration(spec: ContainerSpec, module: Path = MODULE) -> str:
    """The inner of an attribute set: `nixos-container` writes it into a module of its own."""
    if not module.is_file():
        raise CannotStart(
            f"hyperhive's {module.name} is only in its sources; name a flake in the setting `nixos_flake`"
        )
    return (
        f"imports = [ {_nix_string(str(module))} ]; services.hyperhive.agent.enable = true; "
        f'systemd.services.hive-harness.serviceConfig.LimitNOFILE = "{spec.limits.open_files}";'
    )


def environment_file(spec: ContainerSpec) -> str:
    """As systemd reads an `EnvironmentFile`, and a shell too."""
    found = nspawn_unit.environment(spec, claude=f"{PATH}/claude") | {"PATH": PATH}
    return "".join(f"{name}={_quoted(value)}\n" for name, value in found.items())


def flags(spec: ContainerSpec) -> str:
    """What nspawn is told beside what NixOS tells it. Its words are split at blanks, so a path may have none."""
    binds = [f"--bind={spec.state_dir}:{bubblewrap.STATE}", f"--bind={spec.run_dir}:{bubblewrap.RUN}"]
    if spec.harness_dir:
        binds.append(f"--bind={spec.harness_dir}:{bubblewrap.HARNESS}")
    if spec.redis_socket:
        binds.append(f"--bind-ro={spec.redis_socket.parent}:{bubblewrap.REDIS_SOCKET.parent}")
    words = [f"--private-users={spec.id_base}:{IDS}", "--private-users-ownership=chown", "--no-new-privileges=yes"]
    words += [*binds, *(["--private-network"] if spec.network is Network.NONE else [])]
    if any(" " in word for word in words):
        raise CannotStart("the data directory of a hive on NixOS may have no blank in its path; choose another")
    return " ".join(words)


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


def _nix_string(value: str) -> str:
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def _config_dir() -> Path:
    return next((path for path in CONFIG_DIRS if path.is_dir()), CONFIG_DIRS[0])


def _run(command: list[str], timeout_s: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{command[0]} does not run: {error}") from error
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise CannotStart(f"{' '.join(command[:3])} failed: {said}")
