"""`python -m hive_broker`."""

import os
import sys
from pathlib import Path

from hive_broker.config import BrokerSettings
from hive_broker.service import run
from hive_contracts.errors import HiveError
from hive_runtime import logging, settings
from hive_runtime.process import open_as_many_files_as_it_may
from hive_runtime.redis_url import address_from_environment
from hive_runtime.run import report_failure, run_service


def main() -> int:
    logging.configure("broker")
    try:
        data_dir = Path(os.environ["HIVE_DATA_DIR"])
        config = settings.load(BrokerSettings, "broker", data_dir=data_dir, environ=os.environ)
        address = address_from_environment(os.environ)
    except HiveError as error:
        return report_failure(error)
    logging.configure("broker", config.log_level)
    open_as_many_files_as_it_may()
    return run_service(lambda: run(config, data_dir, address))


if __name__ == "__main__":
    sys.exit(main())
