"""`python -m hive_harness`."""

import os
import sys
from dataclasses import replace

from hive_contracts.errors import HiveError
from hive_harness.config import config_from_environment, take_model_key
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
        config = replace(
            config,
            secrets=(address.password,) if address.password else (),
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


if __name__ == "__main__":
    sys.exit(main())
