"""What the command line's checks are given."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from hive_cli.client import find_hive
from hive_cli.paths import DataDir
from hive_cli.stack.redis_place import may_run
from hive_contracts.errors import HiveError

ASK_S: Final = 5.0
"""How long a hive that runs may take to answer."""


@dataclass(frozen=True)
class Site:
    """The hive on `data`, which need not exist."""

    data: DataDir
    environ: Mapping[str, str]

    @property
    def runs(self) -> bool:
        """Or may: what starts its services is not `hive up`."""
        return may_run(self.data)

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the hive that runs says of its engine and its runtime; empty when none answers."""
        try:
            return dict(find_hive(self.data).patient(ASK_S).get("/api/v1/status")["info"] or {}) if self.runs else {}
        except HiveError:
            return {}
