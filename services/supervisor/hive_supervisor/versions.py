"""What a container is made of, so that one that runs can be told to be behind."""

import hashlib
from collections.abc import Mapping

from hive_contracts.versions import Skew, skew
from hive_runtime import VERSION
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.containers import engine_of
from hive_supervisor.errors import CannotStart
from hive_supervisor.store import Agent

_WORDS = {
    "hyperhive": "hyperhive was upgraded",
    "image": "there is a newer image",
    "config": "its configuration changed",
}


def version_of(agent: Agent, config: SupervisorSettings, image: str) -> dict[str, str]:
    """`image`: the newest; empty where there is none. Model and recipients are no part: they hold without a restart."""
    own = agent.config.model_dump_json(exclude={"model", "recipients"})
    limits = config.model_dump_json(include={"network", *(key for key in type(config).model_fields if "limit_" in key)})
    digest = hashlib.sha256(f"{engine_of(agent, config)} {own} {limits}".encode()).hexdigest()[:16]
    return {"hyperhive": VERSION, "image": image, "config": digest}


def behind(made_of: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In which way, in words; empty when it is up to date, or when nothing is known of it."""
    if not made_of:
        return ""
    return "; ".join(words for part, words in _WORDS.items() if made_of.get(part, "") != now.get(part, ""))


def check_harness(name: str, harness: str) -> None:
    """Raises `CannotStart` when the harness in the container of `name` is too old or too new for this hive."""
    if skew(VERSION, harness) is Skew.REFUSED:
        raise CannotStart(
            f"the harness in the container of {name} is hyperhive {harness[:40]}, and this hive is {VERSION}: too far "
            "apart to work together; make a new image (`hive image build`)"
        )
