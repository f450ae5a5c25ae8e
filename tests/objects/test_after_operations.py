"""What save() does after field operations on the same, perhaps stale, object: no update is lost."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import attrs
import pytest
import redis

import rapyer_core as rc
from rapyer_core.requests import Update
from rapyer_core.sessions import current
from rapyer_core.watches import Watches
from tests.objects.models import Achievement, Box, Hero, Player, Stats


async def test_save_after_increment_of_a_stale_object_writes_neither_old_value() -> None:
    player = Player("alice")
    await rc.save(player)
    await rc.increment(rc.ref(Player, "alice"), Player.coins, 10)
    assert await rc.increment(player, Player.coins, 1) == 11
    assert player.coins == 11
    player.wins = 1
    await rc.save(player)
    found = await rc.get(Player, "alice")
    assert (found.coins, found.wins) == (11, 1)


async def test_feature_1_then_feature_2_keeps_the_points() -> None:
    player = Player("alice")
    await rc.save(player)
    await rc.increment(player, Player.score, 100)
    player.wins += 1
    await rc.save(player)
    assert (await rc.get(Player, "alice")).score == 100


@pytest.mark.parametrize("stale", [False, True])
async def test_save_after_append(stale: bool) -> None:
    box = Box("b", items=["a"])
    await rc.save(box)
    if stale:
        await rc.append(rc.ref(Box, "b"), Box.items, "other")
    await rc.append(box, Box.items, "x")
    assert box.items == (["a", "other", "x"] if stale else ["a", "x"])
    box.items.append("y")
    box.number = 1
    await rc.save(box)
    found = await rc.get(Box, "b")
    assert found == box
    assert found.items[-2:] == ["x", "y"]


async def test_append_beside_unsaved_elements_loses_none() -> None:
    box = Box("b", items=["a"])
    await rc.save(box)
    box.items.append("unsaved")
    await rc.append(box, Box.items, "x")
    assert (await rc.get(Box, "b")).items == ["a", "x"]
    await rc.save(box)
    assert sorted((await rc.get(Box, "b")).items) == ["a", "unsaved", "x"]


async def test_append_to_a_list_that_another_replaced_by_one_of_equal_length() -> None:
    """The local list may be stale in its first elements, but a save cannot write them."""
    box = Box("b", items=["a", "b"])
    await rc.save(box)
    await rc.assign(rc.ref(Box, "b"), Box.items, ["c", "d"])
    await rc.append(box, Box.items, "x")
    box.items.append("y")
    with pytest.raises(rc.Conflict):
        await rc.save(box)
    assert (await rc.get(Box, "b")).items == ["c", "d", "x"]


async def test_a_stale_handle_sees_the_whole_list_after_each_list_operation() -> None:
    box = Box("b", items=["a", "b", "c"])
    await rc.save(box)
    other = rc.ref(Box, "b")
    await rc.append(other, Box.items, "d")
    assert await rc.pop(box, Box.items) == "d"
    assert box.items == ["a", "b", "c"]
    await rc.append(other, Box.items, "e")
    await rc.insert_at(box, Box.items, 0, "z")
    assert box.items == ["z", "a", "b", "c", "e"]
    await rc.append(other, Box.items, "f")
    await rc.remove(box, Box.items, "a")
    assert box.items == ["z", "b", "c", "e", "f"]
    await rc.append(other, Box.items, "g")
    assert await rc.modify(box, Box.items, sorted) == ["b", "c", "e", "f", "g", "z"]
    assert box.items == ["b", "c", "e", "f", "g", "z"]
    await rc.clear(box, Box.items)
    assert box.items == []
    await rc.save(box)
    assert await rc.get(Box, "b") == box


async def test_an_operation_inside_a_list_shows_the_whole_list() -> None:
    """Index 2 of the stored list may be another element than index 2 of the local one."""
    box = Box("b", heroes=[Hero("a"), Hero("b"), Hero("c")])
    await rc.save(box)
    await rc.insert_at(rc.ref(Box, "b"), Box.heroes, 0, Hero("new"))
    assert await rc.increment(box, Box.heroes[2].hp, 5) == 15
    assert [hero.name for hero in box.heroes] == ["new", "a", "b", "c"]
    assert box == await rc.get(Box, "b")
    await rc.clear(rc.ref(Box, "b"), Box.heroes)
    await rc.append(rc.ref(Box, "b"), Box.heroes, Hero("only"))
    await rc.assign(box, Box.heroes[0].hp, 1)
    assert box.heroes == [Hero("only", 1)]


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_put_keeps_unsaved_entries_and_saves_them_later(exactly_once: bool) -> None:
    box = Box("b", counts={"a": 1})
    await rc.save(box)
    box.counts["unsaved"] = 5
    await rc.put(rc.ref(Box, "b"), Box.counts, "other", 7)
    await rc.put(box, Box.counts, "b", 2, exactly_once=exactly_once)
    assert box.counts == {"a": 1, "unsaved": 5, "b": 2}
    await rc.save(box)
    assert (await rc.get(Box, "b")).counts == {"a": 1, "unsaved": 5, "b": 2, "other": 7}


async def test_remove_of_an_entry_that_was_changed_locally_is_final() -> None:
    box = Box("b", counts={"a": 1, "b": 2})
    await rc.save(box)
    box.counts["a"] = 9
    await rc.remove(box, Box.counts, "a")
    assert box.counts == {"b": 2}
    await rc.save(box)
    assert (await rc.get(Box, "b")).counts == {"b": 2}


async def test_pop_and_clear_of_a_dict_then_save() -> None:
    box = Box("b", counts={"a": 1, "b": 2})
    await rc.save(box)
    assert await rc.pop(box, Box.counts, "a") == 1
    assert box.counts == {"b": 2}
    await rc.put(rc.ref(Box, "b"), Box.counts, "c", 3)
    await rc.clear(box, Box.counts)
    assert box.counts == {}
    await rc.save(box)
    assert (await rc.get(Box, "b")).counts == {}


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_set_operations_on_a_stale_object_then_save(exactly_once: bool) -> None:
    box = Box("b", members={1, 2})
    await rc.save(box)
    await rc.add(rc.ref(Box, "b"), Box.members, 9)
    box.members.add(5)
    await rc.discard(box, Box.members, 1, exactly_once=exactly_once)
    await rc.add(box, Box.members, 3, exactly_once=exactly_once)
    assert box.members == {2, 3, 5}
    await rc.save(box)
    assert (await rc.get(Box, "b")).members == {2, 3, 5, 9}


class Meanwhile:
    """Runs something between the making of the next commit and its reading."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Awaitable[Any]]) -> None:
        self.action: Callable[[], Awaitable[Any]] | None = action
        plain = Watches.update

        async def update(watches: Watches, update: Update) -> Any:
            action, self.action = self.action, None
            if action is not None:
                await action()
            return await plain(watches, update)

        monkeypatch.setattr(Watches, "update", update)


