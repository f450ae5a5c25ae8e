"""Every blocking function once, on a real server."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest
import redis

from rapyer_core import sync as rc
from rapyer_core.sync import repository
from tests.sync.leaderboard import Achievement, Player, Stats

FIRST, STREAK = Achievement.FIRST_WIN, Achievement.STREAK_10
pytestmark = pytest.mark.usefixtures("session")


def stored(pk: str = "alice") -> Player:
    return rc.get(Player, pk)


def test_every_function_is_used_here() -> None:
    source = Path(__file__).read_text()
    functions = inspect.getmembers(repository, inspect.isfunction)
    names = [name for name, value in functions if value.__module__ == repository.__name__]
    assert len(names) >= 30
    assert [name for name in names if not name.startswith("_") and f"rc.{name}(" not in source] == []


def test_whole_objects() -> None:
    alice, bob = Player("alice", score=5), Player("bob", coins=7)
    rc.save(alice)
    rc.insert(bob)
    with pytest.raises(rc.AlreadyExists):
        rc.insert(Player("bob"))
    assert rc.get(Player, "alice") == alice
    assert rc.get_many(Player, ["bob", "nobody", "alice"]) == [bob, None, alice]
    assert rc.get_or_create(Player("bob")) == (bob, False)
    assert rc.get_or_create(Player, "carol", coins=3) == (Player("carol", coins=3), True)
    alice.coins = 9
    rc.save(alice)
    other = stored()
    rc.assign(alice, Player.coins, 10)
    assert rc.reload(other).coins == 10
    assert rc.exists(alice)
    assert rc.exists(Player, "carol")
    assert rc.delete(Player, "carol")
    assert not rc.delete(Player, "carol")
    rc.save_many([Player("dave"), Player("erin")])
    assert rc.delete_many([rc.ref(Player, "dave"), rc.ref(Player, "erin"), rc.ref(Player, "nobody")]) == 2
    with pytest.raises(rc.NotFound):
        stored("dave")


def test_one_field() -> None:
    alice = Player("alice")
    rc.save(alice)
    assert rc.increment(alice, Player.stats.wins, 2) == 2
    assert rc.increment(alice, Player.ratio, 0.1) == 0.1
    assert rc.increment(alice, Player.ratio, 0.2) == 0.1 + 0.2
    assert rc.modify(alice, Player.wins, lambda wins: wins * 2 + 1) == 1
    rc.append(alice, Player.achievements, FIRST)
    rc.extend(alice, Player.achievements, [STREAK, STREAK])
    rc.insert_at(alice, Player.achievements, 0, STREAK)
    assert rc.pop(alice, Player.achievements) is STREAK
    rc.remove(alice, Player.achievements, STREAK)
    rc.put(alice, Player.metadata, "a", "1")
    rc.merge(alice, Player.metadata, {"b": "2", "c": "3"})
    assert rc.pop(alice, Player.metadata, "a") == "1"
    rc.add(alice, Player.tags, "new", "shy")
    rc.discard(alice, Player.tags, "shy", "unknown")
    expected = Player(
        "alice",
        wins=1,
        ratio=0.1 + 0.2,
        achievements=[FIRST, STREAK],
        stats=Stats(wins=2),
        metadata={"b": "2", "c": "3"},
        tags={"new"},
    )
    assert alice == expected
    assert stored() == expected
    rc.clear(alice, Player.metadata)
    assert stored().metadata == {}


def test_search() -> None:
    players = [
        Player(name, score=score, coins=score % 20) for name, score in zip("abcd", (10, 20, 30, 40), strict=True)
    ]
    rc.save_many(players)
    a, b, c, d = players
    assert rc.find(Player, Player.score > 10, order_by=rc.desc(Player.score), limit=2) == [d, c]
    assert rc.find_one(Player, Player.coins == 10, order_by=Player.score) == a
    assert rc.count(Player, Player.score >= 20) == 3
    walk = rc.iterate(Player, Player.coins == 0)
    assert sorted(player.username for player in walk) == ["b", "d"]
    assert "score" in str(rc.explain(Player, Player.score > 10))
    assert rc.top(Player, Player.score, 2) == [d, c]
    assert rc.rank(b, Player.score) == 2
    assert rc.verify(Player).phantoms == ()
    assert rc.upgrade_all(Player).upgraded == 0


def test_a_walk_that_is_left_early_leaves_no_connection_behind(session: rc.Session) -> None:
    rc.save_many([Player(f"p{number}") for number in range(10)])
    for player in rc.iterate(Player):
        assert player.coins == 0
        break
    pool = session.loop.node.pool
    assert len(pool._idle) == len(pool._links)


def test_pipeline_commits_at_the_end_and_shows_it_on_the_object() -> None:
    alice = Player("alice")
    rc.save(alice)
    with rc.pipeline(alice) as p:
        p.score += 100
        p.wins = p.wins + 1
        p.achievements.append(FIRST)
        p.metadata["last"] = "win"
        assert stored() == Player("alice")
    assert alice == stored() == Player("alice", 100, 1, achievements=[FIRST], metadata={"last": "win"})


def spend_twice(draft: Player) -> None:
    if draft.coins >= 10:
        rc.increment(rc.ref(Player, "alice"), Player.coins, -10)
        draft.coins -= 10


def test_pipeline_of_several_objects() -> None:
    alice, bob = Player("alice", coins=5), Player("bob")
    rc.save_many([alice, bob])
    with rc.pipeline(alice, bob) as (a, b):
        a.coins -= 5
        b.coins += 5
    assert (alice.coins, bob.coins) == (0, 5)
    assert (stored().coins, stored("bob").coins) == (0, 5)


def test_an_exception_in_a_block_writes_nothing() -> None:
    alice = Player("alice")
    rc.save(alice)
    with pytest.raises(ZeroDivisionError), rc.pipeline(alice) as draft:
        leave_after_a_write(draft)
    with pytest.raises(ZeroDivisionError), rc.lock(alice) as draft:
        leave_after_a_write(draft)
    with pytest.raises(ZeroDivisionError), rc.transaction() as tx:
        leave_after_a_write(tx.get(Player, "alice"))
    assert alice == stored() == Player("alice")


def leave_after_a_write(draft: Player) -> None:
    draft.score += 1
    raise ZeroDivisionError


def test_a_value_read_in_a_pipeline_and_changed_meanwhile_is_a_conflict() -> None:
    alice = Player("alice", coins=10)
    rc.save(alice)
    with pytest.raises(rc.Conflict) as conflict, rc.pipeline(alice) as p:
        spend_twice(p)
    assert conflict.value.fields == ("coins",)
    assert stored().coins == 0


def test_transaction_as_a_block() -> None:
    rc.save_many([Player("alice", coins=5), Player("bob")])
    with rc.transaction() as tx:
        a, b = tx.get(Player, "alice"), tx.get(Player, "bob")
        assert tx.get_or_none(Player, "nobody") is None
        assert tx.get_many(Player, ["bob", "nobody"])[1] is None
        a.coins -= 5
        b.coins += 5
        tx.insert(Player("carol", coins=1))
        tx.save(Player("dave", coins=2))
    assert [stored(name).coins for name in ("alice", "bob", "carol", "dave")] == [0, 5, 1, 2]
    with rc.transaction() as tx:
        assert tx.delete(Player, "dave")
    assert not rc.exists(Player, "dave")


def test_transact_runs_again_after_a_conflict() -> None:
    rc.save_many([Player("alice", coins=5), Player("bob")])
    runs = []

    def pay(tx: rc.Transaction, amount: int, *, to: str) -> int:
        a, b = tx.get(Player, "alice"), tx.get(Player, to)
        runs.append(a.coins)
        if len(runs) == 1:
            rc.increment(rc.ref(Player, "alice"), Player.coins, 10)
        a.coins -= amount
        b.coins += amount
        return a.coins

    assert rc.transact(pay, 5, to="bob") == 10
    assert runs == [5, 15]
    assert (stored().coins, stored("bob").coins) == (10, 5)


def test_transaction_as_a_decorator() -> None:
    rc.save(Player("alice", coins=5))

    @rc.transaction(retry=rc.Retry(attempts=2))
    def never(tx: rc.Transaction, amount: int) -> int:
        """Always too late."""
        coins = tx.get(Player, "alice").coins
        rc.increment(rc.ref(Player, "alice"), Player.coins, amount)
        tx.get(Player, "alice").coins = coins
        return coins

    with pytest.raises(rc.Conflict) as conflict:
        never(1)
    assert conflict.value.attempts == 2
    assert stored().coins == 7
    assert (never.__name__, never.__doc__) == ("never", "Always too late.")


def test_lock_gives_drafts_and_nests(redis_client: redis.Redis) -> None:
    alice, bob = Player("alice", coins=5), Player("bob")
    rc.save_many([alice, bob])
    with rc.lock(alice, name="transfer") as a:
        with rc.lock(bob, name="transfer") as b:
            a.coins -= 5
            b.coins += 5
        assert stored("bob").coins == 0
        assert len(redis_client.keys("~*lock:transfer")) == 2
    assert (alice.coins, bob.coins) == (0, 5)
    assert stored("bob").coins == 5
    assert redis_client.keys("~*lock:transfer") == []


def test_locks_of_other_names_do_not_exclude_each_other() -> None:
    alice = Player("alice")
    rc.save(alice)
    with rc.lock(alice, name="one") as one, rc.lock(alice, name="two") as two:
        one.coins += 1
        two.coins += 1
    assert stored().coins == 2


def test_a_second_session_and_prefixes(url: str) -> None:
    rc.save(Player("alice"))
    with rc.open_session(url, prefix="other:") as other:
        assert not rc.exists(Player, "alice", session=other)
        rc.save(Player("alice", coins=3), session=other)
        with rc.pipeline(rc.ref(Player, "alice"), session=other) as p:
            p.coins += 1
        assert rc.get(Player, "alice", session=other).coins == 4
    assert stored().coins == 0
    with pytest.raises(rc.SessionClosed):
        rc.get(Player, "alice", session=other)


def test_init_again_replaces_the_session_and_close_ends_it(url: str, session: rc.Session) -> None:
    rc.save(Player("alice"))
    again = rc.init_rapyer(url)
    with pytest.raises(rc.SessionClosed):
        rc.get(Player, "alice", session=session)
    assert rc.get(Player, "alice", session=again) == stored()
    rc.close_rapyer()
    rc.close_rapyer()
    with pytest.raises(rc.SessionClosed):
        stored()


def test_a_client_lends_its_address(url: str, redis_client: redis.Redis) -> None:
    with rc.open_session(client=redis_client) as session:
        rc.save(Player("alice", coins=2), session=session)
    assert redis_client.hget("blocking_player:alice", "coins") == b"2"


def test_without_an_address_an_embedded_server_is_used_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("RAPYER_URL", raising=False)
    with caplog.at_level(logging.INFO, "rapyer_core"), rc.open_session() as session:
        rc.save(Player("alice"), session=session)
        assert rc.delete(Player, "alice", session=session)
        with rc.open_session() as other:
            assert not rc.exists(Player, "alice", session=other)
    assert sum("embedded" in record.message for record in caplog.records) == 1


def test_an_embedded_server_without_a_directory_is_empty_again_when_nobody_uses_it(tmp_path: Path) -> None:
    for address, stays in (("embedded://", False), (f"embedded://{tmp_path}/data", True)):
        with rc.open_session(address) as session, rc.open_session(address) as other:
            rc.save(Player("alice"), session=session)
            assert rc.exists(Player, "alice", session=other)
        with rc.open_session(address) as session:
            assert rc.exists(Player, "alice", session=session) is stays


def test_generator_functions_are_lazy() -> None:
    assert inspect.isgenerator(rc.iterate(Player))
