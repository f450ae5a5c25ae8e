"""Commands that are packed without the transport: the very bytes that it would send."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_core import packing
from rapyer_core.requests import Command
from rapyer_core.transports.wire import pack

text = st.binary(max_size=80)


@given(key=text, name=text.filter(b"n2".__ne__), value=text, by=st.integers(-(2**63), 2**63 - 1))
def test_they_are_what_the_transport_makes_of_the_commands(key: bytes, name: bytes, value: bytes, by: int) -> None:
    exists = (b"HEXISTS", key, b"~")
    assert packing.exists(key) == pack([exists])
    assert packing.count(key, name, by) == pack([exists, (b"HINCRBY", key, name, by)])
    assert packing.put(key, {name: value, b"n2": b"2"}) == pack([exists, (b"HSET", key, name, value, b"n2", b"2")])
    assert packing.hgetall(key) == pack([(b"HGETALL", key)])


EXISTS = b"*3\r\n$7\r\nHEXISTS\r\n$5\r\nP:\xc3\xa9x\r\n$1\r\n~\r\n"
COUNT = b"*4\r\n$7\r\nHINCRBY\r\n$5\r\nP:\xc3\xa9x\r\n$1\r\nn\r\n$3\r\n-12\r\n"


@pytest.mark.parametrize(
    ("packed", "commands"),
    [
        (EXISTS, [(b"HEXISTS", b"P:\xc3\xa9x", b"~")]),
        (EXISTS + COUNT, [(b"HEXISTS", b"P:\xc3\xa9x", b"~"), (b"HINCRBY", b"P:\xc3\xa9x", b"n", -12)]),
    ],
)
def test_to_the_letter(packed: bytes, commands: Sequence[Command]) -> None:
    assert pack(commands) == packed
    assert packed in (packing.exists(b"P:\xc3\xa9x"), packing.count(b"P:\xc3\xa9x", b"n", -12))
