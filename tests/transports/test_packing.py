"""Commands that are packed without the transport: the very bytes that it would send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_core import packing
from rapyer_core.requests import Command
from rapyer_core.transports.wire import pack

text = st.binary(max_size=80)


@given(key=text, name=text, by=st.integers(-(2**63), 2**63 - 1))
def test_they_are_what_the_transport_makes_of_the_command(key: bytes, name: bytes, by: int) -> None:
    assert packing.exists(key) == pack([(b"HEXISTS", key, b"~")])
    assert packing.hincrby(key, name, by) == pack([(b"HINCRBY", key, name, by)])
    assert packing.hgetall(key) == pack([(b"HGETALL", key)])


@pytest.mark.parametrize(
    ("packed", "command"),
    [
        (b"*3\r\n$7\r\nHEXISTS\r\n$5\r\nP:\xc3\xa9x\r\n$1\r\n~\r\n", (b"HEXISTS", b"P:\xc3\xa9x", b"~")),
        (b"*4\r\n$7\r\nHINCRBY\r\n$1\r\nk\r\n$1\r\nn\r\n$3\r\n-12\r\n", (b"HINCRBY", b"k", b"n", -12)),
    ],
)
def test_to_the_letter(packed: bytes, command: Command) -> None:
    assert pack([command]) == packed
    assert packed in (packing.exists(b"P:\xc3\xa9x"), packing.hincrby(b"k", b"n", -12))
