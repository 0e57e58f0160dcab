"""The form that writes a message."""

from dataclasses import dataclass

from hive_contracts.messages import MessageView


@dataclass(frozen=True, slots=True)
class ComposeForm:
    """`to` is empty where the operator picks; `fixed` where the recipient is given by the place."""

    to: str = ""
    body: str = ""
    fixed: bool = False
    in_reply_to: str = ""
    nonce: str = ""
    back: str = "/"
    error: str = ""
    sent: str = ""
    recipients: tuple[str, ...] = ()
    focus: bool = False

    @property
    def id(self) -> str:
        return f"compose-{self.in_reply_to}" if self.in_reply_to else "compose"


def reply_form(message: MessageView, *, nonce: str = "", back: str = "/") -> ComposeForm:
    return ComposeForm(to=message.sender, fixed=True, in_reply_to=message.id, nonce=nonce, back=back)
