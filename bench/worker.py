"""A process of a contest. `python -m bench.worker URL PREFIX SIDE OPERATION TASKS`, started by bench/contest.py.

Says `ready`; then for each line of its input, a number of changes, says `ready` once more, and at the next line makes
so many and says how that went, as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

from bench.contenders import contender


def main() -> None:
    url, prefix, side, operation, tasks = sys.argv[1:]
    with asyncio.Runner() as runner:
        who = contender(side)
        runner.run(who.open(url, prefix, int(tasks)))
        print("ready", flush=True)
        for line in iter(sys.stdin.readline, ""):
            gc.collect()  # each lap pays for its own garbage only
            print("ready", flush=True)
            sys.stdin.readline()
            start = time.process_time()
            errors = runner.run(_shared_out(getattr(who, operation), int(line), int(tasks)))
            print(json.dumps({"cpu": time.process_time() - start, "errors": errors}), flush=True)
        runner.run(who.close())


async def _shared_out(operation: Callable[[], Awaitable[object]], changes: int, tasks: int) -> list[str]:
    """All tasks draw from one stock, so that they end at about the same time. What raised."""
    stock = iter(range(changes))
    errors: list[str] = []

    async def one() -> None:
        for _ in stock:
            try:
                await operation()
            except Exception as error:  # counted: the sides are compared with the errors they make
                errors.append(f"{type(error).__name__}: {error}")

    await asyncio.gather(*(one() for _ in range(tasks)))
    return errors


if __name__ == "__main__":
    main()
