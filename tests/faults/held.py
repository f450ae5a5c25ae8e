"""What a session may hold when nothing is under way: nothing. The one place that looks inside for it."""

from __future__ import annotations

import asyncio
import time

import redis

from rapyer_core import get, increment, ref, save
from rapyer_core.sessions import Session
from tests.commits.models import Account


def held(session: Session) -> list[str]:
    """What is held, in words; nothing, if all is well."""
    loop = session.loop
    nodes = {loop.node, *getattr(loop.server, "_nodes", {}).values()}
    found = {
        "connections that were not given back": sum(len(node.pool._links) - len(node.pool._idle) for node in nodes),
        "watched keys": sum(not node.watches.at_rest for node in nodes),
        "turns": len(loop.turns._locks),
        "reserved keys": len(loop.reserved),
        "listeners": len(loop.listener._ears),
        "open lock blocks": len(list(loop.tasks)),
    }
    return [f"{count} {what}" for what, count in found.items() if count]


async def assert_nothing_held(session: Session, within: float = 1.0) -> None:
    """Nothing is held, at the latest after so many seconds: a shielded release may still be under way."""
    end = time.monotonic() + within
    while held(session) and time.monotonic() < end:  # noqa: ASYNC110  # nothing tells when it is over
        await asyncio.sleep(0.002)
    assert held(session) == []


async def assert_replies_are_ones_own(session: Session, client: redis.Redis, *touched: str) -> None:
    """On whatever connections there are; and no WATCH that is still there makes a blind write fail.

    touched: keys that may have been watched; each is changed.
    """
    names = [f"probe {number}" for number in range(len(session.loop.node.pool._links) + 1)]
    await asyncio.gather(*(save(Account(name, number), session=session) for number, name in enumerate(names)))
    for key in touched:
        client.hset(key, "touched", "1")
    refs = [ref(Account, name) for name in names]
    added = await asyncio.gather(*(increment(account, Account.coins, 100, session=session) for account in refs))
    assert added == [100 + number for number in range(len(names))]
    found = await asyncio.gather(*(get(Account, name, session=session) for name in names))
    assert [one.owner for one in found] == names
