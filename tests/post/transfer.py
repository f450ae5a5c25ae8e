"""One transfer as a program: ``python -m tests.post.transfer URL FROM TO COUNT``."""

import asyncio
import sys

from rapyer_core import close_rapyer, init_rapyer
from tests.post.players import transfer_items


async def main(url: str, giver: str, taker: str, count: str) -> None:
    await init_rapyer(url)
    await transfer_items(giver, taker, int(count))
    await close_rapyer()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
