"""The operator's questions."""

from dataclasses import dataclass
from typing import ClassVar

from hive_contracts.questions import QuestionView
from hive_dashboard.needs import Need
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class QuestionsPage:
    """`waiting` are open and the operator's to answer; `history` are all, newest first."""

    TEMPLATE: ClassVar[str] = "questions.html"

    shell: Shell
    waiting: tuple[Need, ...]
    history: list[QuestionView]
    older: str = ""
