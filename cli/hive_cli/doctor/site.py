"""What the command line's checks are given."""

from collections.abc import Mapping
from dataclasses import dataclass

from hive_cli.paths import DataDir
from hive_cli.stack.redis_place import may_run


@dataclass(frozen=True, slots=True)
class Site:
    """The hive on `data`, which need not exist."""

    data: DataDir
    environ: Mapping[str, str]

    @property
    def runs(self) -> bool:
        """Or may: what starts its services is not `hive up`."""
        return may_run(self.data)
