"""Markdown of agents as HTML that can do nothing: no markup of theirs, no picture, no link but to the web or by mail.

All that was written is shown: what Markdown would hide (definitions of links, comments, what is nested too deep) stands
there as it was written, and a link says where it leads. What would take long to read is shown as plain text.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from hive_dashboard.text import clean

SCHEMES: Final = frozenset({"http", "https", "mailto"})
MAX_MARKS: Final = 1_000
"""Reading takes time by the square of some characters' number."""

MAX_LINES: Final = 1_000
MAX_NESTING: Final = 20
REMEMBERED: Final = 512

_MARKS: Final = "[*_`|~<!#\\"


@lru_cache(maxsize=REMEMBERED)
def html_of(text: str) -> Markup:
    """For a `<div>`. Safe for any thread."""
    text = clean(text)
    if _is_slow(text):
        return _plain(text)
    tokens = _READER.parse(text)
    if _leaves_out(tokens, text):
        return _plain(text)
    return Markup(_READER.renderer.render(tokens, _READER.options, {}))  # noqa: S704 - by the rules of this module


def _leaves_out(tokens: Sequence[Token], text: str) -> bool:
    """What is nested too deep, and cells that a table's head has no column for, are not read at all."""
    if any(token.level >= MAX_NESTING - 2 for token in tokens):
        return True
    return _letters(text) > sum(map(_letters, _read(tokens)))


def _read(tokens: Sequence[Token]) -> Iterator[str]:
    for token in _all(tokens):
        if token.type not in {"inline", "leads_to"}:
            yield token.content
            yield token.info if token.type == "fence" else str(token.attrs.get("title", ""))


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _is_slow(text: str) -> bool:
    return sum(map(text.count, _MARKS)) > MAX_MARKS or text.count("\n") > MAX_LINES


def _plain(text: str) -> Markup:
    return Markup('<div class="md-plain">{}</div>').format(text)


def _leads_outside(address: str) -> bool:
    """Whether it may be a link; what may not stays as it was written."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme.lower() in SCHEMES and bool(parts.netloc or parts.scheme.lower() == "mailto")


def _tame(state: StateCore) -> None:
    """Clean what escapes of Markdown's own have brought back, take headings out of the page's outline, and say of each
    link where it leads."""
    for token in _all(state.tokens):
        token.content, token.info = clean(token.content), clean(token.info)
        if token.type in {"heading_open", "heading_close"}:
            token.attrs = {"class": f"md-heading md-{token.tag}"} if token.nesting == 1 else {}
            token.tag = "p"
        elif style := token.attrs.pop("style", ""):  # of a table's cell; the page's policy forbids it
            token.attrs["class"] = f"md-{str(style).rpartition(':')[2]}"
    for block in state.tokens:
        if block.children:
            block.children = _with_hosts(block.children)


def _all(tokens: Sequence[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *(token.children or ()))]


def _with_hosts(children: list[Token]) -> list[Token]:
    found: list[Token] = []
    address, said, about = "", "", ""
    for token in children:
        if token.type == "link_open":
            address, said = clean(str(token.attrs.get("href", ""))), ""
            about = clean(str(token.attrs.get("title", "")))
            token.attrs = {
                "href": address,
                "title": f"{address} {about}".rstrip(),
                "rel": "noopener noreferrer nofollow",
                "target": "_blank",
            }
        elif token.type == "link_close":
            found.append(Token("leads_to", "", 0, content=_leads_to(address, said, about)))
        else:
            said += token.content
        found.append(token)
    return found


def _leads_to(address: str, said: str, about: str) -> str:
    """What to show behind a link that says something else than where it leads; empty where it says just that."""
    if not about and address in {said, f"mailto:{said}"}:
        return ""
    parts = urlsplit(address)
    return f"{parts.netloc or parts.path} {about}".rstrip()


class _Rules(RendererHTML):
    """How tokens become HTML, where it is not the reader's own way."""

    def leads_to(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        shown = tokens[index].content
        return str(Markup(' <span class="md-host">{}</span>').format(shown)) if shown else ""

    def fence(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[index]
        kind = Markup('<span class="md-kind">{}</span>').format(token.info.strip()) if token.info.strip() else ""
        return str(Markup("<pre>{}<code>{}</code></pre>\n").format(kind, token.content))

    def table_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="md-table" tabindex="0" role="group" aria-label="Table"><table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"


def _make_reader() -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "breaks": True, "maxNesting": MAX_NESTING}
    reader = MarkdownIt("commonmark", options, renderer_cls=_Rules)
    reader.enable(["table", "strikethrough"]).disable(["image", "entity", "reference", "html_block", "html_inline"])
    reader.core.ruler.push("tame", _tame)
    reader.validateLink = _leads_outside  # type: ignore[method-assign, assignment]
    return reader


_READER: Final = _make_reader()
