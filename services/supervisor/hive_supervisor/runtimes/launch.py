"""What `create` of the `process` runtime leaves for `start`: a command line with its surroundings, and files."""

import contextlib
import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from hive_contracts.errors import Unavailable
from hive_runtime.wiping import wipe
from hive_supervisor.runtimes.base import ContainerSpec, Limits, SeedFile
from hive_supervisor.runtimes.ownership import hand_over

_FILE: Final = "launch.json"


class Launch(BaseModel):
    """`depth`: how many processes stand between the shim and the harness. `folder`: where commands inside begin.
    `group`: the control group that holds it to `limits`; empty for none."""

    model_config = ConfigDict(frozen=True)

    command: tuple[str, ...]
    environment: dict[str, str]
    log_file: Path
    folder: Path
    sandboxed: bool
    depth: int
    group: str = ""
    limits: Limits = Limits()
    uid: int | None = None
    harness_uid: int | None = None


def write(folder: Path, launch: Launch) -> None:
    """Whole or not at all; readable by the supervisor alone."""
    partial = (folder / _FILE).with_suffix(".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(launch.model_dump_json())
    partial.replace(folder / _FILE)


def read(folder: Path) -> Launch | None:
    """None when nothing was created in `folder`."""
    try:
        return Launch.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return None


def forget(folder: Path) -> None:
    for name in (_FILE, Path(_FILE).with_suffix(".new").name):
        (folder / name).unlink(missing_ok=True)


def discard(folder: Path, *names: str) -> None:
    """What was made for one start goes, as far as it can: the next `prepare` says what is in the way."""
    for name in names:
        with contextlib.suppress(Unavailable):
            wipe(folder / name)


def prepare(spec: ContainerSpec) -> None:
    """The kept directories; and a fresh run directory with the secrets. Nothing in them is opened again.

    Raises `Unavailable` when what an earlier container left in the run directory cannot be removed.
    """
    if not spec.state_dir.exists():
        _make_state(spec)
    harness = spec.harness_uid
    if spec.uid is not None and harness is not None:
        hand_over(spec.state_dir, uid=spec.uid, others=harness)
        spec.state_dir.chmod(0o2770)  # the harness is of the engine's group, and so is what it writes there
    if spec.harness_dir:
        spec.harness_dir.mkdir(mode=0o700, exist_ok=True)
        if harness is not None:
            hand_over(spec.harness_dir, uid=harness, others=harness)
    wipe(spec.run_dir)
    spec.run_dir.mkdir(mode=0o700)
    for name, content in spec.secrets.items():
        path = spec.run_dir / name
        path.touch(mode=0o600)
        path.write_text(content)
        _give(path, harness)
    _give(spec.run_dir, harness, group=spec.uid)
    spec.run_dir.chmod(0o710)


def _make_state(spec: ContainerSpec) -> None:
    """Whole or absent, whenever this process is killed."""
    fresh = spec.state_dir.with_suffix(".new")
    wipe(fresh)
    (fresh / "home").mkdir(parents=True, mode=0o700)
    fresh.chmod(0o700)
    for file in spec.seed:
        _plant(fresh, file, spec.uid)
    _give(fresh / "home", spec.uid)
    _give(fresh, spec.uid)
    fresh.rename(spec.state_dir)


def _plant(folder: Path, file: SeedFile, uid: int | None) -> None:
    """Nobody else has been in `folder` yet, and a seed's paths were checked."""
    path = folder
    for part in Path(file.path).parent.parts:
        path /= part
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, uid)
    path /= Path(file.path).name
    path.write_bytes(file.content)
    path.chmod(0o700 if file.executable else 0o600)
    _give(path, uid)


def _give(path: Path, uid: int | None, *, group: int | None = None) -> None:
    if uid is not None:
        os.chown(path, uid, uid if group is None else group)
