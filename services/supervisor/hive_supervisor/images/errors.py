"""Errors of making and keeping images.

HiveError (contracts)
└── BuildFailed      a tool that builds ended badly
Refused (contracts)
├── CannotBuild      something is missing here: root, a program, room on the disk
├── BadTarball       what was given is no root that containers can be made of
└── ImageInUse       containers are made of it
NotFound (contracts)
└── NoImage          there is no image of that version, or none at all
"""

from hive_contracts.errors import HiveError, NotFound, Refused


class BuildFailed(HiveError):
    code = "build_failed"


class CannotBuild(Refused):
    code = "cannot_build"


class BadTarball(Refused):
    code = "bad_tarball"


class ImageInUse(Refused):
    code = "image_in_use"


class NoImage(NotFound):
    code = "no_image"
