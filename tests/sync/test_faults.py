"""The network and the caller fail at the worst moment: the blocking transport, pool and driver."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rapyer_core import sync as rc
from rapyer_core.embedded import EmbeddedServer
from rapyer_core.requests import FIRST, MOST
from tests.support.proxy import Fault, Proxy
from tests.support.servers import free_port
from tests.sync.leaderboard import Player, in_threads

ALICE = rc.ref(Player, "alice")


@pytest.fixture
def session(proxy: Proxy) -> Iterator[rc.Session]:
    """The default session, behind the faulty network."""
    try:
        yield rc.init_rapyer(proxy.url)
    finally:
        rc.close_rapyer()


@pytest.fixture(autouse=True)
def alice(session: rc.Session) -> None:
    rc.save_many([Player("alice", coins=10), Player("bob", coins=20)])


def increment(**options: Any) -> None:
    assert rc.increment(ALICE, Player.coins, 1, **options) == 11


def in_pipeline(**options: Any) -> None:
    with rc.pipeline(ALICE, **options) as p:
        p.coins += 1


def transacted(**options: Any) -> None:
    def add(tx: rc.Transaction) -> None:
        tx.get(Player, "alice").coins += 1

    rc.transact(add, **options)


def locked(**options: Any) -> None:
    with rc.lock(ALICE, **options) as alice:
        alice.coins += 1


WRITES = [increment, in_pipeline, transacted, locked]
Write = Callable[..., None]


@pytest.mark.parametrize("write", WRITES)
def test_a_reply_lost_after_exec_is_an_unknown_outcome_and_never_sent_again(proxy: Proxy, write: Write) -> None:
    fault = proxy.eat_reply(b"EXEC")
    with pytest.raises(rc.OutcomeUnknown) as unknown:
        write()
    assert fault.hits == 1
    assert unknown.value.sent == ("blocking_player:alice",)
    assert rc.get(Player, "alice").coins == 11


@pytest.mark.parametrize("fault", ["cut_before", "eat_reply", "half_reply"])
@pytest.mark.parametrize("write", WRITES)
def test_exactly_once_finds_out(proxy: Proxy, write: Write, fault: str) -> None:
    struck: Fault = getattr(proxy, fault)(b"EXEC")
    write(exactly_once=True)
    assert struck.hits == 1
    assert rc.get(Player, "alice").coins == 11


def test_a_read_is_sent_again_once(proxy: Proxy) -> None:
    proxy.cut_before(b"HGETALL")
    assert rc.get(Player, "alice").coins == 10
    proxy.cut_before(b"HGETALL", times=2)
    with pytest.raises(rc.ConnectionFailed) as failed:
        rc.get(Player, "alice")
    assert not failed.value.timed_out


def test_a_server_that_does_not_answer_in_time(proxy: Proxy) -> None:
    with rc.open_session(proxy.url, timeout=0.2) as session:
        held = proxy.hold_reply(b"EXEC")
        start = time.monotonic()
        with pytest.raises(rc.OutcomeUnknown):
            rc.increment(ALICE, Player.coins, 1, session=session)
        assert 0.19 < time.monotonic() - start < 1
        held.release()
        held = proxy.hold(b"HGETALL")
        with pytest.raises(rc.ConnectionFailed) as failed:
            rc.get(Player, "alice", session=session)
        assert failed.value.timed_out
        held.release()
        # Neither of the late replies is taken for another's.
        assert rc.get(Player, "bob", session=session).coins == 20
        assert rc.get(Player, "alice", session=session).coins == 11


def test_one_timeout_for_the_whole_batch_however_the_replies_trickle(proxy: Proxy) -> None:
    rc.save_many([Player(f"p{number}") for number in range(8)])
    with rc.open_session(proxy.url, timeout=0.3) as session:
        proxy.delay(0.2, b"HGETALL", times=8)
        start = time.monotonic()
        with pytest.raises(rc.ConnectionFailed) as failed:
            rc.get_many(Player, [f"p{number}" for number in range(8)], session=session)
        assert failed.value.timed_out
        assert time.monotonic() - start < 1


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also in a run in the background, for which a shell turns it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("write", WRITES)
def test_keyboard_interrupt_while_waiting_for_a_reply_closes_the_connection(
    proxy: Proxy, session: rc.Session, write: Write
) -> None:
    held = proxy.hold_reply(b"EXEC")
    me = threading.get_ident()

    def interrupt() -> None:
        held.wait()
        signal.pthread_kill(me, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    connections = proxy.connections
    with pytest.raises(KeyboardInterrupt):
        write()
    thread.join()
    held.release()
    assert proxy.connections > connections or write is not locked
    # Nobody gets the reply that was under way.
    assert [rc.get(Player, name).coins for name in ("bob", "alice", "bob")] == [20, 11, 20]
    assert_nothing_held(session)


@pytest.mark.usefixtures("interrupts")
def test_keyboard_interrupt_while_waiting_for_a_lock(session: rc.Session, url: str) -> None:
    me = threading.get_ident()
    with rc.open_session(url) as other, rc.lock(ALICE, session=other):
        threading.Timer(0.1, signal.pthread_kill, (me, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), rc.lock(ALICE, timeout=30):
            pytest.fail("two sessions in one lock")
    with rc.lock(ALICE, timeout=1) as alice:
        alice.coins += 1
    assert_nothing_held(session)


def test_pool_timeout_says_how_long_and_how_many(proxy: Proxy) -> None:
    with rc.open_session(proxy.url, max_connections=2, pool_timeout=0.2) as session:
        held = proxy.hold(b"HGETALL", times=2)
        stuck = [threading.Thread(target=rc.get, args=(Player, "alice"), kwargs={"session": session}) for _ in "12"]
        for thread in stuck:
            thread.start()
        end = time.monotonic() + 10
        while held.hits < 1 or len(session.loop.node.pool._links) < 2:
            assert time.monotonic() < end
            time.sleep(0.001)
        start = time.monotonic()
        with pytest.raises(rc.PoolTimeout) as timeout:
            rc.get(Player, "alice", session=session)
        assert 0.19 < time.monotonic() - start < 1
        assert (timeout.value.size, timeout.value.waited) == (2, 0.2)
        assert isinstance(timeout.value, TimeoutError)
        held.release()
        for thread in stuck:
            thread.join()
        assert rc.get(Player, "alice", session=session).coins == 10


def test_connections_are_handed_out_in_the_order_asked_for(url: str) -> None:
    with rc.open_session(url, max_connections=1) as session:
        pool = session.loop.node.pool
        link = pool.acquire()
        order: list[int] = []

        def take(number: int) -> None:
            mine = pool.acquire()
            order.append(number)
            pool.release(mine)

        threads = [threading.Thread(target=take, args=(number,)) for number in range(10)]
        for number, thread in enumerate(threads):
            thread.start()
            end = time.monotonic() + 10
            while len(pool._waiting) <= number:
                assert time.monotonic() < end
                time.sleep(0.0005)
        pool.release(link)
        for thread in threads:
            thread.join()
        assert order == list(range(10))


def test_a_restart_of_the_server_is_not_seen_by_idle_connections(tmp_path: Path) -> None:
    options: dict[str, str | int] = {"port": free_port(), "bind": "127.0.0.1"}
    with EmbeddedServer(tmp_path / "data", options=options) as server:
        with rc.open_session(f"redis://127.0.0.1:{options['port']}/0") as session:
            rc.save(Player("alice", coins=10), session=session)
            links = [session.loop.node.pool.acquire() for _ in range(20)]
            for link in links:
                link.roundtrip([(b"PING",)])
            for link in links:
                session.loop.node.pool.release(link)
            server.stop()
            with pytest.raises(rc.ConnectionFailed):
                rc.get(Player, "alice", session=session)
            server.start()
            results = in_threads(20, lambda _: rc.increment(ALICE, Player.coins, 1, session=session))
            assert sorted(results) == list(range(11, 31))
            assert rc.get(Player, "alice", session=session).coins == 30


def test_idle_connections_that_were_cut(proxy: Proxy) -> None:
    in_threads(10, lambda _: rc.get(Player, "alice"))
    proxy.cut_all()
    in_threads(10, lambda _: rc.increment(ALICE, Player.coins, 1))
    assert rc.get(Player, "alice").coins == 20


def test_a_block_whose_watching_connection_was_cut_still_sees_what_others_wrote(proxy: Proxy, url: str) -> None:
    """The commit must not go out on a new connection as if the WATCH were there."""
    with rc.open_session(url) as other:

        def spend(draft: Player, then: Callable[[], None]) -> None:
            assert draft.coins == 10
            rc.increment(ALICE, Player.coins, -10, session=other)
            then()
            draft.coins -= 10

        for cut in (proxy.cut_all, lambda: None):
            with pytest.raises(rc.Conflict), rc.pipeline(ALICE) as p:
                spend(p, cut)
            assert rc.get(Player, "alice").coins == 0
            rc.increment(ALICE, Player.coins, 10)


def test_who_waits_for_a_connection_of_a_closed_session_is_told(url: str) -> None:
    with rc.open_session(url, max_connections=1) as session:
        pool = session.loop.node.pool
        link = pool.acquire()

        def wait(number: int) -> bool:
            if number:
                end = time.monotonic() + 10
                while len(pool._waiting) < 3:
                    assert time.monotonic() < end
                    time.sleep(0.0005)
                session.close()
                return True
            return False

        def run(number: int) -> None:
            if not wait(number == 3):
                with pytest.raises(rc.SessionClosed):
                    rc.get(Player, "alice", session=session)

        start = time.monotonic()
        in_threads(4, run)
        assert time.monotonic() - start < 5
        pool.release(link)


def test_a_block_whose_session_was_closed_writes_nothing(url: str) -> None:
    def earn(p: Player, session: rc.Session) -> None:
        p.coins += 1
        session.close()

    with rc.open_session(url) as session:
        pool = session.loop.node.pool
        with pytest.raises(rc.SessionClosed), rc.pipeline(ALICE, session=session) as p:
            earn(p, session)
        assert not [link for link in pool._links if link.watching]
    assert rc.get(Player, "alice").coins == 10


def test_a_block_writes_no_object_that_another_thread_has_to_itself(session: rc.Session) -> None:
    """Not even one that watched it before."""
    entered, go = threading.Event(), threading.Event()

    def block() -> None:
        with rc.pipeline(ALICE) as p:
            p.coins += 1
            entered.set()
            assert go.wait(10)

    thread = threading.Thread(target=block)
    thread.start()
    assert entered.wait(10)
    reservation = session.loop.reserve([b"blocking_player:alice"], 5)
    go.set()
    thread.join(0.1)
    assert thread.is_alive()
    assert rc.get(Player, "alice").coins == 10
    reservation.stop()
    thread.join(10)
    assert rc.get(Player, "alice").coins == 11


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(rc.ConnectionFailed):
        rc.init_rapyer(f"redis://127.0.0.1:{free_port()}/0")
    # The former session is still the default one.
    assert rc.get(Player, "alice").coins == 10


def test_a_session_closed_under_working_threads_leaves_no_connection(proxy: Proxy, session: rc.Session) -> None:
    held = proxy.hold(b"HGETALL")
    got: list[Player] = []
    thread = threading.Thread(target=lambda: got.append(rc.get(Player, "alice")))
    thread.start()
    held.wait()
    pool = session.loop.node.pool
    rc.close_rapyer()
    held.release()
    thread.join()
    assert got == [Player("alice", coins=10)]
    assert [link._connection.is_connected for link in pool._links] == [False] * len(pool._links)


class Interrupted(BaseException):
    """What no code of the library can know."""


class InterruptAt:
    """Raises Interrupted at the nth place of these modules where the interpreter would run a signal handler.

    That is where a Python function begins and where a C function has returned: its result is lost.
    """

    def __init__(self, nth: int, modules: tuple[str, ...]) -> None:
        self.left, self.modules = nth, modules

    def __enter__(self) -> None:
        sys.setprofile(self._event)

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: object) -> None:
        # Since 3.14 profilers see the __enter__ of `with lock:`, too. What is raised there leaves any program's lock
        # taken; the interpreter of 3.14 does run signal handlers there (a mistake of its own), that of others does not.
        if getattr(argument, "__name__", "") == "__enter__":
            return
        if event in ("call", "c_return") and frame.f_code.co_filename.endswith(self.modules):
            self.left -= 1
            if self.left == 0:
                raise Interrupted


def assert_nothing_held(session: rc.Session) -> None:
    """All connections are idle, and nobody has a turn."""
    gc.collect()
    pool = session.loop.node.pool
    assert len(pool._links) == len(pool._idle) == len(set(map(id, pool._idle)))
    assert session.loop.turns._queues == {}
    assert session.loop.node.watches.at_rest


@pytest.fixture
def little_garbage() -> Iterator[None]:
    """What was there before is not looked at when garbage is collected, which these tests do at every step."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_garbage")