async def test_an_instance_reloaded_while_it_is_saved_does_not_write_the_old_value_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    player = Player("alice")
    await rc.save(player)
    player.coins = 5
    Meanwhile(monkeypatch, lambda: rc.reload(player))
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 5
    player.wins = 1
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 5


async def test_an_instance_changed_while_it_is_saved_keeps_the_change_for_the_next_save(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    player = Player("alice")
    await rc.save(player)
    player.coins = 5

    async def change() -> None:
        player.coins = 7
        await rc.put(player, Player.metadata, "k", "v")

    Meanwhile(monkeypatch, change)
    await rc.save(player)
    stored = await rc.get(Player, "alice")
    assert (stored.coins, stored.metadata, player.coins) == (5, {"k": "v"}, 7)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("later", [7, 0], ids=["again", "back"])
async def test_what_is_assigned_beside_a_save_and_another_operation_is_saved_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, later: int, after: bool
) -> None:
    player = Player("alice")
    await rc.save(player)
    player.coins = 5

    async def change() -> None:
        player.coins = later
        await rc.increment(player, Player.score, 1)

    with monkeypatch.context() as patch:
        Beside(patch, change, after)
        await rc.save(player)
    await rc.save(player)
    found = await rc.get(Player, "alice")
    assert (found.coins, found.score) == (later, 1)


