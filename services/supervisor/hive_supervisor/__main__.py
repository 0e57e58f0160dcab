"""`python -m hive_supervisor`."""

import os
import sys
from pathlib import Path

from hive_contracts.errors import HiveError
from hive_runtime import logging, settings
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.redis_url import address_from_environment
from hive_runtime.run import report_failure, run_service
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.containers import Premises
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.service import Ending, run


def main() -> int:
    logging.configure("supervisor")
    try:
        data_dir = Path(os.environ["HIVE_DATA_DIR"])
        config = settings.load(SupervisorSettings, "supervisor", data_dir=data_dir, environ=os.environ)
        harness = settings.load(HarnessSettings, "harness", data_dir=data_dir, environ=os.environ)
        retention = settings.load(RetentionSettings, "retention", data_dir=data_dir, environ=os.environ)
        address = address_from_environment(os.environ)
    except HiveError as error:
        return report_failure(error)
    logging.configure("supervisor", config.log_level)
    ending = Ending()
    premises = Premises(config, harness, data_dir, address, retention)
    return run_service(lambda: run(premises, ending), told=ending.told)


if __name__ == "__main__":
    sys.exit(main())
