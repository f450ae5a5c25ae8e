"""The connection breaks at each request of each operation, in every way: before it, in the middle of it, after it,
before and in the middle of its reply. The stored world is the one before or the one after, whole, and what the caller
is told of it is true.
"""

from __future__ import annotations

import pytest
import redis

from rapyer_core import ConnectionFailed, OutcomeUnknown
from rapyer_core.sessions import Session
from tests.faults.held import assert_nothing_held
from tests.faults.operations import READS, WRITES, Expected, Work, expected, prepare, world
from tests.support.proxy import Fault, Proxy

pytestmark = pytest.mark.one_server

NEVER_ARRIVES = ["cut_before", "half_request"]
KINDS = [*NEVER_ARRIVES, "cut_after", "eat_reply", "half_reply"]


@pytest.mark.parametrize("work", READS.values(), ids=READS)
async def test_a_read_never_notices(session: Session, proxy: Proxy, redis_client: redis.Redis, work: Work) -> None:
    known = await expected(redis_client, work, False)
    for kind in KINDS:
        nth = 0
        while True:
            nth += 1
            p = await prepare(redis_client)
            fault: Fault = getattr(proxy, kind)(nth=nth)
            assert await work(p, False) == known.result, (kind, nth)
            assert world(redis_client) == known.before
            if not fault.hits:
                break
            proxy.clear()
        proxy.clear()
        assert nth > 1
    await assert_nothing_held(session)


@pytest.mark.parametrize("work", WRITES.values(), ids=WRITES)
async def test_a_write_is_there_as_said(session: Session, proxy: Proxy, redis_client: redis.Redis, work: Work) -> None:
    known = await expected(redis_client, work, False)
    told: set[type[BaseException] | None] = set()
    for kind in KINDS:
        nth = 0
        while True:
            nth += 1
            p = await prepare(redis_client)
            fault: Fault = getattr(proxy, kind)(nth=nth)
            error: Exception | None = None
            try:
                assert await work(p, False) == known.result, (kind, nth)
            except (OutcomeUnknown, ConnectionFailed) as caught:
                error = caught
            told.add(type(error) if error is not None else None)
            proxy.clear()
            _check(redis_client, known, error, kind)
            # What the caller changed by himself, for save() to write, stays as it is.
            failed = known.local_after if work is WRITES["save_loaded"] else known.local_before
            assert p == (known.local_after if error is None else failed)
            if not fault.hits:
                break
        assert nth > 1
    assert OutcomeUnknown in told
    await assert_nothing_held(session)


def _check(client: redis.Redis, known: Expected, error: Exception | None, kind: str) -> None:
    now = world(client)
    if error is None:
        assert now == known.after
    elif isinstance(error, OutcomeUnknown) and kind not in NEVER_ARRIVES:
        assert now in (known.before, known.after)
    else:
        assert now == known.before


@pytest.mark.parametrize("work", WRITES.values(), ids=WRITES)
async def test_with_exactly_once_no_write_notices(
    session: Session, proxy: Proxy, redis_client: redis.Redis, work: Work
) -> None:
    known = await expected(redis_client, work, True)
    # The others look the same to the client; tests/soak has them all at random.
    for kind in ("half_request", "eat_reply"):
        nth = 0
        while True:
            nth += 1
            p = await prepare(redis_client)
            fault: Fault = getattr(proxy, kind)(nth=nth)
            assert await work(p, True) == known.result, (kind, nth)
            assert world(redis_client) == known.after, (kind, nth)
            assert p == known.local_after
            if not fault.hits:
                break
            proxy.clear()
        proxy.clear()
        assert nth > 1
    await assert_nothing_held(session)
