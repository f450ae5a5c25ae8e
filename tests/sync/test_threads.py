"""Fifty threads at once: nothing is lost, nothing is applied twice, and everybody gets through."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest
import redis

from rapyer_core import sync as rc
from tests.sync.leaderboard import Achievement, Player, in_threads

THREADS = 50
ALICE, BOB = rc.ref(Player, "alice"), rc.ref(Player, "bob")


@pytest.fixture(autouse=True)
def players(session: rc.Session) -> None:
    rc.save_many([Player("alice", coins=100), Player("bob", coins=100)])


def stored(pk: str = "alice") -> Player:
    return rc.get(Player, pk)


def test_increments() -> None:
    results = in_threads(THREADS, lambda _: rc.increment(ALICE, Player.score, 1))
    assert sorted(results) == list(range(1, THREADS + 1))
    assert rc.top(Player, Player.score, 1) == [stored()]


def test_float_increments_and_modify_are_tried_again() -> None:
    in_threads(THREADS, lambda _: rc.increment(ALICE, Player.ratio, 0.5))
    in_threads(THREADS, lambda _: rc.modify(ALICE, Player.wins, lambda wins: wins + 1))
    assert (stored().ratio, stored().wins) == (THREADS / 2, THREADS)


def test_a_function_given_to_modify_may_write_the_same_object() -> None:
    def double(coins: int) -> int:
        if not stored().wins:
            rc.increment(ALICE, Player.wins, 1)
            rc.modify(ALICE, Player.ratio, lambda ratio: ratio + 0.5)
        return coins * 2

    start = time.monotonic()
    rc.modify(ALICE, Player.coins, double)
    assert (stored().coins, stored().wins, stored().ratio) == (200, 1, 0.5)
    assert time.monotonic() - start < 5


def test_appends_and_puts() -> None:
    in_threads(THREADS, lambda _: rc.append(ALICE, Player.achievements, Achievement.FIRST_WIN))
    in_threads(THREADS, lambda number: rc.put(ALICE, Player.metadata, f"k{number}", str(number)))
    assert stored().achievements == [Achievement.FIRST_WIN] * THREADS
    assert stored().metadata == {f"k{number}": str(number) for number in range(THREADS)}


@pytest.mark.parametrize("written_as", ["in place", "read and assigned"])
def test_pipelines(written_as: str) -> None:
    def win(_: int) -> None:
        with rc.pipeline(ALICE) as p:
            if written_as == "in place":
                p.score += 1
            else:
                p.score = p.score + 1

    in_threads(THREADS, win)
    assert stored().score == THREADS
    assert rc.rank(ALICE, Player.score) == 0


def test_nobody_spends_what_is_not_there() -> None:
    def spend(tx: rc.Transaction) -> bool:
        alice = tx.get(Player, "alice")
        if alice.coins < 10:
            return False
        alice.coins -= 10
        return True

    assert sum(in_threads(THREADS, lambda _: rc.transact(spend))) == 10
    assert stored().coins == 0


def test_an_award_is_given_once() -> None:
    @rc.transaction()
    def award(tx: rc.Transaction) -> bool:
        alice = tx.get(Player, "alice")
        if Achievement.STREAK_10 in alice.achievements:
            return False
        alice.achievements.append(Achievement.STREAK_10)
        return True

    assert sum(in_threads(THREADS, lambda _: award())) == 1
    assert stored().achievements == [Achievement.STREAK_10]


def test_transfers_under_locks_in_both_directions() -> None:
    def transfer(number: int) -> None:
        pair = (ALICE, BOB) if number % 2 else (BOB, ALICE)
        with rc.lock(*pair, name="transfer", timeout=60) as (one, two):
            assert isinstance(one.coins, int)
            one.coins -= 1
            two.coins += 1

    in_threads(THREADS, transfer)
    assert (stored().coins, stored("bob").coins) == (100, 100)


def test_a_lock_admits_one_thread_at_a_time() -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def enter(_: int) -> None:
        nonlocal inside, most
        with rc.lock(ALICE, timeout=60) as alice:
            with guard:
                inside += 1
                most = max(most, inside)
            alice.wins = alice.wins + 1
            with guard:
                inside -= 1

    in_threads(THREADS, enter)
    assert most == 1
    assert stored().wins == THREADS


def test_lock_blocks_nest_by_thread_and_are_not_inherited() -> None:
    with rc.lock(ALICE) as alice:
        alice.coins += 1

        def other(_: int) -> None:
            with pytest.raises(rc.LockTimeout), rc.lock(ALICE, timeout=0.05):
                pytest.fail("two threads in one lock")

        in_threads(3, other)
        with rc.lock(ALICE) as same:
            same.coins += 1
    assert stored().coins == 102


def test_locks_nested_in_opposite_orders_end() -> None:
    """One of the two gives way; what it recorded is not written."""
    both = threading.Barrier(2)

    def transfer(number: int) -> int:
        outer, inner = (ALICE, BOB) if number else (BOB, ALICE)
        try:
            with rc.lock(outer, timeout=1.0) as one:
                both.wait()
                with rc.lock(inner, timeout=1.0) as two:
                    one.coins -= 1
                    two.coins += 1
        except rc.LockTimeout:
            return 0
        return 1 if number else -1

    moved = sum(in_threads(2, transfer))
    assert stored().coins + stored("bob").coins == 200
    assert stored().coins == 100 - moved


def test_a_lock_is_renewed_while_the_block_runs(url: str) -> None:
    with rc.open_session(url) as other, rc.lock(ALICE, lease=2) as alice:
        alice.coins += 1
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            with pytest.raises(rc.LockTimeout), rc.lock(ALICE, timeout=0, session=other):
                pytest.fail("the lease ran out")
    assert stored().coins == 101


def test_a_lost_lock_is_refused_and_nothing_written(redis_client: redis.Redis) -> None:
    def lose(alice: Player) -> None:
        alice.coins += 1
        assert redis_client.delete(*redis_client.keys("~*lock:x")) == 1

    with pytest.raises(rc.LockLost), rc.lock(ALICE, name="x") as draft:
        lose(draft)
    assert stored().coins == 100
    with rc.lock(ALICE, name="x") as alice:
        alice.coins += 1
    assert stored().coins == 101


def test_no_thread_stays_behind() -> None:
    before = set(threading.enumerate())  # one of the test before may just be ending
    with rc.lock(ALICE, lease=30):
        renewing = [new for new in set(threading.enumerate()) - before if new.name == "rapyer-repeating"]
        assert len(renewing) == 1
        assert renewing[0].daemon
    renewing[0].join(5)
    assert not renewing[0].is_alive()


def test_few_connections_serve_many_threads(url: str) -> None:
    with rc.open_session(url, max_connections=3) as session:

        def work(number: int) -> None:
            rc.increment(ALICE, Player.score, 1, session=session)
            with rc.pipeline(ALICE, session=session) as p:
                p.score += 1
            with rc.lock(ALICE, name=f"lock {number % 5}", session=session, timeout=60) as alice:
                alice.score += 1

        in_threads(THREADS, work)
        assert stored().score == 3 * THREADS
        assert len(session.loop.node.pool._idle) == len(session.loop.node.pool._links) <= 3


def test_classes_used_first_by_many_threads_at_once() -> None:
    for round_number in range(5):

        @rc.redis_model(name=f"fresh{round_number}")
        @dataclass
        class Fresh:
            pk: rc.Key[str]
            n: rc.Index[int] = 0
            names: dict[str, list[int]] = field(default_factory=dict)

        def first_use(number: int, cls: type[Fresh] = Fresh) -> None:
            rc.save(cls(str(number), number, {"a": [number]}))
            assert rc.get(cls, str(number)) == cls(str(number), number, {"a": [number]})
            with rc.pipeline(rc.ref(cls, str(number))) as p:
                p.n += 1

        in_threads(20, first_use)
        assert [each.n for each in rc.top(Fresh, Fresh.n, 20)] == list(range(20, 0, -1))


def test_nothing_is_left_of_turns(session: rc.Session) -> None:
    test_transfers_under_locks_in_both_directions()
    test_nobody_spends_what_is_not_there()
    assert session.loop.turns._queues == {}


def test_two_hundred_threads_on_default_settings() -> None:
    def add_one(tx: rc.Transaction) -> None:
        tx.get(Player, "alice").coins += 1
        tx.get(Player, "bob").coins -= 1

    def work(number: int) -> None:
        rc.increment(ALICE, Player.wins, 1)
        rc.append(ALICE, Player.achievements, Achievement.FIRST_WIN)
        with rc.pipeline(ALICE) as p:
            p.score += 1
        rc.transact(add_one)
        with rc.lock(BOB, timeout=60) as bob:
            bob.wins = bob.wins + 1
        rc.save(Player(f"own{number}"))
        assert rc.delete(Player, f"own{number}")

    in_threads(200, work)
    alice, bob = stored(), stored("bob")
    assert (alice.wins, alice.score, len(alice.achievements), alice.coins) == (200, 200, 200, 300)
    assert (bob.wins, bob.coins) == (200, -100)


def test_calls_nested_in_one_thread_on_two_connections(url: str) -> None:
    with rc.open_session(url, max_connections=2, pool_timeout=60) as small:

        def work(_: int) -> None:
            with rc.pipeline(ALICE, session=small) as p:
                p.coins += 1
                with rc.lock(BOB, timeout=60, session=small) as bob:
                    bob.coins += 1
                    with rc.pipeline(BOB, session=small) as other:
                        other.score += 1
                        rc.modify(ALICE, Player.wins, lambda wins: wins + 1, session=small)

        in_threads(64, work)
        assert len(small.loop.node.pool._links) <= 2
    assert (stored().coins, stored().wins, stored("bob").coins, stored("bob").score) == (164, 64, 164, 64)


def test_writes_that_nothing_can_disturb_let_through_what_they_disturbed(redis_client: redis.Redis) -> None:
    """Others that write the same object blindly, one write after the other, cost an append few tries."""
    appends, done = 50, threading.Event()

    def work(number: int) -> int:
        if number:
            count = 0
            while not done.is_set():
                rc.increment(ALICE, Player.wins, 1)
                count += 1
            return count
        try:
            for _ in range(appends):
                rc.append(ALICE, Player.achievements, Achievement.FIRST_WIN)
        finally:
            done.set()
        return 0

    before = redis_client.info("commandstats").get("cmdstat_watch", {"calls": 0})["calls"]
    counted = in_threads(4, work)
    tries = redis_client.info("commandstats")["cmdstat_watch"]["calls"] - before
    assert (len(stored().achievements), stored().wins) == (appends, sum(counted))
    assert tries <= 3 * appends
