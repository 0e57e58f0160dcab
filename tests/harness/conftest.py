"""A harness as a process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.agent_rig import AGENT
from tests.support.harness_process import PASSWORD, HarnessProcess
from tests.support.redis_server import RedisServer

from hive_runtime.acl import agent_rules, agent_user


@pytest.fixture
def harness(tmp_path: Path, redis: RedisServer) -> Iterator[HarnessProcess]:
    admin: Any = Redis.from_url(redis.address.url, username="admin", password=redis.address.password)
    admin.execute_command("ACL", "SETUSER", agent_user(AGENT), *agent_rules(AGENT, PASSWORD))
    admin.execute_command("ACL", "SAVE")
    admin.close()
    found = HarnessProcess(tmp_path, redis)
    yield found
    if found.process and found.process.poll() is None:
        found.process.kill()
        found.process.wait()