@pytest.mark.parametrize("write", WRITES)
def test_an_exception_at_any_place_of_the_transport(session: rc.Session, write: Write) -> None:
    """As a signal handler may raise it. No connection is lost or shared, no reply goes astray, no WATCH stays."""
    for nth in range(1, 2000):
        rc.save(Player("alice", coins=10), overwrite=True)
        try:
            with InterruptAt(nth, ("rapyer_core/transports/blocking.py", "rapyer_core/transports/channel.py")):
                write()
        except Interrupted:
            pass
        else:
            break
        assert rc.get(Player, "bob").coins == 20
        assert rc.get(Player, "alice").coins in (10, 11)
        assert_nothing_held(session)
    else:
        pytest.fail("never came through")
    assert nth > 20
    assert rc.get(Player, "alice").coins == 11


@pytest.mark.usefixtures("little_garbage")
@pytest.mark.parametrize("write", [increment, in_pipeline, transacted])
def test_an_exception_at_any_place_of_the_session_lets_the_thread_go_on(session: rc.Session, write: Write) -> None:
    """Also one that hits while the former is being cleared up."""
    for nth in range(1, 2000):
        start = time.monotonic()
        rc.save(Player("alice", coins=10), overwrite=True)
        try:
            with InterruptAt(nth, tuple(f"rapyer_core/sync/{name}.py" for name in ("sessions", "waiting", "watches"))):
                write()
        except Interrupted:
            pass
        else:
            break
        rc.modify(ALICE, Player.wins, lambda wins: wins + 1)
        assert rc.get(Player, "alice").coins in (10, 11)
        assert time.monotonic() - start < 5
        gc.collect()
        pool = session.loop.node.pool
        assert len(pool._links) == len(pool._idle) == len(set(map(id, pool._idle)))
    else:
        pytest.fail("never came through")
    assert nth > 5


