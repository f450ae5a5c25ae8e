"""What the package costs before it does anything: its import, the decoration of a class, the first use of one.

CPU time of new processes, the best of several, since whatever else runs on the machine can only add to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.sizes import Size

ROOT = Path(__file__).parents[1]
RUNS = 15
"""At most; fewer if fewer rounds are asked for."""

IMPORT = """
import time, redis, redis.asyncio
start = time.process_time()
import rapyer_core
print((time.process_time() - start) * 1000)
"""

BASE = """
import time
start = time.process_time()
import redis, redis.asyncio
print((time.process_time() - start) * 1000)
"""

DECORATE = """
import time, dataclasses, enum, rapyer_core
from rapyer_codecs import default_registry

class Achievement(enum.Enum):
    FIRST_WIN = "first_win"

@dataclasses.dataclass
class Stats:
    wins: int = 0
    losses: int = 0
    avg_score: float = 0.0

def player():
    @dataclasses.dataclass
    class Player:
        username: rapyer_core.Key[str]
        score: int = 0
        wins: int = 0
        coins: int = 0
        level: int = 1
        xp: int = 0
        rating: float = 1000.0
        achievements: list[Achievement] = dataclasses.field(default_factory=list)
        stats: Stats = dataclasses.field(default_factory=Stats)
        metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    Player.__qualname__ = "Player"
    return Player

first, second = player(), player()
start = time.process_time()
first = rapyer_core.redis_model(first)
middle = time.process_time()
second = rapyer_core.redis_model(second)
end = time.process_time()
default_registry.mapper(second).load(default_registry.mapper(second).dump(second(username="alice")))
print((middle - start) * 1000, (end - middle) * 1000, (time.process_time() - end) * 1000)
"""


def import_time(url: str, rounds: int) -> Size:
    """On top of redis-py's."""
    (ours,), (base,) = best(IMPORT, rounds), best(BASE, rounds)
    return Size("import, on top of redis", "ms", ours, None, 60.0, f"redis and redis.asyncio themselves: {base:.0f} ms")


def decoration_time(url: str, rounds: int) -> Size:
    """Of a class like the player. The first of a process also imports cattrs, and makes what others find made."""
    first, other, use = best(DECORATE, rounds)
    note = f"the first one, which imports cattrs: {first:.1f} ms; the code for one, at its first use: {use:.1f} ms"
    return Size("decoration of a class", "ms", other, None, 2.0, note)


def best(program: str, rounds: int) -> list[float]:
    """The least of each of the numbers that a program prints, over several runs."""
    # Without the caches of compiled modules, which every installation has, it would be the compiler that is measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "codecs")])
    runs = []
    for _ in range(min(rounds, RUNS)):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        runs.append([float(number) for number in done.stdout.split()])
    return [min(numbers) for numbers in zip(*runs, strict=True)]
