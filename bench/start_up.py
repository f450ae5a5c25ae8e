"""What the package costs before it does anything: its import, the decoration of a class, the first use of one.

CPU time of new processes, the best of several: `python bench/start_up.py`. Without a database.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 15

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


def best(program: str) -> list[float]:
    """The least of each of the numbers that a program prints, over several runs."""
    # Without the caches of compiled modules, which every installation has, it would be the compiler that is measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "codecs")])
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        runs.append([float(number) for number in done.stdout.split()])
    return [min(numbers) for numbers in zip(*runs, strict=True)]


def main() -> None:
    rows = [
        ("import redis, redis.asyncio", best(BASE)[0], None),
        ("import rapyer_core, on top of these", best(IMPORT)[0], 60.0),
        *zip(
            ("decorate the first class", "decorate another class", "generate the code of a class, at its first use"),
            best(DECORATE),
            (2.0, 2.0, None),
            strict=True,
        ),
    ]
    for name, milliseconds, target in rows:
        wanted = "" if target is None else f"   target {target:g}"
        print(f"{name:50} {milliseconds:7.1f} ms{wanted}")


if __name__ == "__main__":
    main()
