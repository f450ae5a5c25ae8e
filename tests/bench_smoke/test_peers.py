"""The comparison with other mappers, as far as it needs none of them: who takes part, and whether updates are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
import redis

import rapyer_core
from bench.peers.ours import Ours, OursBlocking
from bench.peers.peer import Peer
from bench.peers.result import Entry, PeerResult
from bench.peers.rows import ROWS, PeerRow, Runner
from bench.players import Player


class Careless(Ours):
    """Saves whole objects and reads before it writes, as mappers without atomic operations do."""

    name: ClassVar[str] = "careless"

    async def save(self, obj: Player) -> None:
        await rapyer_core.save(obj, overwrite=True)

    async def increment(self, obj: Player) -> None:
        fresh = await self.get(0)
        fresh.score += 10
        await self.save(fresh)


class Forgetful(Ours):
    async def get_many(self, numbers: Sequence[int]) -> list[None]:
        return [None for _ in numbers]


class Blocking(OursBlocking):
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {"append": "no lists"}


@pytest.fixture(params=[Ours, OursBlocking, Careless])
def runner(request: pytest.FixtureRequest, url: str, redis_client: redis.Redis) -> Iterator[Runner]:
    runner = Runner(request.param(), url, redis_client.flushdb)
    yield runner
    runner.close()


def test_only_who_reads_before_writing_loses_increments(runner: Runner) -> None:
    careless = runner.peer.name == "careless"
    assert runner.loses("increment") is careless
    assert runner.loses("append") is False
    assert runner.loses("wins") is False
    assert runner.loses("get") is None


def test_a_save_of_what_changed_undoes_nothing(url: str, redis_client: redis.Redis) -> None:
    runner = Runner(Ours(), url, redis_client.flushdb)
    try:
        assert runner.loses("save") is False
    finally:
        runner.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_ours_takes_part_in_every_row(row: PeerRow, url: str, redis_client: redis.Redis) -> None:
    peers: list[Peer] = [Ours(), OursBlocking()]
    (able,) = [peer for peer in peers if row.refusal(peer) is None]
    runner = Runner(able, url, redis_client.flushdb)
    try:
        runner.prove(row)
        time, _ = runner.prepare(row.smaller(8))()
    finally:
        runner.close()
    assert time.wall > 0


def test_who_does_not_do_what_it_should_is_found_out(url: str, redis_client: redis.Redis) -> None:
    runner = Runner(Forgetful(), url, redis_client.flushdb)
    try:
        runner.prove(PeerRow("1 task", "get", 1))
        with pytest.raises(RuntimeError, match="get many"):
            runner.prove(PeerRow("bulk", "get_many", 1))
    finally:
        runner.close()


def test_who_cannot_take_part_is_told_why() -> None:
    peer: Any = Blocking()
    rows = {row.title: row.refusal(peer) for row in ROWS}
    assert rows["1 task: get"] == "in the blocking rows"
    assert rows["64 tasks: append"] == "no lists"
    assert rows["64 tasks: get"] is None
    assert rows["1,000 tasks: wins"] == "blocking: would need a thread for each task"
    assert rows["blocking: get"] is None


def test_the_best_is_the_fastest_of_the_others_and_the_safest_loses_nothing() -> None:
    entries = {
        "rapyer_core": Entry(100.0, 1.0, False),
        "fast": Entry(50.0, 2.0, True),
        "slow": Entry(20.0, 5.0, False),
    }
    found = PeerResult("1 task", "wins", entries, {"none": "asyncio only"})
    assert (found.best, found.safest) == (2.0, 5.0)
    assert [found.cell(name) for name in ("fast", "slow", "none")] == ["50*", "20", "–"]
    assert PeerResult("1 task", "get", {"rapyer_core": entries["rapyer_core"]}, {}).best is None
