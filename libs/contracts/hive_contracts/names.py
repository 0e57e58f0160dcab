"""Names of principals: agents, and the three that are not agents."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from hive_contracts.errors import InvalidName

OPERATOR: Final = "operator"
SYSTEM: Final = "system"
MANAGER: Final = "hm1nd"
BROADCAST: Final = "*"

RESERVED: Final = frozenset({OPERATOR, SYSTEM, "all"})
AGENT_NAME_PATTERN: Final = r"^[a-z][a-z0-9-]{0,30}$"

_AGENT_NAME = re.compile(AGENT_NAME_PATTERN.removesuffix("$") + r"\Z")


def check_agent_name(name: str) -> str:
    """Return `name`; raise `InvalidName` when it is malformed or reserved."""
    if not _AGENT_NAME.match(name):
        raise InvalidName(
            f"{name!r} is not an agent name: 1 to 31 characters, lower-case letters, digits and '-', "
            "starting with a letter"
        )
    if name in RESERVED:
        raise InvalidName(f"{name!r} is reserved; choose another name")
    return name


def _valid(name: str) -> str:
    try:
        return check_agent_name(name)
    except InvalidName as error:
        raise ValueError(str(error)) from error


AgentName = Annotated[str, AfterValidator(_valid)]
