"""Commands typed into an agent page's input line: `/model NAME` and the like. Such a line is never a message."""

from dataclasses import dataclass
from typing import Final

from hive_contracts.errors import InvalidBody
from hive_contracts.models import SetModel, wanted_model
from hive_dashboard.control import CONTROLS, tell
from hive_dashboard.parts import Parts
from hive_dashboard.registry import AgentView
from hive_dashboard.slash_commands import COMMANDS, FIELDS, HELP, MODEL

MARK: Final = "/"


@dataclass(frozen=True, slots=True)
class Slash:
    name: str
    argument: str = ""


def parse(text: str) -> Slash | None:
    """None for a message. A message that begins with a slash is written with a blank before it."""
    if not text.startswith(MARK):
        return None
    name, _, argument = text[len(MARK) :].strip().partition(" ")
    return Slash(name, argument.strip())


async def carry_out(parts: Parts, agent: AgentView, slash: Slash) -> str:
    """What to tell the operator of it. Raises `HiveError`."""
    if slash.name == MODEL:
        await parts.commands.command(SetModel(name=agent.name, model=wanted_model(slash.argument)))
        return model_words(agent, slash.argument)
    if slash.name == HELP:
        return f"There are {_known()}."
    if slash.name not in CONTROLS or slash.name not in {command.name for command in COMMANDS}:
        raise InvalidBody(
            f"there is no command {MARK}{slash.name[:40]}; there are {_known()}. Put a blank before a message that "
            "begins with a slash"
        )
    if slash.argument and slash.name not in FIELDS:
        raise InvalidBody(f"{MARK}{slash.name} takes nothing behind it")
    verb = CONTROLS[slash.name]
    fields = {FIELDS[slash.name]: slash.argument} if slash.name in FIELDS else {}
    await tell(parts.commands, agent, verb.payload(fields))
    return verb.words.format(agent.name)


def model_words(agent: AgentView, wanted: str) -> str:
    """`wanted` is empty when the override was taken away."""
    if not wanted:
        return f"{agent.name} goes back to its own model with its next turn."
    return f"{agent.name} uses {wanted} from its next turn on."


def _known() -> str:
    return ", ".join(f"{MARK}{one.name} {one.field.upper()}".rstrip() for one in COMMANDS)
