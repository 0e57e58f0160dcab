"""Errors of what hyperhive stands on.

Unavailable (contracts)
├── BusUnavailable   Redis does not answer, or is not ready
│   └── NoGroup      the stream or its consumer group is gone
├── BusFull          Redis takes no writes: memory or disk is full
└── StoreUnavailable a sqlite store cannot be used
    └── StoreNewer a newer hyperhive made it
Refused (contracts)
├── BusDenied        the Redis user may not do this
│   └── BusLocked    Redis knows no such user and password (yet): also a BusUnavailable
└── LeaseLost        another harness owns the inbox now
SettingsError        a settings file or variable is broken
"""

from hive_contracts.errors import HiveError, Refused, Unavailable


class BusUnavailable(Unavailable):
    code = "redis_unavailable"


class NoGroup(BusUnavailable):
    code = "no_group"


class BusFull(Unavailable):
    code = "redis_full"
    status = 507


class BusDenied(Refused):
    code = "redis_denied"


class BusLocked(BusDenied, BusUnavailable):
    """Refused at start; waited for in a loop, since a server that lost its users gets them back from the supervisor."""

    status = 503


class LeaseLost(Refused):
    code = "lease_lost"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class StoreNewer(StoreUnavailable):
    code = "store_newer"


class SettingsError(HiveError):
    code = "settings"
