"""`python -m hive_dashboard`."""

import os
import sys
from pathlib import Path

from hive_contracts.errors import HiveError
from hive_dashboard.config import DashboardSettings
from hive_dashboard.service import run
from hive_runtime import logging, settings
from hive_runtime.errors import SettingsError
from hive_runtime.redis_url import address_from_environment
from hive_runtime.run import report_failure, run_service


def main() -> int:
    logging.configure("dashboard")
    try:
        data_dir = _data_dir()
        config = settings.load(DashboardSettings, "dashboard", data_dir=data_dir, environ=os.environ)
        address = address_from_environment(os.environ)
    except HiveError as error:
        return report_failure(error)
    logging.configure("dashboard", config.log_level)
    return run_service(lambda: run(config, data_dir, address))


def _data_dir() -> Path:
    path = os.environ.get("HIVE_DATA_DIR")
    if not path:
        raise SettingsError("HIVE_DATA_DIR is not set; `hive up` sets it for the services it starts")
    return Path(path)


if __name__ == "__main__":
    sys.exit(main())
