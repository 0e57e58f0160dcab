"""`/api/v1/sign-in-links`: one-time links for a browser."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel

from hive_dashboard.parts import PartsOf

router = APIRouter(prefix="/sign-in-links", tags=["sign-in"])


class SignInLink(BaseModel):
    url: str


@router.post("", status_code=HTTPStatus.CREATED)
async def make(request: Request, parts: PartsOf) -> SignInLink:
    """A link that signs one browser in, once, within 15 minutes. Its address is the one this request came by."""
    return SignInLink(url=f"{request.url.scheme}://{request.url.netloc}/sign-in?token={parts.store.new_link()}")