async def test_an_entry_put_again_beside_the_save_that_drops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player("alice", metadata={"a": "1"})
    await rc.save(player)
    del player.metadata["a"]

    async def change() -> None:
        player.metadata["a"] = "2"
        await rc.increment(player, Player.score, 1)

    with monkeypatch.context() as patch:
        Beside(patch, change, after=False)
        await rc.save(player)
    await rc.save(player)
    assert (await rc.get(Player, "alice")).metadata == {"a": "2"}


async def test_what_an_operation_wrote_after_a_save_is_remembered_though_its_reply_came_first(
    monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    """Also where that is the very value which the save had looked for."""
    player = Player("alice")
    await rc.save(player)
    player.coins = 5
    with monkeypatch.context() as patch:
        Beside(patch, lambda: rc.assign(player, Player.coins, 0), after=True)
        await rc.save(player)
    before: Any = redis_client.hgetall("Player:alice")
    player.wins = 1
    await rc.save(player)
    now: Any = redis_client.hgetall("Player:alice")
    assert before[b"coins"] == b"0"
    assert now == {**before, b"wins": b"1"}


async def test_a_copy_of_an_instance_that_is_being_saved_notes_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player("alice")
    await rc.save(player)
    player.coins = 5

    async def change() -> None:
        await rc.increment(copy.copy(player), Player.coins, 1)

    with monkeypatch.context() as patch:
        Beside(patch, change, after=True)
        await rc.save(player)
    await rc.save(player)
    player.coins = 7
    with pytest.raises(rc.Conflict):
        await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 6


async def test_an_instance_deleted_beside_its_save_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player("alice")
    await rc.save(player)
    player.coins = 5
    with monkeypatch.context() as patch:
        Beside(patch, lambda: rc.delete(player), after=True)
        await rc.save(player)
    assert not await rc.exists(player)
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 5


async def test_what_came_after_a_delete_beside_a_whole_save_is_not_written_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    box = Box("b", real=1.0)
    await rc.insert(Box("b"))
    await rc.increment(box, Box.number, 1)
    await rc.increment(box, Box.number, 1)

    async def change() -> None:
        await rc.delete(box)
        await rc.insert(Box("b"))
        await rc.increment(box, Box.real, 0.5)

    with monkeypatch.context() as patch:
        Beside(patch, change, after=False)
        await rc.save(box)
    before: Any = redis_client.hgetall("Box:b")
    box.text = "new"
    await rc.save(box)
    now: Any = redis_client.hgetall("Box:b")
    assert now == {**before, b"text": b"new"}


class Beside:
    """Runs something once, beside the next write: before it is sent, or when its reply has come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Awaitable[Any]], after: bool) -> None:
        self.action: Callable[[], Awaitable[Any]] | None = action
        self.after = after
        node = current(None).loop.node
        send = self.wrapped(node.pool.send)
        monkeypatch.setattr(node.pool, "send", send)
        monkeypatch.setattr(node, "begin", send)
        monkeypatch.setattr(node.pool, "flow", self.wrapped(node.pool.flow))
        monkeypatch.setattr(node.watches, "update", self.wrapped(node.watches.update))

    def wrapped(self, plain: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any) -> Any:
            action, self.action = self.action, None
            if action is not None and not self.after:
                await action()
            came = await plain(*arguments)
            if action is not None and self.after:
                await action()
            return came

        return run


async def _save_forty(box: Box) -> None:
    await rc.save_many([box, *(Box(f"other{number}") for number in range(40))])


WHOLE: dict[str, Callable[[Box], Awaitable[Any]]] = {
    "save": rc.save,
    "save exactly once": lambda box: rc.save(box, exactly_once=True),
    "save_many": lambda box: rc.save_many([box]),
    "save_many exactly once": lambda box: rc.save_many([box], exactly_once=True),
    "save_many in parts": _save_forty,
}

BESIDE: dict[str, Callable[[Box], Awaitable[Any]]] = {
    "increment": lambda box: rc.increment(box, Box.counts["a"], 5),
    "computed increment": lambda box: rc.increment(box, Box.real, 0.5),
    "append": lambda box: rc.append(box, Box.items, "x"),
    "put": lambda box: rc.put(box, Box.counts, "b", 2),
    "pop": lambda box: rc.pop(box, Box.counts, "a"),
    "add": lambda box: rc.add(box, Box.members, 7),
    "clear": lambda box: rc.clear(box, Box.items),
    "reload": rc.reload,
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE.keys())
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE.keys())
async def test_what_comes_beside_a_whole_save_of_the_same_instance_is_not_written_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
    redis_client: redis.Redis,
    whole: Callable[[Box], Awaitable[Any]],
    after: bool,
    beside: Callable[[Box], Awaitable[Any]],
) -> None:
    await rc.save(Box("b", text="stored", items=["c"], counts={"a": 3}))
    box = Box("b", items=["i"], counts={"a": 1}, members={1})
    with monkeypatch.context() as patch:
        Beside(patch, lambda: beside(box), after)
        await whole(box)
    before: Any = redis_client.hgetall("Box:b")
    box.number = 8
    await rc.save(box)
    now: Any = redis_client.hgetall("Box:b")
    assert now == {**before, b"number": b"8"}


async def test_what_was_shown_before_a_whole_save_does_not_hide_what_was_changed_since(
    redis_client: redis.Redis,
) -> None:
    await rc.save(Box("b"))
    box = Box("b")
    await rc.increment(box, Box.real, 0.5)
    box.real = 7.0
    await rc.save(box)
    box.real = 8.0
    await rc.save(box)
    assert redis_client.hget("Box:b", "real") == b"8.0"


@pytest.mark.parametrize("after", [False, True])
async def test_an_instance_changed_while_it_is_saved_whole_keeps_the_change_for_the_next_save(
    monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    box = Box("b", text="old")
    await rc.save(rc.evolve(box))

    async def change() -> None:
        box.text = "new"
        await rc.increment(box, Box.real, 0.5)

    with monkeypatch.context() as patch:
        Beside(patch, change, after)
        await rc.save(box)
    await rc.save(box)
    assert (await rc.get(Box, "b")).text == "new"


async def test_an_insert_remembers_what_was_written_right_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box("b")
    with monkeypatch.context() as patch:
        Beside(patch, lambda: rc.append(box, Box.items, "x"), after=True)
        await rc.insert(box)
    box.items.append("y")
    await rc.save(box)
    assert (await rc.get(Box, "b")).items == ["x", "y"]


async def test_a_whole_save_in_a_transaction_remembers_what_was_written_right_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = Box("b")
    with monkeypatch.context() as patch:
        async with rc.transaction() as tx:
            await tx.save(box)
            Beside(patch, lambda: rc.append(box, Box.items, "x"), after=True)
    box.items.append("y")
    await rc.save(box)
    assert (await rc.get(Box, "b")).items == ["x", "y"]


async def test_save_after_overwrite_compares_with_what_was_overwritten() -> None:
    await rc.save(Player("alice"))
    one, two = await rc.get(Player, "alice"), await rc.get(Player, "alice")
    one.coins, two.coins = 1, 2
    await rc.save(one)
    await rc.save(two, overwrite=True)
    two.coins = 3
    await rc.save(two)
    one.coins = 4
    with pytest.raises(rc.Conflict):
        await rc.save(one)
    assert (await rc.get(Player, "alice")).coins == 3


async def test_overwrite_touches_only_what_changed_here() -> None:
    await rc.save(Box("b", counts={"a": 1}))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    one.number, one.counts["b"] = 5, 2
    await rc.save(one)
    two.real = 1.5
    two.counts["a"] = 7
    await rc.save(two, overwrite=True)
    found = await rc.get(Box, "b")
    assert (found.number, found.real, found.counts) == (5, 1.5, {"a": 7, "b": 2})


async def test_operations_on_a_never_loaded_object_do_not_make_it_a_loaded_one() -> None:
    await rc.save(Player("alice", coins=5, metadata={"a": "1"}))
    fresh = Player("alice")
    assert await rc.increment(fresh, Player.coins, 1) == 6
    assert fresh.coins == 6
    await rc.put(fresh, Player.metadata, "b", "2")
    await rc.append(fresh, Player.achievements, Achievement.STREAK)
    assert fresh.achievements == [Achievement.STREAK]
    await rc.save(fresh)
    assert (
        await rc.get(Player, "alice")
        == fresh
        == Player("alice", coins=6, metadata={"b": "2"}, achievements=[Achievement.STREAK])
    )


async def test_assign_of_a_record_then_save() -> None:
    player = Player("alice")
    await rc.save(player)
    await rc.increment(rc.ref(Player, "alice"), Player.stats.wins, 5)
    await rc.assign(player, Player.stats, Stats(1, 0.5))
    assert player.stats == Stats(1, 0.5)
    player.stats.wins = 2
    await rc.save(player)
    assert (await rc.get(Player, "alice")).stats == Stats(2, 0.5)


async def test_the_local_value_is_not_the_object_that_was_given() -> None:
    player, stats = Player("alice"), Stats(1)
    await rc.save(player)
    await rc.assign(player, Player.stats, stats)
    stats.wins = 100
    assert player.stats.wins == 1
    box, hero = Box("b"), Hero("x")
    await rc.save(box)
    await rc.append(box, Box.heroes, hero)
    await rc.put(box, Box.team, "k", hero)
    hero.hp = 0
    assert box.heroes[0].hp == box.team["k"].hp == 10


def _pickled(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, _pickled])
async def test_a_copy_keeps_what_was_loaded_and_disturbs_nobody(duplicate: Any) -> None:
    box = Box("b", items=["a"], counts={"a": 1}, members={1}, hero=Hero("x"), heroes=[Hero("h")])
    await rc.save(box)
    other = duplicate(box)
    assert other == box
    await rc.increment(other, Box.number, 1)
    await rc.append(other, Box.items, "b")
    await rc.pop(other, Box.items, 0)
    await rc.put(other, Box.counts, "b", 2)
    await rc.remove(other, Box.counts, "a")
    await rc.add(other, Box.members, 2)
    await rc.discard(other, Box.members, 1)
    await rc.increment(other, "hero.hp", 1)
    await rc.increment(other, Box.heroes[0].hp, 1)
    assert box == Box("b", items=["a"], counts={"a": 1}, members={1}, hero=Hero("x"), heroes=[Hero("h")])
    box.text = "mine"
    await rc.save(box)
    other.real = 2.5
    await rc.save(other)
    found = await rc.get(Box, "b")
    assert (found.text, found.real, found.number, found.items) == ("mine", 2.5, 1, ["b"])
    assert (found.counts, found.members, found.hero, found.heroes) == ({"b": 2}, {2}, Hero("x", 11), [Hero("h", 11)])


async def test_a_copy_of_a_loaded_object_conflicts_like_the_original() -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    other = copy.copy(player)
    player.coins, other.coins = 1, 2
    await rc.save(player)
    with pytest.raises(rc.Conflict):
        await rc.save(other)


@rc.redis_model
@dataclass
class Ticket:
    name: rc.Key[str]
    text: str = ""
    uses: int = field(init=False, default=0)
    owner: str = field(init=False)


@rc.redis_model
@attrs.define
class AttrsTicket:
    name: rc.Key[str]
    text: str = ""
    uses: int = attrs.field(init=False, default=0)
    owner: str = attrs.field(init=False)


@pytest.mark.parametrize("cls", [Ticket, AttrsTicket])
async def test_evolve_keeps_what_init_does_not_take(cls: Any) -> None:
    ticket = cls("a")
    ticket.uses, ticket.owner = 9, "o"
    await rc.save(ticket)
    changed = rc.evolve(await rc.get(cls, "a"), text="t")
    assert (changed.uses, changed.owner) == (9, "o")
    await rc.save(changed)
    assert await rc.get(cls, "a") == changed
    assert not hasattr(rc.evolve(cls("b"), text="t"), "owner")


async def test_evolve_keeps_the_identity_and_replace_does_not() -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    await rc.increment(rc.ref(Player, "alice"), Player.wins, 5)
    await rc.save(rc.evolve(player, coins=1))
    found = await rc.get(Player, "alice")
    assert (found.coins, found.wins) == (1, 5)
