"""Run by path, `launched.py DATA_DIR NAME=MODE… [redis=URL] [demo=yes]`: `hive up` with stand-ins as services."""

import asyncio
import os
import sys
from pathlib import Path

from hive_cli.errors import exit_code_of
from hive_cli.output import complain, say
from hive_cli.paths import DataDir
from hive_cli.stack.launcher import Launcher, UpOptions
from hive_cli.stack.services import SERVICES, Service
from hive_contracts.errors import HiveError

STAND_IN = str(Path(__file__).with_name("stand_in.py"))


def main() -> int:
    data, modes = DataDir(Path(sys.argv[1])), dict(argument.split("=", 1) for argument in sys.argv[2:])
    demo = modes.get("demo") == "yes"
    options = UpOptions(port=0, engine=None if demo else "scripted", redis=modes.get("redis"), demo=demo)
    services = [
        Service(
            each.name,
            (sys.executable, STAND_IN, each.name, modes.get(each.name, "good")),
            each.user,
            needs_model_keys=each.needs_model_keys,
        )
        for each in SERVICES
    ]
    try:
        asyncio.run(Launcher(options, data, environ=os.environ, report=say, services=services).run())
    except HiveError as error:
        complain(str(error))
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
