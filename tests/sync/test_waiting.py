"""What stands in for asyncio: turns in order, and functions that repeat."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest

from rapyer_core.errors import Conflict
from rapyer_core.sync.waiting import Places, Repeating, Turns
from tests.sync.leaderboard import in_threads


def wait_for_queue(turns: Turns, key: bytes, length: int) -> None:
    end = time.monotonic() + 10
    while len(turns._queues.get(key, ())) < length:
        assert time.monotonic() < end
        time.sleep(0.0005)


def true(function: Callable[..., object], *arguments: object) -> bool:
    function(*arguments)
    return True


def test_turns_come_in_the_order_asked_for() -> None:
    turns, order = Turns(), []
    turns.take([b"a"], 1)

    def wait(number: int) -> None:
        turns.take([b"a"], 10)
        order.append(number)
        turns.give_back([b"a"])

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_for_queue(turns, b"a", number + 2)
    turns.give_back([b"a"])
    for thread in threads:
        thread.join()
    assert order == list(range(20))
    assert turns._queues == {}


def test_who_gives_up_leaves_the_queue_and_what_it_had_taken() -> None:
    turns = Turns()
    done = threading.Event()

    def hold() -> None:
        turns.take([b"b"], 1)
        done.wait(10)
        turns.give_back([b"b"])

    holder = threading.Thread(target=hold)
    holder.start()
    wait_for_queue(turns, b"b", 1)
    start = time.monotonic()
    with pytest.raises(Conflict):
        turns.take([b"a", b"b", b"c"], 0.05)
    assert time.monotonic() - start < 1
    turns.take([b"a", b"c"], 0)
    turns.give_back([b"a", b"c"])
    done.set()
    holder.join()
    assert turns._queues == {}


def test_a_thread_does_not_wait_for_itself() -> None:
    """For what an interrupt left behind, or for a function that it is in the middle of."""
    turns = Turns()
    turns.take([b"a", b"b"], 0)
    turns.take([b"b"], 0)
    turns.give_back([b"b"])
    turns.give_back([b"a", b"b"])
    assert turns._queues == {}


def test_nobody_ends_the_turn_of_another_thread() -> None:
    turns = Turns()
    turns.take([b"a"], 0)
    thread = threading.Thread(target=turns.give_back, args=([b"a"],))
    thread.start()
    thread.join()
    assert list(turns._queues) == [b"a"]


def test_a_repeated_function_ends_the_turn_of_the_thread_that_it_acts_for() -> None:
    turns = Turns()
    turns.take([b"a"], 0)
    repeating = Repeating(lambda: 0.001, lambda: true(turns.give_back, [b"a"]))
    in_threads(1, lambda _: turns.take([b"a"], 10))
    repeating.stop()


def test_one_at_a_time() -> None:
    turns = Turns()
    inside = []

    def enter(number: int) -> None:
        for _ in range(20):
            keys = [b"a", b"b"] if number % 2 else [b"b", b"c"]
            turns.take(keys, 30)
            inside.append(number)
            assert inside == [number]
            inside.remove(number)
            turns.give_back(keys)

    in_threads(16, enter)
    assert turns._queues == {}


def test_a_place_is_made_once_for_all_threads() -> None:
    places: Places[object] = Places(object)
    assert len(set(in_threads(20, lambda _: places.get()))) == 1
    assert places.pop() is not places.get()


def test_repeating_ends_when_it_is_stopped() -> None:
    called = threading.Semaphore(0)
    repeating = Repeating(lambda: 0.001, lambda: true(called.release))
    for _ in range(3):
        assert called.acquire(timeout=10)
    repeating.stop()
    wait_for_the_end()


def test_repeating_ends_when_the_function_says_so() -> None:
    calls: list[int] = []

    def count() -> bool:
        calls.append(1)
        return len(calls) < 3

    repeating = Repeating(lambda: 0.001, count)
    wait_for_the_end()
    assert len(calls) == 3
    repeating.stop()


def test_repeating_ends_when_nobody_holds_it_any_more() -> None:
    called = threading.Semaphore(0)
    repeating = Repeating(lambda: 0.001, lambda: true(called.release))
    assert called.acquire(timeout=10)
    del repeating
    gc.collect()
    wait_for_the_end()


def wait_for_the_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "rapyer-repeating":
            thread.join(10)
            assert not thread.is_alive()
