"""Text that others wrote, made safe to look at: nothing in it can move, hide or reverse what stands around it.

Escaping of markup is the template engine's work. Here characters that a browser would obey instead of show (terminal
escapes, direction overrides, invisible and deprecated ones) become visible marks, and what cannot be encoded goes.
"""

import re
from typing import Final

_VISIBLE_CONTROLS: Final = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: "\u2421"
}

_HIDDEN: Final = re.compile(
    "["
    "\x80-\x9f"  # C1 controls
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # invisible letters and hyphens
    "\u200b\u200e\u200f\u2060-\u206f\u202a-\u202e\ufeff"  # zero width, direction, deprecated formats
    "\ufff0-\ufffb"  # annotations
    "\U000e0000-\U000e0fff"  # tags and further variation selectors
    "]"
)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_LINE_ENDS: Final = re.compile("\r\n|\u2028|\u2029")
_STACKED: Final = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)


def clean(text: str) -> str:
    """`text` as plain characters. Idempotent; ordinary text of any language comes back unchanged."""
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", text).translate(_VISIBLE_CONTROLS)
    text = _SURROGATES.sub("\ufffd", text)
    text = _HIDDEN.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)
    return _STACKED.sub(r"\1", text)


def one_line(text: str, limit: int = 120) -> str:
    """The beginning of `text` on one line, at most `limit` characters."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"
