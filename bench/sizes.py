"""What is no ratio of times: how much of something ours needs, with the most that it may need."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import redis

from bench.players import flatten, make_player
from rapyer_core import sync

PREFIX = "rapyer-bench:size:"


@dataclass(frozen=True, slots=True)
class Size:
    """A value of ours beside that of hand-written code. most: what ours may be. note: what else was seen."""

    name: str
    unit: str
    ours: float
    hand: float | None
    most: float
    note: str = ""

    @property
    def met(self) -> bool:
        return self.ours <= self.most

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Size:
        fields: dict[str, Any] = {name: found[name] for name in cls.__dataclass_fields__}
        return cls(**fields)


def memory(url: str, rounds: int) -> Size:
    """Of the post's player on the server, stored by each side under a key of the same length."""
    player = make_player(7)
    client: Any  # redis-py's annotation of mappings is invariant
    with redis.Redis.from_url(url) as client:
        sync.init_rapyer(url, prefix=PREFIX)
        ours, hand = f"{PREFIX}Player:{player.username}", f"{PREFIX}Hplayr:{player.username}"
        try:
            sync.save(player)
            client.hset(hand, mapping=flatten(player))
            used = {key: float(client.memory_usage(key) or 0) for key in (ours, hand)}
            encoding = [str(client.object("encoding", key), "ascii") for key in (ours, hand)]
        finally:
            client.delete(ours, hand)
            sync.close_rapyer()
    return Size(
        "memory of one player on the server",
        "bytes",
        used[ours],
        used[hand],
        used[hand] * 1.05,
        f"encoding {encoding[0]}, by hand {encoding[1]}",
    )
