"""The listings of the post on a cluster: those of one player anywhere, the transfer under a prefix with a hash tag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rapyer_core import CrossSlot, close_rapyer, init_rapyer
from tests.post.players import Achievement, Player, feature_1, player_wins, transfer_items
from tests.support.clusters import slot_of

pytestmark = pytest.mark.usefixtures("session")


async def test_the_listings_for_one_player() -> None:
    """Primary keys are generated, so that they are on any node."""
    players = [Player(f"player {number}") for number in range(12)]
    for player in players:
        await player.asave()
    ids = [player.pk for player in players]
    await asyncio.gather(*(feature_1(pk) for pk in ids), *(player_wins(pk, 10) for pk in ids * 5))
    for pk in ids:
        found = await Player.aget(pk)
        assert (found.score, found.wins) == (150, 5)
        assert sorted(each.value for each in found.achievements) == ["first_win", *["streak_10"] * 5]
        assert found.metadata["streak"] == "10"
        assert found.achievements.count(Achievement.FIRST_WIN) == 1


async def test_the_transfer_between_slots_is_refused_as_a_whole() -> None:
    one, other = Player("a", inventory_count=10), Player("b", inventory_count=0)
    while slot_of(one.key) == slot_of(other.key):
        other = Player("b", inventory_count=0)
    for player in (one, other):
        await player.asave()
    with pytest.raises(CrossSlot, match="prefix"):
        await transfer_items(one.pk, other.pk, 3)
    assert [(await Player.aget(player.pk)).inventory_count for player in (one, other)] == [10, 0]


class TestUnderOneTag:
    @pytest.fixture
    async def session(self, cluster_url: str) -> AsyncIterator[None]:
        """The default session, all of whose objects are in one slot."""
        await init_rapyer(cluster_url, prefix="{game}:")
        yield
        await close_rapyer()

    async def test_the_transfer_between_two_players(self) -> None:
        players = [Player("a", inventory_count=100), Player("b", inventory_count=0)]
        for player in players:
            await player.asave()
        one, other = (player.pk for player in players)
        await asyncio.gather(*(transfer_items(one, other, 1) for _ in range(50)))
        assert [(await Player.aget(pk)).inventory_count for pk in (one, other)] == [50, 50]
