"""Secrets of known forms do not leave a container, wherever in an event they stand; nothing else is touched."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_contracts.turns import MAX_TEXT, TurnRaw, TurnText, TurnToolCall, TurnToolResult
from hive_harness.live import LivePublisher
from hive_harness.redaction import Redactor
from hive_harness.whole_texts import MAX_FILES, WholeTexts
from hive_runtime.memory_bus import MemoryBus

OWN = "RedisPassword_4711"
LETTERS = string.ascii_letters + string.digits


def of(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


KEY_LINES = st.lists(of(LETTERS + "+/", 20, 64), min_size=1, max_size=4).map("\n".join)
SECRETS = st.one_of(
    st.just(OWN),
    of(LETTERS + "_-", 20, 100).map(lambda text: f"sk-ant-api03-{text}"),
    of(LETTERS + "_-", 20, 100).map(lambda text: f"sk-ant-oat01-{text}"),
    of(LETTERS, 32, 48).map(lambda text: f"sk-{text}"),
    of(LETTERS, 36, 36).map(lambda text: f"ghp_{text}"),
    of(LETTERS + "_", 22, 82).map(lambda text: f"github_pat_{text}"),
    of(string.ascii_uppercase + string.digits, 16, 16).map(lambda text: f"AKIA{text}"),
    of(LETTERS, 24, 40).map(lambda text: f"xoxb-{text}"),
    KEY_LINES.map(lambda text: f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----"),
    of(LETTERS, 20, 40).map(lambda text: f"Authorization: Bearer {text}"),
)
AROUND = st.text(" .,;:()[]{}\n\t'\"=!?", max_size=20)


def secret_part(secret: str) -> str:
    """What must not be seen: of a header its value, of a key block what is in it."""
    if "PRIVATE KEY" in secret:
        return secret.split("\n")[1]
    return secret.removeprefix("Authorization: Bearer ")


@given(AROUND, SECRETS, AROUND)
def test_no_secret_is_left_in_a_text_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    redactor = Redactor([OWN])
    told = redactor.text(f"{before}{secret}{after}")
    assert secret_part(secret) not in told
    assert "[redacted:" in told
    assert redactor.text(told) == told


@given(AROUND, SECRETS, AROUND)
def test_no_secret_is_left_in_json_that_is_told_as_a_text(before: str, secret: str, after: str) -> None:
    told = Redactor([OWN]).text(json.dumps({"output": f"{before}{secret}{after}"}))
    assert secret_part(secret) not in told


@given(SECRETS, st.integers(MAX_TEXT - 200, MAX_TEXT + 200))
def test_no_half_of_a_secret_is_left_where_a_text_is_cut(secret: str, place: int) -> None:
    live = LivePublisher(MemoryBus(), "alice", redactor=Redactor([OWN]))
    told = live.publish(TurnText(turn_id="t-1", seq=0, text="x" * (place - 1) + " " + secret)).data["text"]
    assert len(told) <= MAX_TEXT
    assert secret_part(secret)[:12] not in told


JSON = st.recursive(
    SECRETS | st.text(max_size=10) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECRETS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), SECRETS)
def test_no_secret_is_left_anywhere_in_an_event(arguments: dict[str, Any], secret: str) -> None:
    live = LivePublisher(MemoryBus(), "alice", redactor=Redactor([OWN]))
    call = TurnToolCall(turn_id="t-1", seq=0, call_id="c", name="Bash", input={"": secret} | arguments)
    for event in (call, TurnRaw(turn_id="t-1", seq=1, event=json.dumps({"new": secret}))):
        assert secret_part(secret) not in json.dumps(live.publish(event).data)


@pytest.mark.parametrize(
    "text",
    [
        "a task-assignment for the risk-averse: sk-learn, sk-image",
        "https://example.org/a:b@c and user@host:22",
        "the bearer of this note; Authorization is needed",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "m-0123456789abcdef t-01jabcdefghjkmnpqrstvwxyz0 4c3f2e1d0c9b8a7f6e5d4c3b2a190817",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert Redactor([OWN]).text(text) == text


def test_what_stands_before_a_secret_stays() -> None:
    redactor = Redactor()
    assert redactor.text("redis://ada:s3cret@db:6379/0") == "redis://ada:[redacted:password]@db:6379/0"
    assert redactor.text("curl -H 'x-api-key: abcdefgh12'") == "curl -H 'x-api-key: [redacted:api-key]'"


def test_a_text_that_is_cut_points_to_the_whole_of_it_without_its_secrets(tmp_path: Path) -> None:
    live = LivePublisher(MemoryBus(), "alice", redactor=Redactor([OWN]), whole=WholeTexts(tmp_path))
    text = f"{OWN} " + "word " * 10_000
    told = live.publish(TurnToolResult(turn_id="t-1", seq=0, call_id="c", text=text)).data
    assert told["text"].endswith("… (cut)")
    assert (tmp_path / told["whole"]).read_text() == text.replace(OWN, "[redacted:own]")
    assert (tmp_path / told["whole"]).stat().st_mode & 0o007 == 0, "for this user and the engine's"
    assert live.publish(TurnText(turn_id="t-1", seq=1, text="short")).data["whole"] == ""


def test_a_calls_input_that_is_cut_points_to_the_whole_of_it(tmp_path: Path) -> None:
    live = LivePublisher(MemoryBus(), "alice", whole=WholeTexts(tmp_path))
    arguments = {"file_path": "a", "content": "line\n" * 9_000}
    told = live.publish(TurnToolCall(turn_id="t-1", seq=0, call_id="c", name="Write", input=arguments)).data
    assert len(json.dumps(told["input"])) < 2 * MAX_TEXT
    assert json.loads((tmp_path / told["whole"]).read_text()) == arguments


def test_whole_texts_are_bounded_over_restarts_and_the_newest_stay(tmp_path: Path) -> None:
    paths = [WholeTexts(tmp_path).keep(str(number)) for number in range(5)]
    texts = WholeTexts(tmp_path)
    paths += [texts.keep(str(number)) for number in range(5, MAX_FILES + 5)]
    left = sorted(path.name for path in (tmp_path / ".hive" / "texts").iterdir())
    assert len(left) == MAX_FILES
    assert sorted((tmp_path / path).read_text() for path in paths[-3:]) == ["202", "203", "204"]


def test_an_event_goes_out_where_its_whole_text_cannot_be_kept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = tmp_path / "state"
    state.mkdir()
    (state / ".hive").symlink_to(elsewhere)
    live = LivePublisher(MemoryBus(), "alice", whole=WholeTexts(state))
    told = live.publish(TurnText(turn_id="t-1", seq=0, text="x" * 20_000)).data
    assert (len(told["text"]), told["whole"]) == (MAX_TEXT, "")
    assert list(elsewhere.iterdir()) == []
