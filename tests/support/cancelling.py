"""Cancelling at a chosen await. No fixtures here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any


class CancelledAtStep:
    """Runs an awaitable and throws CancelledError in at its n-th suspension. Awaitable itself."""

    def __init__(self, work: Awaitable[Any], step: int) -> None:
        self._work, self._step = work, step
        self.struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        count = 0
        try:
            waited_for = inner.send(None)
            while True:
                count += 1
                if count == self._step:
                    self.struck = True
                    if waited_for is not None:
                        # What Task.cancel does with the future that the task waits for.
                        waited_for._asyncio_future_blocking = False
                        waited_for.cancel()
                    waited_for = inner.throw(asyncio.CancelledError())
                    continue
                try:
                    yield from _through(waited_for)
                except asyncio.CancelledError as error:
                    # Of a timeout: for the work.
                    waited_for = inner.throw(error)
                else:
                    waited_for = inner.send(None)
        except StopIteration as end:
            return end.value


def _through(waited_for: Any) -> Generator[Any, Any, None]:
    yield waited_for
