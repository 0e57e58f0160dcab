"""What the supervisor's checks are given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hive_supervisor.config import SupervisorSettings
from hive_supervisor.images.config import ImageSettings


@dataclass(frozen=True, slots=True)
class Site:
    """The hive on `data_dir`, which need not exist or run. Nothing may be locked for longer than a read. `idle`: it is
    known that it does not run."""

    data_dir: Path
    config: SupervisorSettings
    images: ImageSettings
    environ: Mapping[str, str]
    idle: bool = False
