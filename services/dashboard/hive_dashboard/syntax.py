"""Colours for source text: which stretches of a line are a comment, a word of the language, a string.

Agents write the text, so the lexers are few, picked by the file's name alone, and what is large or has endless lines
stays plain: no lexer is worth a page that does not come.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from pygments.lexers import get_lexer_by_name
from pygments.token import Token

MAX_CHARACTERS: Final = 64 * 1024
MAX_LINE: Final = 1000

LEXERS: Final = {
    "bash": "bash", "c": "c", "cfg": "ini", "conf": "ini", "css": "css", "go": "go", "h": "c", "html": "html",
    "ini": "ini", "java": "java", "js": "js", "json": "json", "jsx": "js", "lua": "lua", "md": "markdown",
    "nix": "nix", "py": "python", "rb": "ruby", "rs": "rust", "sh": "bash", "sql": "sql", "toml": "toml",
    "ts": "ts", "tsx": "ts", "xml": "xml", "yaml": "yaml", "yml": "yaml",
}  # fmt: skip
"""Suffix → lexer."""

_STYLES: Final = (
    (Token.Comment, "c"),
    (Token.Keyword, "k"),
    (Token.Literal.String, "s"),
    (Token.Literal, "n"),
    (Token.Name.Builtin, "b"),
    (Token.Name.Constant, "b"),
    (Token.Name.Attribute, "f"),
    (Token.Name.Class, "f"),
    (Token.Name.Decorator, "f"),
    (Token.Name.Function, "f"),
    (Token.Name.Namespace, "f"),
    (Token.Name.Tag, "f"),
    (Token.Generic.Heading, "k"),
    (Token.Generic.Subheading, "k"),
)


class Stretch(NamedTuple):
    """A part of a line from `start` to before `end`; `style` is the last letter of its class in diff.css."""

    start: int
    end: int
    style: str


def coloured(path: str, lines: Sequence[str]) -> list[list[Stretch]]:
    """For each line its coloured stretches, in order and apart; all empty where the file has no lexer or is too large.

    `lines` hold no line end.
    """
    found: list[list[Stretch]] = [[] for _ in lines]
    lexer = LEXERS.get(PurePosixPath(path).suffix.removeprefix(".").lower())
    if lexer is None or sum(map(len, lines)) > MAX_CHARACTERS or any(len(line) > MAX_LINE for line in lines):
        return found
    text = "\n".join(lines)
    tokens = list(_lexer(lexer).get_tokens(text))
    if "".join(part for _, part in tokens) != text:  # it dropped a mark of byte order or the like: columns would be off
        return found
    row = column = 0
    for kind, text in tokens:
        style = _style(kind)
        for number, part in enumerate(text.split("\n")):
            if number:
                row, column = row + 1, 0
            if part and style:
                found[row].append(Stretch(column, column + len(part), style))
            column += len(part)
    return found


@cache
def _lexer(name: str) -> Any:
    """One that strips and adds nothing, so that columns stay true."""
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


@cache
def _style(kind: Any) -> str:
    return next((style for known, style in _STYLES if kind in known), "")
