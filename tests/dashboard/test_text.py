"""Texts that try to be more than text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_dashboard.render import Renderer
from hive_dashboard.text import clean, one_line

TRICKS = [
    ("terminal colour", "\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
    ("terminal title", "\x1b]0;owned\x07", "␛]0;owned␇"),
    ("one-byte escape", "a\x9b31mb", "a‹U+009B›31mb"),
    ("carriage return over the line", "harmless\rrm -rf", "harmless␍rm -rf"),
    ("backspaces", "safe\b\b\b\bevil", "safe␈␈␈␈evil"),
    ("null", "a\0b", "a␀b"),
    ("direction override", "invoice\u202egpj.exe", "invoice‹U+202E›gpj.exe"),
    ("direction isolate", "\u2066a\u2069", "‹U+2066›a‹U+2069›"),
    ("direction marks", "a\u200eb\u200fc\u061cd", "a‹U+200E›b‹U+200F›c‹U+061C›d"),
    ("zero-width space in a name", "hm1\u200bnd", "hm1‹U+200B›nd"),
    ("byte order mark", "\ufeffhi", "‹U+FEFF›hi"),
    ("soft hyphen", "pass\xadword", "pass‹U+00AD›word"),
    ("hidden tags", "ok\U000e0041\U000e007f", "ok‹U+E0041›‹U+E007F›"),
    ("hidden variation selectors", "x\U000e0100", "x‹U+E0100›"),
    ("line separators", "a\u2028b\u2029c", "a\nb\nc"),
    ("Windows line ends", "a\r\nb", "a\nb"),
    ("half a surrogate", "a\ud800b", "a\ufffdb"),
    ("blank letter", "a\u3164b", "a‹U+3164›b"),
    ("stacked accents", "a" + "\u0301" * 40, "a" + "\u0301" * 4),
]

ORDINARY = [
    "plain text",
    "two\nlines\tand a tab",
    "Grüße, naïve café",
    "日本語テキスト",
    "العربية نص",
    "עברית",
    "می‌خواهم",
    "👩‍👩‍👧 ❤️ 🇩🇪",
    "नमस्ते",
    "x² ≤ y → ∞",
]


@pytest.mark.parametrize(("text", "shown"), [trick[1:] for trick in TRICKS], ids=[trick[0] for trick in TRICKS])
def test_a_trick_becomes_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_any_language_is_unchanged(text: str) -> None:
    assert clean(text) == text


@given(st.text())
def test_cleaning_twice_changes_nothing_and_the_result_can_be_encoded(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    once.encode()


@pytest.mark.parametrize("text", [trick[1] for trick in TRICKS] + ["<script>alert(1)</script>\"'&"])
def test_every_expression_of_a_template_is_cleaned_and_escaped(text: str) -> None:
    template = Renderer().environment.from_string('<p title="{{ text }}">{{ text }}</p>')
    html = template.render(text=text)
    assert "<script" not in html
    assert not set(html) & {"\x1b", "\x9b", "\u202e", "\u200b", "\b", "\r", "\0", "\ud800"}


@given(st.text(), st.integers(min_value=2, max_value=200))
def test_a_line_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
