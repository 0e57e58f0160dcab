"""Markdown of agents: what it may look like, what it can never do, and that nothing of it is hidden."""

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.hostile_texts import HOSTILE, LINKS

from hive_dashboard.markdown import MAX_LINES, MAX_MARKS, html_of

TAGS = {
    *("p", "br", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "a", "span", "div"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"class", "href", "title", "rel", "target", "start", "tabindex", "role", "aria-label"}

markdown = st.text(st.sampled_from("ab \n\t[]()<>!*_`~|#>-+.1:\\&;\"'/=\u202e\x1b"), max_size=300)


def seen(text: str) -> str:
    """What a reader of the HTML sees, without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", str(html_of(text))))


def is_tame(markup: str) -> None:
    for name, attributes in re.findall(r"<([a-z0-9]+)((?: [^<>]*)?)>", markup):
        assert name in TAGS
        found = re.findall(r' ([a-z-]+)="([^"]*)"', attributes)
        assert {key for key, _ in found} <= ATTRIBUTES
        for key, value in found:
            assert key != "href" or re.match(r"(https?|mailto):", value), value
            assert key != "class" or value.startswith("md-")
    assert not set(markup) & {"\x1b", "\u202e", "\0", "\b"}


def test_ordinary_markdown_is_drawn() -> None:
    drawn = str(html_of("# A\n\n**b** `c` ~~d~~\n\n- e\n\n1. f\n\n> g\n\n|h|\n|-:|\n|i|\n\n```py\nj\n```\n"))
    for part in (
        '<p class="md-heading md-h1">A</p>',
        "<strong>b</strong> <code>c</code> <s>d</s>",
        "<li>e</li>",
        "<blockquote>",
        '<td class="md-right">i</td>',
        '<span class="md-kind">py</span><code>j',
    ):
        assert part in drawn


def test_a_link_opens_apart_and_says_where_it_leads() -> None:
    drawn = str(html_of("[https://claude.ai](https://evil.example/login)"))
    assert 'href="https://evil.example/login"' in drawn
    assert 'rel="noopener noreferrer nofollow" target="_blank"' in drawn
    assert '<span class="md-host">evil.example</span>' in drawn
    assert "md-host" not in html_of("<https://ok.example>")


@pytest.mark.parametrize("one", HOSTILE, ids=[one.name for one in HOSTILE])
def test_no_hostile_text_becomes_anything_but_text_and_tame_markup(one: object) -> None:
    text = next(it.text for it in HOSTILE if it is one)
    is_tame(str(html_of(text)))


@pytest.mark.parametrize("one", LINKS, ids=[one.name for one in LINKS])
def test_no_link_but_to_the_web_or_by_mail(one: object) -> None:
    text = next(it.text for it in LINKS if it is one)
    for address in re.findall(r'href="([^"]*)"', str(html_of(text))):
        assert re.match(r"(https?://|mailto:)", html.unescape(address))


@given(markdown)
def test_whatever_is_written_the_result_is_tame(text: str) -> None:
    is_tame(str(html_of(text)))


@given(markdown)
def test_every_letter_that_was_written_is_seen(text: str) -> None:
    assert sum(map(seen(text).count, "ab")) >= sum(map(text.count, "ab"))


@pytest.mark.parametrize(
    "text",
    [
        "[hidden]: http://x.example 'told in secret'",
        "<!-- hidden -->",
        "&#x202e;hidden &lt;",
        ">" * 60 + " hidden",
        "\n".join("  " * depth + "- hidden" for depth in range(60)),
        '[x](http://x.example "hidden")',
        "```hidden\ncode\n```",
        "![hidden](http://x.example/a.png)",
        "|a|\n|-|\n|b|hidden|",
    ],
)
def test_nothing_that_markdown_would_hide_is_hidden(text: str) -> None:
    assert seen(text).count("hidden") >= text.count("hidden")


PATHOLOGICAL = {
    "brackets": "[" * 16_000,
    "links": "[](" * 5_000,
    "stars": "*a " * 5_000,
    "strong": "a**b" * 4_000,
    "quotes": "> " * 8_000,
    "ticks": "".join("`" * length + " " for length in range(178)),
    "table": "|a|b|\n|-|-|\n" + "|x\n" * 5_000,
    "hashes": "# " * 8_000,
    "escapes": "\\" * 16_000,
    "lines": "a\n" * 8_000,
    "angles": "<http://" * 2_000,
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_what_would_take_long_to_read_does_not(name: str) -> None:
    """By the processor's time, against a plain text of the same length."""

    def spent(text: str) -> float:
        began = time.process_time()
        html_of.__wrapped__(text)
        return time.process_time() - began

    text = PATHOLOGICAL[name]
    assert min(spent(text) for _ in range(3)) < 0.1
    shorter = text[:MAX_MARKS]
    assert min(spent(shorter) for _ in range(3)) < 0.1
    assert MAX_LINES <= MAX_MARKS
