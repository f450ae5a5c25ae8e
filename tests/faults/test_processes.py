"""Several processes, killed or stopped at any point: no update is lost, nothing is done by half, no lock stays."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from rapyer_core import sync
from tests.commits.models import Account, Player
from tests.faults.processes import line, worker
from tests.support.builds import Build
from tests.support.servers import running_server


@pytest.fixture
def session(url: str) -> Any:
    with sync.open_session(url) as session:
        yield session


@pytest.mark.one_server
def test_updates_of_several_processes_are_all_kept(url: str, session: Any) -> None:
    sync.save(Player("p"), session=session)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker("counted", url, "40")) for _ in range(3)]
        assert [line(process) for process in workers] == ["done"] * 3
    found = sync.get(Player, "p", session=session)
    assert (found.score, found.wins, found.coins, found.stats.wins) == (120, 120, 120, 120)
    assert sorted(found.numbers) == sorted(list(range(40)) * 3)


@pytest.mark.one_server
def test_a_checked_withdrawal_of_several_processes_ends_at_exactly_zero(url: str, session: Any) -> None:
    sync.save(Player("p", coins=300), session=session)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker("spending", url)) for _ in range(3)]
        taken = [int(line(process)) for process in workers]
    assert (sum(taken), sync.get(Player, "p", session=session).coins) == (30, 0)


def total(session: Any) -> int:
    return sum(sync.get(Account, name, session=session).coins for name in "abcd")


@pytest.mark.one_server
def test_processes_killed_during_transfers_leave_the_sum_and_no_lock(
    url: str, session: Any, redis_client: redis.Redis
) -> None:
    for name in "abcd":
        sync.save(Account(name, 1000), session=session)
    rng = random.Random(7)
    for _ in range(6):
        with ExitStack() as stack:
            workers = [stack.enter_context(worker("transfers", url)) for _ in range(2)]
            assert [line(process) for process in workers] == ["ready"] * 2
            time.sleep(rng.uniform(0.02, 0.2))
            for process in workers:
                process.kill()
                process.wait()
            assert total(session) == 4000
    end = time.monotonic() + 3
    while redis_client.keys("~*"):
        assert time.monotonic() < end, "a lock of a killed holder stays"
        time.sleep(0.02)


@pytest.mark.one_server
def test_a_server_killed_during_transfers_keeps_the_sum(tmp_path: Any, build: Build) -> None:
    durable = {"appendonly": "yes", "appendfsync": "always"}
    for turn in range(3):
        with running_server(tmp_path, binary=build.binary, **durable) as server:
            with sync.open_session(server.url) as session:
                if turn == 0:
                    for name in "abcd":
                        sync.save(Account(name, 1000), session=session)
                assert total(session) == 4000
                with worker("transfers", server.url) as process:
                    assert line(process) == "ready"
                    time.sleep(0.15)
                    os.kill(server.pid, signal.SIGKILL)
    with running_server(tmp_path, binary=build.binary, **durable) as server, sync.open_session(server.url) as session:
        assert total(session) == 4000


@pytest.mark.one_server
def test_a_holder_that_was_stopped_past_its_lease_writes_nothing(url: str, session: Any) -> None:
    sync.save(Account("a", 100), session=session)
    with worker("holder", url) as process:
        assert line(process) == "holding"
        process.send_signal(signal.SIGSTOP)
        with sync.lock(sync.ref(Account, "a"), name="n", timeout=3, session=session) as a:
            a.coins += 1
        assert sync.get(Account, "a", session=session).coins == 101
        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert line(process) == "LockLost"
    assert sync.get(Account, "a", session=session).coins == 101


@pytest.mark.one_server
def test_a_holder_that_was_not_disturbed_commits(url: str, session: Any) -> None:
    sync.save(Account("a", 100), session=session)
    with worker("holder", url) as process:
        assert line(process) == "holding"
        assert process.stdin is not None
        time.sleep(2)  # twice its lease
        process.stdin.write("\n")
        process.stdin.flush()
        assert line(process) == "committed"
    assert sync.get(Account, "a", session=session).coins == 1100


@pytest.mark.one_server
def test_the_lock_of_a_killed_holder_is_free_after_its_lease(url: str, session: Any) -> None:
    sync.save(Account("a", 100), session=session)
    with worker("forever", url) as process:
        assert line(process) == "holding"
        with pytest.raises(sync.LockTimeout):
            with sync.lock(sync.ref(Account, "a"), name="n", timeout=1.5, session=session):
                pass
        process.kill()
        process.wait()
        start = time.monotonic()
        with sync.lock(sync.ref(Account, "a"), name="n", timeout=3, session=session) as a:
            a.coins += 1
        assert time.monotonic() - start < 2.5
    assert sync.get(Account, "a", session=session).coins == 101


@pytest.mark.one_server
@pytest.mark.parametrize("kind", ["blind", "checked"])
def test_64_writers_of_four_processes_on_one_field(url: str, session: Any, kind: str) -> None:
    """None is lost, and nobody is tried in vain for long."""
    sync.save(Player("p"), session=session)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker("hot", url, f"{kind} 25")) for _ in range(4)]
        worst = max(int(line(process)) for process in workers)
    assert sync.get(Player, "p", session=session).coins == 1600
    # 15, and some room for a machine that has much else to do.
    assert worst <= 30
