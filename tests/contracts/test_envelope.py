"""Envelopes: what goes in comes out, and nothing malformed gets further than `decode`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_contracts.agents import AgentRecord, SpawnAgent
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.messages import SendMessage
from hive_contracts.registry import PAYLOADS

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.builds(SendMessage, to=texts, body=texts), st.integers(0, 9))
def test_an_envelope_survives_its_stream(payload: SendMessage, hop: int) -> None:
    envelope = Envelope.of(payload, source="ada", trace_id="t", hop=hop)
    back = Envelope.decode(envelope.encode())
    assert back == envelope
    assert back.payload(SendMessage) == payload


NEWER: dict[str, Any] = {
    "name": "ada",
    "engine": "scripted",
    "container_since": "2026-01-02T03:04:05Z",
    "created_at": "2026-01-02T03:04:05Z",
    "a": 1,
    "config": {
        "b": 1,
        "limits": {"c": 1, "pids": 99},
        "policy": {"d": 1},
        "mcp_servers": {"x": {"e": 1, "url": "http://x"}},
    },
}


def test_what_a_newer_part_says_besides_is_skipped_at_any_depth() -> None:
    """Else an older broker would take every agent for gone in the middle of a rolling restart."""
    assert AgentRecord.read(json.dumps(NEWER)).config.limits.pids == 99
    command = Envelope.of(SpawnAgent(name="ada"), source="operator", trace_id="t")
    newer = command.model_copy(update={"data": {"name": "ada", "config": NEWER["config"]}})
    assert newer.payload(SpawnAgent).config.limits.pids == 99


@given(st.dictionaries(st.sampled_from(["id", "source", "type", "data", "time", "hop", "x"]), texts))
def test_decoding_rubbish_raises_only_malformed_envelope(fields: dict[str, str]) -> None:
    try:
        Envelope.decode(fields)
    except MalformedEnvelope:
        return


def test_data_of_another_shape_is_malformed() -> None:
    envelope = Envelope(source="ada", type=SendMessage.TYPE, data={"to": 7})
    with pytest.raises(MalformedEnvelope):
        envelope.payload(SendMessage)


def test_deeply_nested_data_is_malformed() -> None:
    fields = Envelope(source="ada", type="x").encode() | {"data": "[" * 100_000}
    with pytest.raises(MalformedEnvelope):
        Envelope.decode(fields)


def test_fields_from_a_later_version_are_ignored() -> None:
    fields = Envelope(source="ada", type="x").encode() | {"colour": "blue"}
    assert Envelope.decode(fields).source == "ada"


def test_wire_names_are_unique() -> None:
    assert len(PAYLOADS) == len({kind.TYPE for kind in PAYLOADS.values()})


def test_half_of_a_character_pair_gets_no_further_than_the_envelope() -> None:
    """JSON can say it, but no connection or store takes it."""
    fields = Envelope(source="ada", type="x").encode() | {"data": '{"\\ud800": "\\uDFFF", "pair": "\\ud83d\\ude00"}'}
    envelope = Envelope.decode(fields)
    assert envelope.data == {"?": "?", "pair": "😀"}
    assert Envelope(source="ada", type="x", data={"text": "\ud800"}).encode()["data"] == '{"text":"?"}'
