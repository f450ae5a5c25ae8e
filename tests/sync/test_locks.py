"""Locks between sessions and processes: who waits is told, and a lost lock is refused at the end of the block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from rapyer_core import sync as rc
from rapyer_core.operations import locks
from tests.sync.leaderboard import Player, in_threads
from tests.sync.test_fork import Child

ALICE = rc.ref(Player, "alice")
KEY = b"~{blocking_player:alice}lock:lock"


@pytest.fixture(autouse=True)
def alice(session: rc.Session) -> Iterator[None]:
    rc.save(Player("alice", coins=100))
    yield
    assert session.loop.listener._ears == {}


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def held_elsewhere(url: str) -> Iterator[Callable[[], None]]:
    """The lock, held by another session; called, it is given back."""
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with rc.open_session(url) as other, rc.lock(ALICE, session=other):
            holding.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(30)
    try:
        yield release.set
    finally:
        release.set()
        thread.join()


def take(_: int = 0) -> float:
    with rc.lock(ALICE, timeout=60) as alice:
        alice.coins += 1
        return time.monotonic()


def take_five_times() -> None:
    in_threads(5, take)


def test_waiting_threads_are_told(url: str, monkeypatch: pytest.MonkeyPatch, session: rc.Session) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    with held_elsewhere(url) as release:
        taken: list[float] = []
        threads = [threading.Thread(target=lambda: taken.append(take())) for _ in range(50)]
        for thread in threads:
            thread.start()
        until(lambda: session.loop.listener.hears(KEY))
        time.sleep(0.1)
        start = time.monotonic()
        release()
        for thread in threads:
            thread.join()
    assert min(taken) - start < 5
    assert rc.get(Player, "alice").coins == 150


def test_one_connection_listens_for_all_locks(url: str, redis_client: redis.Redis, session: rc.Session) -> None:
    names = [f"n{number}" for number in range(50)]
    for name in names:
        redis_client.set(f"~{{blocking_player:alice}}lock:{name}", "another", px=60_000)

    def wait(number: int) -> None:
        with rc.lock(ALICE, name=names[number], timeout=60):
            pass

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    until(lambda: len(session.loop.listener._standing) == 50)
    assert len(redis_client.client_list(_type="pubsub")) == 1
    # All but one of the pool's connections are free, and that one is for whoever looks.
    assert rc.get(Player, "alice").coins == 100
    for name in names:
        redis_client.delete(f"~{{blocking_player:alice}}lock:{name}")
        redis_client.publish(f"~{{blocking_player:alice}}lock:{name}", "free")
    for thread in threads:
        thread.join()


def test_a_listener_that_loses_its_connection_connects_anew(
    url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, session: rc.Session
) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    listener = session.loop.listener
    with held_elsewhere(url) as release:
        thread = threading.Thread(target=take)
        thread.start()
        until(lambda: listener.hears(KEY))
        assert redis_client.client_kill_filter(_type="pubsub") == 1
        until(lambda: not listener.hears(KEY))
        until(lambda: listener.hears(KEY))
        release()
        thread.join(5)
        assert not thread.is_alive()


def test_a_listener_ends_when_nobody_waits(
    url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rapyer_core.transports.blocking_listener.REST", 0.05)
    for _ in range(2):
        with held_elsewhere(url) as release:
            thread = threading.Thread(target=take)
            thread.start()
            until(lambda: redis_client.client_list(_type="pubsub"))
            release()
            thread.join()
        until(lambda: not redis_client.client_list(_type="pubsub"))
        until(lambda: not listening())


def listening() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rapyer-listener"]


def test_a_closed_session_listens_no_more(url: str, session: rc.Session) -> None:
    until(lambda: not listening())
    with rc.open_session(url) as another:
        with pytest.raises(rc.LockTimeout), held_elsewhere(url), rc.lock(ALICE, timeout=0.2, session=another):
            pass
        assert len(listening()) == 1
    until(lambda: not listening())


def test_a_forked_child_listens_for_itself(url: str, monkeypatch: pytest.MonkeyPatch, session: rc.Session) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    with held_elsewhere(url) as release:
        thread = threading.Thread(target=take)
        thread.start()
        until(lambda: session.loop.listener.hears(KEY))
        child = Child(take_five_times)
        time.sleep(0.5)
        release()
        thread.join()
        child.wait()
    assert rc.get(Player, "alice").coins == 106


def test_a_lost_lock_is_refused_at_the_end_of_the_block(redis_client: redis.Redis) -> None:
    """By the answer to a renewal, before anything is sent; and the thread is not interrupted."""
    went_on: list[bool] = []

    def lose(alice: Player) -> None:
        alice.coins += 1
        redis_client.set(KEY, "another", px=60_000)
        time.sleep(0.4)
        redis_client.delete(KEY)
        went_on.append(True)

    with pytest.raises(rc.LockLost) as caught, rc.lock(ALICE, lease=0.3) as draft:
        lose(draft)
    assert went_on
    assert caught.value.name == "lock"
    assert rc.get(Player, "alice").coins == 100


def test_a_lock_that_could_not_be_renewed_is_refused(session: rc.Session) -> None:
    def starve(alice: Player) -> None:
        alice.coins += 1
        pool = session.loop.node.pool
        pool.size = len(pool._links)
        # The block itself watches on one.
        links = [pool.acquire() for _ in range(pool.size - 1)]
        time.sleep(0.5)
        for link in links:
            pool.release(link)

    with pytest.raises(rc.LockLost), rc.lock(ALICE, lease=0.3) as draft:
        starve(draft)
    assert rc.get(Player, "alice").coins == 100
