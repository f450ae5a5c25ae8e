"""Many objects at once: parts that flow. What is refused, lost or busy in the middle is told as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import sync
from rapyer_core.collection import Context
from rapyer_core.operations import blind, objects
from rapyer_core.operations.blind import Wholes, write_many
from rapyer_core.operations.reading import parts_of, read_many
from rapyer_core.requests import Batch, Blind, Flow, Lost, Pause, Reply, ServerError
from rapyer_core.states import state_of
from tests.objects.models import Hero, Player
from tests.support.frames import words

COUNT = 300
LOADING = ServerError("LOADING", "the server is loading")
QUEUED = [b"OK"]


def players(count: int = COUNT) -> list[Player]:
    return [Player(f"p{number}", score=number, metadata={"k": str(number)}) for number in range(count)]


def test_the_first_parts_are_small_and_none_is_large() -> None:
    parts = parts_of(range(1000))
    assert [len(part) for part in parts] == [32, *[48] * 20, 8]
    assert [each for part in parts for each in part] == list(range(1000))
    assert parts_of([]) == []


async def test_many_are_saved_and_loaded_in_their_order(redis_client: redis.Redis) -> None:
    await rc.save_many(players())
    assert redis_client.zcard("~Player:index:score") == COUNT
    names = [f"p{number}" for number in range(-1, COUNT + 1)]
    found = await rc.get_many(Player, names)
    assert found == [None, *players(), None]
    changed = [player for player in found if player is not None]
    for player in changed:
        player.wins += 1
    await rc.save_many(changed)
    assert await rc.get(Player, "p7") == Player("p7", 7, 1, metadata={"k": "7"})


def test_the_same_by_the_blocking_functions(url: str, redis_client: redis.Redis) -> None:
    sync.init_rapyer(url)
    try:
        sync.save_many(players())
        assert sync.get_many(Player, ["x", *(f"p{number}" for number in range(COUNT))]) == [None, *players()]
    finally:
        sync.close_rapyer()


async def test_one_that_cannot_be_stored_keeps_all_from_being_written(redis_client: redis.Redis) -> None:
    wrong = players()
    wrong[COUNT - 1].metadata = {"k": object()}  # type: ignore[dict-item]  # that is the point
    with pytest.raises(rc.EncodeError) as caught:
        await rc.save_many(wrong)
    assert (caught.value.model, caught.value.pk) == ("Player", f"p{COUNT - 1}")
    assert redis_client.dbsize() == 0
    assert not any(state_of(player).loaded for player in wrong)


async def test_many_are_written_over_what_is_stored_and_nothing_of_that_stays(redis_client: redis.Redis) -> None:
    for number in (3, 70, COUNT - 1):
        redis_client.hset(f"Player:p{number}", mapping={"~": "1", "metadata.old": "x", "odd": "1"})
    redis_client.rpush("Player:p5", "x")
    await rc.save_many(players())
    assert await rc.get_many(Player, [f"p{number}" for number in range(COUNT)]) == players()
    assert not redis_client.hexists("Player:p70", "odd")


async def test_of_several_with_one_key_the_last_counts(redis_client: redis.Redis) -> None:
    many = [*players(), Player("p0", coins=1), *players(5)[1:], Player("p0", coins=2)]
    await rc.save_many(many)
    assert await rc.get(Player, "p0") == Player("p0", coins=2)
    assert all(state_of(player).loaded for player in many)


async def test_one_that_cannot_be_read_is_told_with_its_key(redis_client: redis.Redis) -> None:
    await rc.save_many(players())
    redis_client.hset("Player:p200", "coins", "x")
    names = [f"p{number}" for number in range(COUNT)]
    with pytest.raises(rc.DecodeError) as caught:
        await rc.get_many(Player, names)
    assert (caught.value.pk, caught.value.path) == ("p200", "coins")
    bad: list[rc.DecodeError] = []
    found = await rc.get_many(Player, names, on_error=bad.append)
    assert [(error.pk, error.path) for error in bad] == [("p200", "coins")]
    assert found == players()
    redis_client.delete("Player:p250")
    redis_client.set("Player:p250", "x")
    with pytest.raises(rc.WrongKeyType, match="p250"):
        await rc.get_many(Player, names, on_error=bad.append)


# -- by scripted replies --


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object is a part."""
    monkeypatch.setattr(blind, "FIRST", 1)
    monkeypatch.setattr(blind, "MOST", 1)


def wholes(objs: Sequence[Player]) -> tuple[Context, Wholes]:
    ctx = Context(retry=rc.Retry(deadline=5))
    targets = [ctx.target(obj) for obj in objs]
    return ctx, [(target, target.collection.frame(target.obj, target.pk, target.key)) for target in targets]


def accepted(part: Sequence[Any]) -> list[Reply]:
    """What the server says to a MULTI/EXEC that went through."""
    return [*QUEUED * (len(part) - 1), [1] * (len(part) - 2)]


def refused(part: Sequence[Any], code: str) -> list[Reply]:
    return [b"OK", *[ServerError(code)] * (len(part) - 2), ServerError("EXECABORT")]


class Written:
    def __init__(self) -> None:
        self.pks: list[str] = []

    def __call__(self, part: Wholes) -> None:
        self.pks += [target.pk for target, _ in part]


def begun(operation: Any) -> Flow:
    """The flow that a writing operation asks for; it says what it writes, so that it waits for its turn."""
    flow = next(operation)
    assert isinstance(flow, Flow)
    assert flow.keys
    assert flow.patience > 0
    return flow


