"""A forked child uses the session with connections of its own; those of the parent stay the parent's alone."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rapyer_core import sync as rc
from tests.support.proxy import Proxy
from tests.sync.leaderboard import Player

ALICE = rc.ref(Player, "alice")
CHILD_TIMEOUT = 60


class Child:
    """A forked child that runs the function and exits; `wait` fails if the function did."""

    def __init__(self, function: Callable[[], None]) -> None:
        with warnings.catch_warnings():
            # From Python 3.12 on: a fork with other threads about. That it is safe here is what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            self._run(function)

    def _run(self, function: Callable[[], None]) -> None:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(CHILD_TIMEOUT)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def wait(self) -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0


@pytest.fixture
def session(proxy: Proxy) -> Iterator[rc.Session]:
    """The default session, through a proxy that counts connections."""
    try:
        yield rc.init_rapyer(proxy.url)
    finally:
        rc.close_rapyer()


@pytest.fixture(autouse=True)
def alice(session: rc.Session) -> None:
    rc.save(Player("alice", coins=10))


def test_a_child_connects_anew(proxy: Proxy) -> None:
    rc.get(Player, "alice")
    assert proxy.connections == 1
    Child(lambda: none(rc.increment(ALICE, Player.coins, 5))).wait()
    assert proxy.connections == 2
    assert rc.get(Player, "alice").coins == 15
    # The parent's own connection is still there, and still the only one.
    assert proxy.connections == 2


def test_parent_and_children_at_once_get_their_own_replies() -> None:
    names = [f"p{number}" for number in range(4)]
    rc.save_many([Player(name) for name in names])

    def work(name: str) -> None:
        player = rc.ref(Player, name)
        for count in range(1, 101):
            assert rc.increment(player, Player.wins, 1) == count
            assert rc.get(Player, name).username == name
            rc.increment(ALICE, Player.score, 1)

    children = [Child(lambda name=name: work(name)) for name in names[1:]]  # type: ignore[misc]  # a lambda's default
    work(names[0])
    for child in children:
        child.wait()
    assert rc.get(Player, "alice").score == 400


def test_a_child_may_close_the_session_without_harm_to_the_parent(proxy: Proxy) -> None:
    Child(rc.close_rapyer).wait()
    rc.increment(ALICE, Player.coins, 1)
    assert proxy.connections == 1


def test_a_grandchild_too() -> None:
    def child() -> None:
        rc.increment(ALICE, Player.coins, 1)
        Child(lambda: none(rc.increment(ALICE, Player.coins, 1))).wait()
        rc.increment(ALICE, Player.coins, 1)

    Child(child).wait()
    assert rc.get(Player, "alice").coins == 13


def test_a_child_does_not_wait_for_what_threads_of_the_parent_held(session: rc.Session) -> None:
    """The pool's lock, turns and lock blocks of other threads do not exist in the child."""
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with rc.lock(ALICE, name="other") as alice:
            alice.coins += 1
            with held(session):
                inside.set()
                done.wait(CHILD_TIMEOUT)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)

    def child() -> None:
        rc.modify(ALICE, Player.wins, lambda wins: wins + 1)
        with rc.lock(ALICE) as alice:
            alice.wins += 1
        with pytest.raises(rc.LockTimeout), rc.lock(ALICE, name="other", timeout=0.05):
            pytest.fail("the parent's thread holds it")

    try:
        Child(child).wait()
    finally:
        done.set()
        thread.join()
    assert (rc.get(Player, "alice").coins, rc.get(Player, "alice").wins) == (11, 2)


@contextmanager
def held(session: rc.Session) -> Iterator[None]:
    """Turns as a commit of this process holds them."""
    session.loop.turns.take([b"blocking_player:alice"], 1)
    try:
        yield
    finally:
        session.loop.turns.give_back([b"blocking_player:alice"])


def test_a_pipeline_open_at_a_fork_ends_in_both(proxy: Proxy) -> None:
    with rc.pipeline(ALICE) as p:
        p.coins += 1
        pid = os.getpid()
        forked = Fork()
    if os.getpid() != pid:
        forked.leave()
    forked.wait()
    assert rc.get(Player, "alice").coins == 12
    # The child did not commit on the parent's connection, on which the WATCH of the block was.
    assert proxy.connections == 2


def test_a_lock_open_at_a_fork_belongs_to_whoever_commits_first() -> None:
    pid, forked = os.getpid(), None
    try:
        with rc.lock(ALICE) as alice:
            alice.coins += 1
            forked = Fork()
            if os.getpid() == pid:
                forked.wait()
        lost = False
    except rc.LockLost:
        lost = True
    assert forked is not None
    if os.getpid() != pid:
        forked.leave()
    assert lost
    assert rc.get(Player, "alice").coins == 11
    with rc.lock(ALICE, timeout=1) as alice:
        alice.coins += 1


class Fork(Child):
    """A child that goes on where the parent does; it has to `leave`, and counts as failed if it does not."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def _run(self, function: Callable[[], None]) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_TIMEOUT)

    def leave(self) -> None:
        os._exit(0)


def none(_: object) -> None:
    """For lambdas that are called for their effect."""
