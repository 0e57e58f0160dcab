"""What the command line's checks are given."""

from collections.abc import Mapping
from dataclasses import dataclass

from hive_cli.paths import DataDir
from hive_cli.stack.lock import running_pid


@dataclass(frozen=True, slots=True)
class Site:
    """The hive on `data`, which need not exist."""

    data: DataDir
    environ: Mapping[str, str]

    @property
    def runs(self) -> bool:
        return running_pid(self.data) is not None
