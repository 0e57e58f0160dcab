"""The command line's checks, in the order in which one would mend what they find."""

from typing import Final

from hive_cli.doctor import clock, leftovers, machine, redis, secrets, sign_in, stores, units, users
from hive_cli.doctor.site import Site
from hive_runtime.checkup import Check

CHECKS: Final[tuple[Check[Site], ...]] = (
    Check("port", "the dashboard's port", machine.port),
    Check("disk", "room for the data directory", machine.disk),
    Check("clock", "the machine's clock", clock.look),
    Check("redis", "Redis: version, persistence, memory policy, users", redis.look),
    Check("users", "the Redis users of agents and services", users.look, users.mend),
    Check("stores", "the sqlite stores: integrity and schema", stores.look),
    Check("secrets", "that nobody else reads the secrets", secrets.look, secrets.mend),
    Check("engine", "Claude Code: version and sign-in", machine.engine_found),
    Check("sign-in", "each agent's sign-in", sign_in.look),
    Check("units", "the units of a hive that systemd starts", units.look),
    Check("leftovers", "what a killed hive, restore or purge left behind", leftovers.look, leftovers.mend),
)
