"""What an instance remembers of the server: written fields upon what was stored, without a server."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_core.states import ABOVE, State, Unread, attach, remember, remember_reply, see_fields, state_of


class Thing:
    """Anything that has a ``__dict__``."""


names = st.sampled_from([b"a", b"b", b"c", b"d"])
fields = st.dictionaries(names, st.binary(max_size=3), max_size=3)


@given(first=fields, writes=st.lists(st.tuples(fields, fields)), in_one_piece=st.booleans(), looks=st.booleans())
def test_writes_lie_above_what_was_stored_and_the_rest_below(
    first: dict[bytes, bytes],
    writes: list[tuple[dict[bytes, bytes], dict[bytes, bytes]]],
    in_one_piece: bool,
    looks: bool,
) -> None:
    thing = Thing()
    if in_one_piece:
        remember_reply(thing, "x", [b"~", b"1", *(text for pair in first.items() for text in pair)])
    else:
        remember(thing, "x", first)
    expected = dict(first)
    for written, otherwise in writes:
        before, known = state_of(thing), dict(expected)
        see_fields(thing, "x", written, otherwise)
        expected = {**otherwise, **expected, **written}
        if looks:
            assert state_of(thing).stored == expected
        assert before.stored == known  # a copy of the instance still has it
    assert state_of(thing).stored == expected
    assert state_of(thing) == pickle.loads(pickle.dumps(state_of(thing))) == State("x", expected)


def test_nothing_is_noted_of_what_was_never_loaded() -> None:
    thing = Thing()
    see_fields(thing, "x", {b"a": b"1"})
    attach(thing, State("x"))
    see_fields(thing, "x", {b"a": b"1"})
    assert state_of(thing).stored is None
    assert not state_of(thing).loaded


def test_what_could_not_be_read_stays_noted() -> None:
    thing = Thing()
    attach(thing, State("x", {b"a": b"1"}, {"b": Unread({b"b": b"?"}, {b"b": b"0"})}))
    see_fields(thing, "x", {b"a": b"2"}, {b"c": b"0"})
    assert state_of(thing).stored == {b"a": b"2", b"c": b"0"}
    assert (state_of(thing).unread or {})["b"].written == (b"a",)


@pytest.mark.parametrize("many", [ABOVE, ABOVE + 1, 3 * ABOVE])
def test_many_written_fields(many: int) -> None:
    thing = Thing()
    remember(thing, "x", {b"0": b"old", b"z": b"z"})
    for number in range(many):
        see_fields(thing, "x", {b"%d" % number: b"new"})
    assert state_of(thing).stored == {b"z": b"z", **{b"%d" % number: b"new" for number in range(many)}}