@pytest.mark.usefixtures("one_by_one")
def test_each_part_is_a_transaction() -> None:
    ctx, whole = wholes(players(2))
    written = Written()
    operation = write_many(ctx, whole, written)
    flow = begun(operation)
    sent = list(flow.parts)
    assert [[words(each)[:2] if isinstance(each, bytes) else each[:2] for each in part] for part in sent] == [
        [(b"MULTI",), (b"DEL", key), (b"HSET", key), (b"ZADD", b"~Player:index:score"), (b"EXEC",)]
        for key in (b"Player:p0", b"Player:p1")
    ]
    for part in sent:
        flow.take(accepted(part))
    with pytest.raises(StopIteration):
        operation.send(None)
    assert written.pks == ["p0", "p1"]


@pytest.mark.usefixtures("one_by_one")
def test_what_a_loading_server_did_not_write_is_sent_again_and_nothing_else() -> None:
    ctx, whole = wholes(players(3))
    written = Written()
    operation = write_many(ctx, whole, written)
    flow = begun(operation)
    sent = list(flow.parts)
    flow.take(accepted(sent[0]))
    flow.take(refused(sent[1], "LOADING"))
    flow.take(accepted(sent[2]))
    assert written.pks == ["p0", "p2"]
    again = operation.send(None)
    assert isinstance(again, Blind)
    assert list(again.keys) == [b"Player:p1"]
    with pytest.raises(StopIteration):
        operation.send([1] * len(again.commands))
    assert written.pks == ["p0", "p2", "p1"]


@pytest.mark.usefixtures("one_by_one")
def test_after_a_refusal_no_more_is_sent_and_what_was_sent_is_noted() -> None:
    ctx, whole = wholes(players(4))
    written = Written()
    operation = write_many(ctx, whole, written)
    flow = begun(operation)
    ahead = iter(flow.parts)
    sent = [next(ahead), next(ahead), next(ahead)]
    flow.take(accepted(sent[0]))
    flow.take(refused(sent[1], "OOM"))
    assert list(ahead) == []
    flow.take(accepted(sent[2]))
    with pytest.raises(rc.NotApplied) as caught:
        operation.send(None)
    assert (caught.value.code, caught.value.pk) == ("OOM", "p1")
    assert written.pks == ["p0", "p2"]


@pytest.mark.usefixtures("one_by_one")
def test_a_lost_connection_leaves_in_doubt_what_was_sent_and_not_answered() -> None:
    ctx, whole = wholes(players(5))
    written = Written()
    operation = write_many(ctx, whole, written)
    flow = begun(operation)
    ahead = iter(flow.parts)
    sent = [next(ahead), next(ahead), next(ahead)]
    flow.take(accepted(sent[0]))
    with pytest.raises(rc.OutcomeUnknown) as caught:
        operation.throw(Lost(sent=True))
    assert caught.value.sent == ("Player:p1", "Player:p2")
    assert written.pks == ["p0"]


def test_parts_have_few_objects_and_not_many_bytes() -> None:
    small, large = players(200), [Player(f"l{n}", metadata={"k": "x" * 100_000}) for n in range(7)]
    ctx, whole = wholes([*small, *large])
    flow = begun(write_many(ctx, whole, Written()))
    # Two commands of each object, which has an index; MULTI, DEL of all and EXEC.
    assert [(len(part) - 3) // 2 for part in flow.parts] == [32, 48, 48, 48, 24 + 3, 3, 1]


def test_a_connection_that_cannot_be_had_is_said_so() -> None:
    ctx, whole = wholes(players(3))
    operation = write_many(ctx, whole, Written())
    begun(operation)
    with pytest.raises(rc.ConnectionFailed):
        operation.throw(Lost(sent=False))


def reading(count: int) -> tuple[Any, list[Reply]]:
    taken: list[Reply] = []
    parts = [[(b"GET", b"%d" % number)] for number in range(count)]
    return read_many(Context(retry=rc.Retry(deadline=5)), parts, taken.extend), taken


def test_after_a_lost_connection_only_what_was_not_answered_is_read_again() -> None:
    operation, taken = reading(3)
    flow = next(operation)
    list(flow.parts)
    flow.take([b"a"])
    assert operation.throw(Lost(sent=True)) == Batch([(b"GET", b"1")])
    assert operation.throw(Lost(sent=True)) == Batch([(b"GET", b"1")])
    assert operation.send([b"b"]) == Batch([(b"GET", b"2")])
    with pytest.raises(StopIteration):
        operation.send([b"c"])
    assert taken == [b"a", b"b", b"c"]


def test_from_the_first_part_on_that_a_loading_server_did_not_answer_all_are_read_again() -> None:
    operation, taken = reading(3)
    flow = next(operation)
    for replies in ([b"a"], [LOADING], [b"c"]):
        flow.take(replies)
    assert operation.send(None) == Batch([(b"GET", b"1")])
    assert isinstance(operation.send([LOADING]), Pause)
    assert operation.send(None) == Batch([(b"GET", b"1")])
    assert operation.send([b"b"]) == Batch([(b"GET", b"2")])
    with pytest.raises(StopIteration):
        operation.send([b"c"])
    assert taken == [b"a", b"b", b"c"]


def test_a_server_that_does_not_answer_in_time_is_not_asked_again() -> None:
    operation, _ = reading(3)
    next(operation)
    with pytest.raises(rc.ConnectionFailed):
        operation.throw(Lost(sent=True, timed_out=True))


def test_an_unknown_hero_is_no_part_of_it() -> None:
    """What is no model is refused before anything is asked."""
    with pytest.raises(TypeError):
        next(objects.get_many(Context(), Hero, ["a"]))
