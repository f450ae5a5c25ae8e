"""Connections of older redis-py releases know fewer arguments: they are given those they know."""

from __future__ import annotations

from types import SimpleNamespace

import redis.asyncio

from rapyer_core.settings import Settings
from rapyer_core.transports.wire import connection_parameters, takes


class Older:
    """As in redis-py 8.0, whose asyncio connections know nothing of maintenance notifications."""

    def __init__(self, *, host: str = "", protocol: int = 3, decode_responses: bool = False) -> None: ...


class Newer(Older):
    def __init__(self, *, maint_notifications_config: object = None, **others: object) -> None: ...


def test_arguments_of_base_classes_are_known_too() -> None:
    assert takes(Newer, "maint_notifications_config")
    assert takes(Newer, "protocol")
    assert not takes(Older, "maint_notifications_config")


def test_an_older_connection_is_not_given_what_it_does_not_know() -> None:
    pool = SimpleNamespace(
        connection_class=Older, connection_kwargs={"host": "example", "maint_notifications_config": 1}
    )
    settings = Settings(client=SimpleNamespace(connection_pool=pool))
    _, arguments = connection_parameters(settings, redis.asyncio.ConnectionPool, SimpleNamespace())
    assert "maint_notifications_config" not in arguments
    assert (arguments["host"], arguments["protocol"]) == ("example", 2)
