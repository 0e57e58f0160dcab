"""These tests need systemd as this machine's process 1: `tests/system/test_nspawn.py` boots one and runs them in it."""

import os

from tests.support.nspawn_host import IMAGE_VARIABLE

collect_ignore_glob = [] if os.environ.get(IMAGE_VARIABLE) else ["test_*.py"]