def save_and_load_many() -> None:
    crowd = [Player(f"p{number}") for number in range(70)]
    rc.save_many(crowd)
    assert rc.get_many(Player, [player.username for player in crowd]) == crowd


@pytest.mark.usefixtures("little_garbage")
def test_an_exception_at_any_place_while_many_objects_travel(session: rc.Session) -> None:
    for nth in range(1, 3000):
        try:
            with InterruptAt(nth, ("rapyer_core/transports/blocking.py", "rapyer_core/transports/channel.py")):
                save_and_load_many()
        except Interrupted:
            pass
        else:
            break
        assert rc.get(Player, "bob").coins == 20
        if nth % 20 == 0:
            assert_nothing_held(session)
    else:
        pytest.fail("never came through")
    assert nth > 100
    assert_nothing_held(session)


def test_many_objects_are_read_on_where_the_connection_was_lost(proxy: Proxy) -> None:
    crowd = [Player(f"p{number}", coins=number) for number in range(200)]
    rc.save_many(crowd)
    for nth in (1, 40, 200):
        struck = proxy.half_reply(b"HGETALL", nth=nth)
        assert rc.get_many(Player, [player.username for player in crowd]) == crowd
        assert struck.hits == 1


def test_of_many_objects_only_those_under_way_are_in_doubt(proxy: Proxy) -> None:
    proxy.eat_reply(b"EXEC", nth=3)
    with pytest.raises(rc.OutcomeUnknown) as unknown:
        rc.save_many([Player(f"p{number}") for number in range(200)])
    written = FIRST + MOST
    # The end of the connection may take replies with it that had come and were not read yet.
    assert unknown.value.sent[0] in [f"blocking_player:p{first}" for first in (0, FIRST, written)]
    assert f"blocking_player:p{written}" in unknown.value.sent
    known = rc.get_many(Player, [f"p{number}" for number in range(written)])
    assert None not in known
