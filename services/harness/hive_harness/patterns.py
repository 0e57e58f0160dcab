"""Whether a shell command is allowed by a pattern: only one plain command can be, whose every character is understood.

A pattern says nothing about what a shell makes of joins, substitutions, redirections or variables. So a command that
holds any of these, or something that might be one to another shell, matches no pattern and must be asked for. This
errs towards asking; it is no parser. The engine's own rules are not trusted with it.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from hive_contracts.permissions import ANY_COMMAND

_JOINS: Final = frozenset(";|&<>()`$\\!#")
"""Outside of quotes none of these may stand; `#` and `!` only within a word, as in `.#package`."""

_WITHIN_WORD: Final = frozenset("#!")
_IN_DOUBLE_QUOTES: Final = frozenset("`$\\!")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[^ ]*\])?\+?=")
_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_./:@%+,-]+\Z")
_SUBCOMMAND: Final = re.compile(r"[a-z][a-z-]*\Z")


def allows(patterns: Iterable[str], command: str) -> bool:
    """Whether `command` matches one of `patterns` (see `bash_pattern`) as a whole; `*` alone allows anything."""
    patterns = tuple(patterns)
    if ANY_COMMAND in patterns:
        return True
    text = command.strip(" ")
    return is_plain(text) and any(_matches(pattern, text) for pattern in patterns)


def is_plain(command: str) -> bool:
    """Whether it is one command with its arguments, without anything that a shell would act on but quotes and globs."""
    if not command or _ASSIGNMENT.match(command) or not all(_is_visible(character) for character in command):
        return False
    quote, before = "", " "
    for character in command:
        if quote:
            if quote == '"' and character in _IN_DOUBLE_QUOTES:
                return False
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _JOINS and (character not in _WITHIN_WORD or before == " "):
            return False
        before = character
    return not quote


def propose(command: str) -> str:
    """The pattern that would allow `command` and its like; empty when none can."""
    text = command.strip(" ")
    words = text.split(" ")
    if not is_plain(text) or not _PLAIN_WORD.match(words[0]):
        return ""
    prefix = words[:2] if len(words) > 1 and _SUBCOMMAND.match(words[1]) else words[:1]
    return f"{' '.join(prefix)} *"


def _matches(pattern: str, command: str) -> bool:
    """`*` is any text; a final ` *` also stands for no arguments at all."""
    literals = [re.escape(part) for part in pattern.removesuffix(" *").split("*")]
    tail = "( .*)?" if pattern.endswith(" *") else ""
    return re.fullmatch(".*".join(literals) + tail, command) is not None


def _is_visible(character: str) -> bool:
    """No line end, tab, other blank, control or hidden character: another program may split a line there."""
    return character == " " or unicodedata.category(character)[0] not in "CZ"
