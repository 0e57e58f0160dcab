"""`python -m hive_harness`."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from hive_contracts.errors import HiveError
from hive_harness.config import HarnessConfig, config_from_environment, take_model_key, take_secrets
from hive_harness.service import run
from hive_runtime import logging, settings
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.process import hide_memory, keep_capabilities_to_itself
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import address_from_environment
from hive_runtime.run import report_failure, run_service


def main() -> int:
    hide_memory()
    keep_capabilities_to_itself()
    os.umask(0o007)
    logging.configure("harness")
    try:
        found = settings.load(HarnessSettings, "harness", data_dir=None, environ=os.environ)
        config = config_from_environment(os.environ, found)
        address = address_from_environment(os.environ, once=True)
        own = take_secrets(os.environ)
        config = replace(
            config,
            secrets=(*([address.password] if address.password else []), *own.values()),
            environment={**config.environment, **own},
            mcp_variables={**config.mcp_variables, **_of_servers(config, own)},
            credentials={**config.credentials, **take_model_key(os.environ)},
        )
    except HiveError as error:
        return report_failure(error)
    logging.configure("harness", config.settings.log_level)

    async def serve() -> None:
        bus = RedisBus(address)
        try:
            await run(config, bus)
        finally:
            await bus.aclose()

    return run_service(serve)


def _of_servers(config: HarnessConfig, own: Mapping[str, str]) -> dict[str, str]:
    """Those that a further MCP server is to have."""
    named = {name for server in config.mcp_servers.values() for name in server.env}
    return {name: value for name, value in own.items() if name in named}


if __name__ == "__main__":
    sys.exit(main())
