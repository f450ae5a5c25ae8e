"""Urls that name sentinels: what they mean, and that no error shows what they say."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import redis.connection
import redis.sentinel
from hypothesis import given
from hypothesis import strategies as st

from rapyer_core import open_session
from rapyer_core.transports.sentinel import pool_of_url

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=10)


def _sentinels(pool: Any) -> list[dict[str, Any]]:
    clients = pool.sentinel_manager.sentinels
    return [client.connection_pool.connection_kwargs for client in clients]


def _addresses(pool: Any) -> list[tuple[str, int]]:
    return [(kwargs["host"], kwargs["port"]) for kwargs in _sentinels(pool)]


def test_hosts_the_service_and_a_database() -> None:
    pool = pool_of_url("redis+sentinel://one,two:5000,[::1]:5001,[2001:db8::7]/mymaster/3")
    assert isinstance(pool, redis.sentinel.SentinelConnectionPool)
    assert (pool.service_name, pool.is_master) == ("mymaster", True)
    assert _addresses(pool) == [("one", 26379), ("two", 5000), ("::1", 5001), ("2001:db8::7", 26379)]
    assert pool.connection_kwargs["db"] == 3


def test_user_and_password_are_the_primarys_and_the_sentinels_have_their_own() -> None:
    pool = pool_of_url(
        "redis+sentinel://ann:a%40b@h/mymaster?sentinel_username=eve&sentinel_password=c%26d&client_name=me"
    )
    named = {name: pool.connection_kwargs[name] for name in ("username", "password", "client_name")}
    assert named == {"username": "ann", "password": "a@b", "client_name": "me"}
    (sentinel,) = _sentinels(pool)
    assert (sentinel["username"], sentinel["password"]) == ("eve", "c&d")
    assert pool_of_url("redis+sentinel://:secret@h/mymaster").connection_kwargs["password"] == "secret"
    assert _sentinels(pool_of_url("redis+sentinel://:secret@h/mymaster"))[0]["password"] is None


def test_without_tls_both_are_plain() -> None:
    pool = pool_of_url("redis+sentinel://h/mymaster")
    assert pool.connection_class is redis.sentinel.SentinelManagedConnection
    assert pool.sentinel_manager.sentinels[0].connection_pool.connection_class is redis.connection.Connection


def test_with_tls_both_check_by_the_same_authority_unless_the_sentinels_have_theirs() -> None:
    pool = pool_of_url("rediss+sentinel://h/mymaster?ssl_ca_certs=/ours.pem")
    assert pool.connection_class is redis.sentinel.SentinelManagedSSLConnection
    client = pool.sentinel_manager.sentinels[0].connection_pool
    assert client.connection_class is redis.connection.SSLConnection
    assert (pool.connection_kwargs["ssl_ca_certs"], client.connection_kwargs["ssl_ca_certs"]) == ("/ours.pem",) * 2
    pool = pool_of_url("rediss+sentinel://h/mymaster?ssl_ca_certs=/ours.pem&sentinel_ssl_ca_certs=/theirs.pem")
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ours.pem"
    assert _sentinels(pool)[0]["ssl_ca_certs"] == "/theirs.pem"


def test_how_many_others_a_sentinel_has_to_see() -> None:
    assert pool_of_url("redis+sentinel://h/mymaster?min_other_sentinels=2").sentinel_manager.min_other_sentinels == 2


@given(user=TEXT, password=TEXT, name=TEXT, theirs=TEXT)
def test_any_text_can_be_escaped(user: str, password: str, name: str, theirs: str) -> None:
    parts = [quote(part, safe="") for part in (user, password, name, theirs)]
    pool = pool_of_url("redis+sentinel://{}:{}@one,two/{}?sentinel_password={}".format(*parts))
    assert pool.service_name == name
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == (user, password)
    assert _sentinels(pool)[1]["password"] == theirs
    assert _addresses(pool) == [("one", 26379), ("two", 26379)]


@pytest.mark.parametrize(
    "rest",
    [
        "h",
        "h/",
        "h//0",
        "/mymaster",
        "h,/mymaster",
        ":5000/mymaster",
        "h:canary/mymaster",
        "h:5000:5001/mymaster",
        "[::1]canary/mymaster",
        "h/mymaster/canary",
        "h/mymaster/1/canary",
        "h/mymaster?min_other_sentinels=canary",
        "h/mymaster?socket_timeout=canary",
        "h/mymaster?sentinel_socket_timeout=canary",
    ],
)
async def test_what_is_wrong_is_said_without_what_the_url_says(rest: str) -> None:
    with pytest.raises(ValueError) as caught:
        async with open_session(f"redis+sentinel://canary:canary@{rest}"):
            pass
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "canary" not in str(chain)
        chain = chain.__cause__ or chain.__context__
