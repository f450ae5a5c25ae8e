"""Contests: what every side leaves behind is looked at, and tries are counted."""

from __future__ import annotations

import pytest
import redis

from bench import contest
from bench.contest import Contest, held
from bench.result import SidesDiffer


@pytest.mark.parametrize(
    ("operation", "processes", "sides"),
    [
        ("increment", 1, ("ours", "plain", "watch", "script")),
        ("append", 2, ("ours", "watch", "script")),
        ("change", 1, ("ours", "watch", "script")),
        ("locked", 1, ("ours", "redis-py lock")),
    ],
)
def test_no_side_loses_a_change(
    url: str, redis_client: redis.Redis, operation: str, processes: int, sides: tuple[str, ...]
) -> None:
    found = held(url, Contest(operation, 4, processes, sides, seconds=0.0), 1)
    assert all(not errors for errors in found.errors.values())
    assert all(found.tries[side] == 1 for side in ("plain", "script") if side in sides)
    assert found.tries.get("watch", 1) >= 1
    assert found.commands["ours"] > 0
    assert redis_client.dbsize() == 0


def test_a_change_that_is_missing_is_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_expected", lambda operation, changes: -1)
    with pytest.raises(SidesDiffer, match="ours"):
        held(url, Contest("increment", 2, 1, ("ours", "plain"), seconds=0.0), 1)
