"""Envelopes: what goes in comes out, and nothing malformed gets further than `decode`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
