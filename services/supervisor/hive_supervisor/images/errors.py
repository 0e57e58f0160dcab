"""Errors of making and keeping images.

HiveError (contracts)
├── BuildFailed      a tool that builds ended badly, or something it makes is not there
Refused (contracts)
├── CannotBuild      something is missing here: root, a program, room on the disk
"""

from hive_contracts.errors import HiveError, Refused


class BuildFailed(HiveError):
    code = "build_failed"


class CannotBuild(Refused):
    code = "cannot_build"
