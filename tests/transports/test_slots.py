"""Slots of a cluster: keys, hash tags, maps, and what nodes say of each other. No server."""

from __future__ import annotations

from typing import Any

import pytest

from rapyer_core import packing
from rapyer_core.requests import ServerError
from rapyer_core.slots import (
    Elsewhere,
    SlotMap,
    Unit,
    by_slot,
    elsewhere,
    is_tagged,
    key_of,
    slot_of,
    suits_cluster,
    unit_of,
    units_of,
)

HERE = ("10.0.0.1", 7000)


@pytest.mark.parametrize(
    ("key", "slot"),
    # The first is the check value of the specification's CRC16, 0x31C3; the others are what CLUSTER KEYSLOT says.
    [(b"123456789", 0x31C3), (b"foo", 12182), (b"bar", 5061), (b"Player:alice", 12484), (b"", 0), (b"\xff\x00", 1023)],
)
def test_the_slot_of_a_key(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "hashed"),
    # The examples of the Redis Cluster specification, and keys of the library.
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", None),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", None),
        (b"foo}bar{", None),
        (b"~{Player:alice}lock:transfer", b"Player:alice"),
        (b"{game}:~{{game}:Player:alice}lock:transfer", b"game"),
    ],
)
def test_a_hash_tag_stands_for_the_key(key: bytes, hashed: bytes | None) -> None:
    if hashed is None:
        assert slot_of(key) not in {slot_of(part) for part in (b"", b"bar", b"foo")}
    else:
        assert slot_of(key) == slot_of(hashed)


@pytest.mark.parametrize(
    ("prefix", "tagged", "suits"),
    [
        ("", False, True),
        ("app:", False, True),
        ("{game}:", True, True),
        ("app:{game}", True, True),
        ("{game", False, False),
        ("{}", False, False),
        ("game}", False, False),
        ("{a}{b}", True, True),
    ],
)
def test_prefixes(prefix: str, tagged: bool, suits: bool) -> None:
    assert (is_tagged(prefix), suits_cluster(prefix)) == (tagged, suits)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ((b"HGETALL", b"k"), b"k"),
        ((b"SET", b"k", b"1", b"PX", 5), b"k"),
        ((b"WATCH", b"k", b"l"), b"k"),
        ((b"TIME",), None),
        ((b"INFO", b"server"), None),
        ((b"SCAN", 0, b"MATCH", b"*"), None),
        ((b"PUBLISH", b"channel", b""), None),
        (packing.exists(b"a\r\n$3\r\nb"), b"a\r\n$3\r\nb"),
        (packing.hgetall(b"k" * 300), b"k" * 300),
        (packing.count(b"k", b"score", 5), b"k"),
        (packing.put(b"k", {b"a": b"1"}), b"k"),
        (packing.delete_all([b"k", b"l"]), b"k"),
        (packing.delete(b""), b""),
    ],
)
def test_the_key_of_a_command(command: Any, key: bytes | None) -> None:
    assert key_of(command) == key


def test_commands_without_a_key_go_with_those_that_have_one() -> None:
    time, get = (b"TIME",), (b"GET", b"foo")
    assert units_of([time, get]) == [Unit(12182, (time,)), Unit(12182, (get,))]
    assert units_of([time, time]) == [Unit(None, [time, time])]
    assert unit_of([(b"MULTI",), get, (b"EXEC",)]) == Unit(12182, [(b"MULTI",), get, (b"EXEC",)])


def test_values_by_slot_keep_their_order() -> None:
    keys = [b"a", b"{t}1", b"b", b"{t}2", b"a"]
    assert by_slot(keys, lambda key: key) == [[b"a", b"a"], [b"{t}1", b"{t}2"], [b"b"]]


@pytest.mark.parametrize(
    ("replies", "there"),
    [
        ([], None),
        ([b"MOVED 1 10.0.0.2:7001", 5, None, [b"x"]], None),
        ([b"QUEUED", ServerError("MOVED", "MOVED 3999 10.0.0.2:7001")], Elsewhere(3999, ("10.0.0.2", 7001), False)),
        ([ServerError("ASK", "ASK 7 10.0.0.2:7001")], Elsewhere(7, ("10.0.0.2", 7001), True)),
        ([ServerError("MOVED", "MOVED 1 :7001")], Elsewhere(1, ("10.0.0.1", 7001), False)),
        ([ServerError("MOVED", "MOVED 1 ::1:7001")], Elsewhere(1, ("::1", 7001), False)),
        ([ServerError("MOVED", "MOVED 1 nowhere")], None),
        ([ServerError("MOVED", "MOVED")], None),
        ([ServerError("ERR", "ERR 1 10.0.0.2:7001")], None),
    ],
)
def test_where_a_node_says_to_go(replies: list[Any], there: Elsewhere | None) -> None:
    assert elsewhere(replies, HERE) == there


def test_a_map_of_slots() -> None:
    ranges = [
        [0, 99, [b"10.0.0.2", 7001, b"id"], [b"10.0.0.9", 7009, b"replica"]],
        [100, 16383, [b"", 7000, b"id"]],
    ]
    made = SlotMap.read(ranges, HERE[0])
    assert [made.owner(slot) for slot in (0, 99, 100, 16383)] == [("10.0.0.2", 7001)] * 2 + [HERE] * 2
    assert made.nodes == [HERE, ("10.0.0.2", 7001)]
    same, before = SlotMap.read(ranges, HERE[0]), made.mark
    assert same.mark == before
    made.moved(99, HERE)
    assert (made.owner(99), made.owner(98)) == (HERE, ("10.0.0.2", 7001))
    assert made.mark != before


def test_a_map_with_holes() -> None:
    assert SlotMap().owner(5) is None
    assert SlotMap().nodes == []
    assert SlotMap.read([[0, 0, [None, 7000, b"id"]], [1, 1, [b"?", 7000, b"id"]]], "h").nodes == [("h", 7000)]
