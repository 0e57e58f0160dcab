"""What every service stands on: the bus (Redis), sqlite stores, settings, logging and the run loop."""

from typing import Final

VERSION: Final = "0.1.0"
