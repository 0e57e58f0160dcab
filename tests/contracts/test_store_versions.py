"""The stores' schema versions that doctor and backups go by are those of the migrations that exist."""

from hive_contracts.stores import AGENT_STORES, HIVE_STORES
from hive_dashboard import store as dashboard
from hive_runtime.records import approvals, events, messages
from hive_supervisor import store as supervisor


def test_every_stores_version_is_the_number_of_its_migrations() -> None:
    assert {
        "broker.sqlite": len(messages.MIGRATIONS),
        "supervisor.sqlite": len(supervisor.MIGRATIONS),
        "approvals.sqlite": len(approvals.MIGRATIONS),
        "dashboard.sqlite": len(dashboard.MIGRATIONS),
    } == HIVE_STORES
    assert {"events.sqlite": len(events.MIGRATIONS)} == AGENT_STORES
