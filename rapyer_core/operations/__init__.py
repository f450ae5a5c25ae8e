"""Operations: generators that yield requests and receive their replies. No I/O, no asyncio, no redis import."""
