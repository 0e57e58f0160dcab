"""`/api/v1/questions`: what agents ask, and the operator's answers."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hive_contracts.errors import NotFound
from hive_contracts.names import OPERATOR
from hive_contracts.questions import QuestionView
from hive_dashboard.parts import Parts, PartsOf

router = APIRouter(prefix="/questions", tags=["questions"])


class QuestionList(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing, and for those that wait."""

    questions: list[QuestionView]
    next: str | None = None


class NewAnswer(BaseModel):
    answer: str


@router.get("")
def questions(
    parts: PartsOf,
    *,
    waiting: bool = False,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> QuestionList:
    """Everybody's questions, newest first, `before` one's id. `waiting`: those open to the operator, oldest first."""
    if waiting:
        return QuestionList(questions=parts.threads.open_to(OPERATOR, limit=limit))
    found = parts.threads.recent(before=before, limit=limit)
    return QuestionList(questions=found, next=found[-1].id if len(found) == limit else None)


@router.get("/{question_id}")
def question(parts: PartsOf, question_id: str) -> QuestionView:
    """One question."""
    found = parts.threads.get(question_id)
    if found is None:
        raise NotFound(f"there is no question {question_id[:64]!r}; `hive questions` lists those there are")
    return found


@router.post("/{question_id}/answer")
async def answer(parts: PartsOf, question_id: str, new: NewAnswer) -> QuestionView:
    """Answer as the operator; refused with the first answer when there is one."""
    await parts.commands.answer_question(question_id, new.answer)
    return await _now(parts, question_id)


@router.post("/{question_id}/cancel")
async def cancel(parts: PartsOf, question_id: str) -> QuestionView:
    """Take the question back as the operator."""
    await parts.commands.cancel_question(question_id)
    return await _now(parts, question_id)


async def _now(parts: Parts, question_id: str) -> QuestionView:
    """As it is now, and everybody's page with it."""
    await parts.snapshots.refresh()
    return question(parts, question_id)
