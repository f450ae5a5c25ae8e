# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers see. Checked by ``make types`` (an error that is gone is an unused ignore); never run.

Each ignore below is an error that a user makes and that mypy and pyright must both report.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated, assert_type

from annotated_types import Ge

import rapyer_core as rc
import rapyer_core.sync as blocking
from rapyer_core import AtomicRedisModel, Index, Key, paths, redis_model, some


class Medal(Enum):
    GOLD = "gold"


@dataclass
class Stats:
    wins: int = 0
    average: float = 0.0


@redis_model
@dataclass
class Player:
    name: Key[str] = ""
    score: Index[int] = 0
    money: Decimal = Decimal(0)
    stats: Stats = field(default_factory=Stats)
    medals: list[Medal] = field(default_factory=list[Medal])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    tags: set[str] = field(default_factory=set[str])
    guild: Stats | None = None
    coins: Annotated[int, Ge(0)] = 0
    marks: list[Annotated[int, Ge(0)]] = field(default_factory=list[int])
    rank: Index[Annotated[int, Ge(0)]] = 0
    recent: deque[int] = field(default_factory=deque[int])
    votes: Counter[str] = field(default_factory=Counter[str])


class Account(AtomicRedisModel):
    owner: str
    coins: int = 0


P = paths(Player)


async def exact_types(p: Player) -> None:
    assert_type(await rc.get(Player, "a"), Player)
    assert_type(await rc.get_many(Player, ["a"]), list[Player | None])
    assert_type(await rc.get_or_create(p), tuple[Player, bool])
    assert_type(await rc.reload(p), Player)
    assert_type(await rc.delete(p), bool)
    assert_type(await rc.increment(p, Player.stats.wins, 1), int)
    assert_type(await rc.increment(p, Player.coins, 1), int)
    assert_type(await rc.increment(p, Player.rank, 1), int)
    assert_type(await rc.pop(p, Player.marks), int)
    assert_type(await rc.pop(p, Player.recent), int)
    await rc.append(p, Player.recent, 1)
    await rc.put(p, Player.votes, "a", 1)
    assert_type(await rc.increment(p, Player.stats.average, 0.5), float)
    assert_type(await rc.increment(p, Player.money, Decimal(1)), Decimal)
    assert_type(await rc.modify(p, Player.score, lambda score: score * 2), int)
    assert_type(await rc.pop(p, Player.medals), Medal)
    assert_type(await rc.pop(p, Player.notes, "k"), str)
    await rc.append(p, Player.medals, Medal.GOLD)
    await rc.put(p, Player.notes, "k", "v")
    await rc.add(p, Player.tags, "a", "b")
    await rc.assign(p, Player.stats, Stats(1))
    found = await rc.find(Player, Player.score > 3, P.name == "a", some(P.guild).wins > 1, order_by=rc.desc(P.score))
    assert_type(found, list[Player])
    assert_type(await rc.find_one(Player, rc.contains(Player.tags, "a")), Player | None)
    assert_type(await rc.top(Player, Player.score, 3), list[Player])
    assert_type(rc.iterate(Player), AsyncIterator[Player])
    assert_type(rc.ref(Player, "a"), Player)
    assert_type(rc.evolve(p, score=1), Player)


async def exact_types_of_blocks(p: Player, account: Account) -> None:
    async with rc.pipeline(p) as one:
        assert_type(one, Player)
    async with rc.lock(p, account, name="trade") as pair:
        assert_type(pair, tuple[Player, Account])
    async with rc.transaction() as tx:
        assert_type(await tx.get(Player, "a"), Player)
        assert_type(await tx.get_or_none(Player, "a"), Player | None)
    assert_type(await pay("a", "b", 3), int)
    assert_type(await rc.transact(spend, "a"), str)
    assert_type(await Account.aget("x"), Account)
    assert_type(await Account.find(), list[Account])
    assert_type(Account(owner="x"), Account)


def exact_types_of_blocking(p: Player) -> None:
    assert_type(blocking.get(Player, "a"), Player)
    assert_type(blocking.increment(p, Player.stats.wins, 1), int)
    assert_type(blocking.find(Player, Player.score > 3), list[Player])
    with blocking.pipeline(p) as one:
        assert_type(one, Player)


@rc.upgrade_from(1)
def upgrade(stored: rc.StoredFields) -> None:
    assert_type(stored.get("coins", int), int)
    assert_type(stored.take("medals", list[Medal]), list[Medal])
    assert_type(stored.take("coins", int, None), int | None)
    stored.put("coins", int, 1)


def no_upgrade(stored: rc.StoredFields) -> int:
    return 0


rc.upgrade_from(2)(no_upgrade)  # type: ignore[arg-type]
assert_type(upgrade, rc.Upgrade)


@redis_model(version=2, upgrades=[upgrade])
@dataclass
class Upgraded:
    name: Key[str] = ""


redis_model(version=2, upgrades=[no_upgrade])  # type: ignore[list-item]


async def exact_types_of_changes(p: Player, session: rc.Session) -> None:
    bad: list[rc.DecodeError] = []
    assert_type(await rc.get(Player, "a", on_error=bad.append), Player)
    assert_type(await rc.get_many(Player, ["a"], on_error=bad.append), list[Player | None])
    assert_type(await rc.find(Player, on_error=bad.append), list[Player])
    assert_type(rc.extra_fields(p), dict[str, bytes])
    assert_type(await rc.upgrade_all(Player, on_progress=lambda at: print(at.seen)), rc.UpgradeProgress)
    session.register_codec(Medal, encode=lambda medal: medal.name, decode=lambda raw: Medal[raw.decode()])


@rc.transaction()
async def pay(tx: rc.Transaction, who: str, to: str, n: int) -> int:
    a = await tx.get(Player, who)
    a.score -= n
    return a.score


async def spend(tx: rc.Transaction, who: str) -> str:
    return (await tx.get(Player, who)).name


async def errors_that_users_make(p: Player) -> None:
    await rc.increment(p, Player.stats.wins, "1")  # type: ignore[call-overload]
    await rc.append(p, Player.medals, "gold")  # type: ignore[misc]
    await rc.put(p, Player.notes, "k", 1)  # type: ignore[misc]
    await rc.add(p, Player.tags, 1)  # type: ignore[misc]
    await rc.append(p, Player.recent, "1")  # type: ignore[misc]
    await rc.append(p, Player.score, 1)  # type: ignore[arg-type]
    await rc.get("Player", "a")  # type: ignore[arg-type]
    await rc.find(Player, Player.score)  # type: ignore[arg-type]
    Player.stats.losses  # type: ignore[attr-defined]  # noqa: B018  # the access is the point
    Account(coins=1)  # type: ignore[call-arg]
    await pay("a", 3, "b")  # type: ignore[arg-type]
