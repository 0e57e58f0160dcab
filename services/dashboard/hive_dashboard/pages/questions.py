"""`/questions`, and the forms that answer and cancel a question."""

import asyncio
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from hive_contracts.names import OPERATOR
from hive_dashboard.needs import need_of
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views.questions import QuestionsPage
from hive_dashboard.views.shell import Flash

PAGE_LENGTH: Final = 50

router = APIRouter()


class Given(BaseModel):
    """The fields of a question's form: options chosen, and what was written besides."""

    choice: list[str] = []
    text: str = ""
    back: str = "/"

    @property
    def answer(self) -> str:
        """What was chosen, one a line, then what was written."""
        written = self.text.replace("\r\n", "\n").strip()
        return "\n".join([*self.choice, *([written] if written else [])])


@router.get("/questions", response_class=HTMLResponse)
async def questions(
    parts: PartsOf, session: SignedIn, before: Annotated[str | None, Query(max_length=64)] = None
) -> str:
    shell = make_shell(parts, session, "Questions", path="/questions", stream="" if before else "page=home")
    waiting = await asyncio.to_thread(parts.threads.open_to, OPERATOR)
    found = await asyncio.to_thread(parts.threads.recent, before=before, limit=PAGE_LENGTH)
    older = urlencode({"before": found[-1].id}) if len(found) == PAGE_LENGTH else ""
    view = QuestionsPage(
        shell,
        waiting=() if before else tuple(need_of(question) for question in waiting),
        history=found,
        older=f"/questions?{older}" if older else "",
    )
    return parts.renderer.page(view)


@router.post("/answer-question/{question_id}")
async def answer(
    request: Request, parts: PartsOf, session: SignedIn, question_id: str, given: Annotated[Given, Form()]
) -> Response:
    await parts.commands.answer_question(question_id, given.answer)
    await parts.snapshots.refresh()
    return told(request, parts, session, Flash("Answered."), back=given.back)


@router.post("/cancel-question/{question_id}")
async def cancel(
    request: Request, parts: PartsOf, session: SignedIn, question_id: str, given: Annotated[Given, Form()]
) -> Response:
    await parts.commands.cancel_question(question_id)
    await parts.snapshots.refresh()
    return told(request, parts, session, Flash("Cancelled: the asker is told so."), back=given.back)
