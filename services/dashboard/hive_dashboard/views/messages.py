"""Messages: all of them, one with its conversation, and those that were given up."""

from dataclasses import dataclass
from typing import ClassVar

from hive_contracts.messages import MessageView
from hive_dashboard.views.compose import ComposeForm
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are shown: those of `agent`, those of a `kind`; empty for all."""

    agent: str = ""
    kind: str = ""

    @property
    def active(self) -> bool:
        return bool(self.agent or self.kind)


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """`live`: the newest, kept up to date."""

    TEMPLATE: ClassVar[str] = "messages.html"

    shell: Shell
    messages: list[MessageView]
    agents: tuple[str, ...]
    chosen: Filter
    older: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class MessagePage:
    TEMPLATE: ClassVar[str] = "message.html"

    shell: Shell
    message: MessageView
    conversation: list[MessageView]
    compose: ComposeForm | None = None


@dataclass(frozen=True, slots=True)
class DeadLettersPage:
    """`letters`: each with the reason why it was given up."""

    TEMPLATE: ClassVar[str] = "dead_letters.html"

    shell: Shell
    letters: tuple[tuple[MessageView, str], ...]
