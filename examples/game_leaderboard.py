"""A live leaderboard: hundreds of game results, item transfers and cheers at once, and not one update lost.

    python examples/game_leaderboard.py [--players 24] [--games 800] [--tasks 50] [--seed 7]

Plays on the server that RAPYER_URL names, else on an embedded one. Whatever it stores has a prefix of its own and is
deleted at the end. Three ways to write are shown, each in a function of its own: one field (``cheer``), several fields
of one object (``record``), and two objects under a lock (``transfer``).
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.align import Align
from rich.bar import Bar
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rapyer_core import (
    Conflict,
    ConnectionFailed,
    Index,
    Key,
    RapyerError,
    append,
    close_rapyer,
    delete_many,
    get_many,
    increment,
    init_rapyer,
    lock,
    pipeline,
    redis_model,
    ref,
    save_many,
    top,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# --- the model ----------------------------------------------------------------------------------------------


class Achievement(enum.Enum):
    FIRST_WIN = "first_win"
    TEN_WINS = "ten_wins"
    TOP_PLAYER = "top_player"


@dataclass
class Stats:
    games: int = 0
    wins: int = 0
    losses: int = 0


@redis_model
@dataclass
class Player:
    username: Key[str]
    score: Index[int] = 0
    items: int = 0
    cheers: int = 0
    stats: Stats = field(default_factory=Stats)
    achievements: list[Achievement] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


# --- the moves ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Game:
    """One result of one player. points: won, or lost if negative."""

    player: str
    points: int


@dataclass(frozen=True)
class Transfer:
    """Items that one player gives to another, if there are so many."""

    giver: str
    taker: str
    items: int


@dataclass(frozen=True)
class Cheer:
    """Applause for a player."""

    player: str


Move = Game | Transfer | Cheer


@dataclass
class Tally:
    """How it went. again: blocks whose commit was refused by a Conflict and that were played once more."""

    done: Counter[type] = field(default_factory=Counter)
    moved: int = 0
    refused: int = 0
    again: int = 0
    seconds: float = 0.0

    @property
    def commits(self) -> int:
        return self.done.total() - self.refused


async def cheer(move: Cheer) -> None:
    """One field: nothing is read, so nothing can be in the way."""
    await increment(ref(Player, move.player), Player.cheers, 1)


async def record(game: Game, tally: Tally) -> None:
    """Several fields of one player: all of them in one commit, or none."""
    while True:
        try:
            async with pipeline(ref(Player, game.player)) as player:
                player.score += game.points
                player.stats.games += 1
                if game.points > 0:
                    player.stats.wins += 1
                    # The wins are read here, so if they change before the commit it does not happen.
                    if player.stats.wins == 1:
                        player.achievements.append(Achievement.FIRST_WIN)
                    if player.stats.wins == 10:
                        player.achievements.append(Achievement.TEN_WINS)
                else:
                    player.stats.losses += 1
                player.metadata["last_game"] = datetime.now(UTC).isoformat(timespec="milliseconds")
                player.metadata["last_result"] = "win" if game.points > 0 else "loss"
            return
        except Conflict:
            tally.again += 1


async def transfer(move: Transfer, tally: Tally) -> None:
    """Two players: both change in one commit, and nobody else moves their items meanwhile."""
    both = ref(Player, move.giver), ref(Player, move.taker)
    async with lock(*both, name="transfer", timeout=30) as (giver, taker):
        if giver.items < move.items:
            tally.refused += 1
            return
        giver.items -= move.items
        taker.items += move.items
    tally.moved += 1


# --- the tournament -----------------------------------------------------------------------------------------

NAMES = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj",
    "olivia", "peggy", "rupert", "sybil", "trent", "ursula", "victor", "wendy", "xavier", "yasmin", "zoe", "quentin",
]  # fmt: skip
FIRST_ITEMS = 20
AWARDS = [Achievement.FIRST_WIN, Achievement.TEN_WINS]
SHOWN = 10


def invented(count: int) -> list[str]:
    """So many different names."""
    return [name if turn == 0 else f"{name}{turn + 1}" for turn in range(count) for name in NAMES][:count]


def drawn_up(names: Sequence[str], games: int, dice: random.Random) -> list[Move]:
    """What will be played, in a random order; for two games a transfer and four cheers. Some players play more."""
    weights = [1 / (place + 3) for place in range(len(names))]
    skill = {name: dice.uniform(0.35, 0.75) for name in names}

    def somebody() -> str:
        return dice.choices(names, weights)[0]

    moves: list[Move] = []
    for name in (somebody() for _ in range(games)):
        points = dice.randint(5, 40)
        moves.append(Game(name, points if dice.random() < skill[name] else -points // 2))
    for _ in range(games // 2):
        giver, taker = dice.sample(names, 2)
        moves.append(Transfer(giver, taker, dice.randint(1, 5)))
    moves += [Cheer(somebody()) for _ in range(games * 2)]
    dice.shuffle(moves)
    return moves


async def play(moves: Sequence[Move], tasks: int, tally: Tally) -> None:
    """All moves, by so many tasks at once."""
    waiting = iter(moves)
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(_work(waiting, tally))
    tally.seconds = time.perf_counter() - start


async def _work(waiting: Iterator[Move], tally: Tally) -> None:
    for move in waiting:
        match move:
            case Game():
                await record(move, tally)
            case Transfer():
                await transfer(move, tally)
            case Cheer():
                await cheer(move)
        tally.done[type(move)] += 1


# --- the account --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One sum: what was played and what is stored. lost: updates that are missing, or too many."""

    what: str
    played: int
    stored: int
    lost: int


def account(moves: Sequence[Move], players: Sequence[Player], tally: Tally) -> list[Line]:
    """Compares what was played with what is stored, player by player."""
    games = [move for move in moves if isinstance(move, Game)]
    wins = Counter(game.player for game in games if game.points > 0)
    losses = Counter(game.player for game in games if game.points < 0)
    points: Counter[str] = Counter()
    for game in games:
        points[game.player] += game.points
    cheers = Counter(move.player for move in moves if isinstance(move, Cheer))
    items = sum(player.items for player in players)
    awards = {name: AWARDS[: (won >= 1) + (won >= 10)] for name, won in wins.items()}
    held = {
        player.username: [one for one in player.achievements if one is not Achievement.TOP_PLAYER] for player in players
    }

    def line(what: str, played: Counter[str], stored: dict[str, int]) -> Line:
        lost = sum(abs(played[name] - found) for name, found in stored.items())
        return Line(what, played.total(), sum(stored.values()), lost)

    scores = {player.username: player.score for player in players}
    return [
        line("wins", wins, {player.username: player.stats.wins for player in players}),
        line("losses", losses, {player.username: player.stats.losses for player in players}),
        line("games", wins + losses, {player.username: player.stats.games for player in players}),
        # How many updates a wrong sum lacks cannot be told from the sum: at least one.
        Line(
            "points",
            points.total(),
            sum(scores.values()),
            sum(points[name] != found for name, found in scores.items()),
        ),
        line("cheers", cheers, {player.username: player.cheers for player in players}),
        Line(
            "achievements",
            sum(map(len, awards.values())),
            sum(map(len, held.values())),
            sum(awards.get(name, []) != found for name, found in held.items()),
        ),
        Line("items", FIRST_ITEMS * len(players), items, abs(FIRST_ITEMS * len(players) - items)),
    ]


def updates(tally: Tally, lines: Sequence[Line]) -> int:
    """How many changes of single fields there were: score, result and games of each game, and so on."""
    awards = next(line.played for line in lines if line.what == "achievements")
    return 3 * tally.done[Game] + tally.done[Cheer] + awards + 2 * tally.moved


# --- the picture --------------------------------------------------------------------------------------------

MEDALS = ("🥇", "🥈", "🥉")
BADGES = {Achievement.FIRST_WIN: "⭐", Achievement.TEN_WINS: "🔥", Achievement.TOP_PLAYER: "👑"}
# Readable on a dark and on a light background.
PLACES = ("bold yellow", "bold", "bold dark_orange3")
WIDEST = 100


def board(best: Sequence[Player]) -> Table:
    """The table of the best players, as the index has them."""
    legend = "   ".join(f"{badge} {achievement.value.replace('_', ' ')}" for achievement, badge in BADGES.items())
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False, header_style="dim", caption=legend, caption_style="dim")
    table.add_column("", justify="right", width=2)
    table.add_column("player", min_width=10, no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("", ratio=1, min_width=8)
    table.add_column("won", justify="right", style="green")
    table.add_column("lost", justify="right", style="red")
    table.add_column("items", justify="right", style="cyan")
    table.add_column("cheers", justify="right", style="magenta")
    table.add_column("", width=6)
    highest = max([1, *(player.score for player in best)])
    for place, player in enumerate(best):
        style = PLACES[place] if place < len(PLACES) else ""
        table.add_row(
            MEDALS[place] if place < len(MEDALS) else str(place + 1),
            Text(player.username, style),
            Text(f"{player.score:,}", style),
            Bar(highest, 0, max(0, player.score), color="yellow" if place == 0 else "dark_orange3"),
            str(player.stats.wins),
            str(player.stats.losses),
            str(player.items),
            str(player.cheers),
            "".join(BADGES[one] for one in player.achievements),
        )
    for _ in range(SHOWN - len(best)):
        table.add_row()
    return table


def report(lines: Sequence[Line], tally: Tally) -> RenderableType:
    """The sums, whether they agree, and how it went."""
    sums = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("sum of", "played", "stored", ""):
        sums.add_column(name, justify="left" if name == "sum of" else "right")
    for line in lines:
        mark = Text("✓", "bold green") if line.lost == 0 else Text(f"✗ {line.lost} off", "bold red")
        sums.add_row(line.what, f"{line.played:,}", f"{line.stored:,}", mark)
    went = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    went.add_column(justify="right", style="bold")
    went.add_column()
    went.add_row(f"{tally.done[Game]:,}", "game results")
    went.add_row(f"{tally.moved:,}", "transfers")
    went.add_row(f"{tally.refused:,}", "refused for want of items")
    went.add_row(f"{tally.done[Cheer]:,}", "cheers")
    went.add_row(f"{tally.commits:,}", "commits")
    went.add_row(f"{tally.again:,}", "conflicts retried")
    went.add_row(f"{tally.seconds:.2f}", "seconds")
    went.add_row(f"{tally.commits / tally.seconds:,.0f}", "commits per second")
    sides = Table.grid(expand=True, padding=(0, 2))
    sides.add_column(ratio=1)
    sides.add_column(ratio=1)
    sides.add_row(sums, went)
    lost = sum(line.lost for line in lines)
    verdict = Text(f"{lost:,} updates lost of {updates(tally, lines):,}", "bold green" if lost == 0 else "bold red")
    return Panel(
        Group(sides, Text(), Rule(style="dim"), Align.center(verdict)),
        box=ROUNDED,
        border_style="green" if lost == 0 else "red",
        title="[bold]the account",
        title_align="left",
        padding=(1, 2),
    )


class Screen:
    """What is seen while it is played: the table, and how far the moves are."""

    def __init__(self, moves: Sequence[Move], tally: Tally, console: Console) -> None:
        self._tally = tally
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="dark_orange3", finished_style="green"),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            expand=True,
            auto_refresh=False,
            console=console,
        )
        kinds: tuple[tuple[type, str], ...] = ((Game, "results"), (Transfer, "transfers"), (Cheer, "cheers"))
        totals = Counter(type(move) for move in moves)
        self._bars = {kind: self._progress.add_task(text, total=totals[kind]) for kind, text in kinds}
        self._live = Live(console=console, auto_refresh=False)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Draws the table ten times a second, from the index, until the block ends."""
        with self._live:
            drawing = asyncio.create_task(self._follow())
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.wait([drawing])

    async def draw(self) -> None:
        """The state of this moment."""
        best = await top(Player, Player.score, SHOWN)
        for kind, bar in self._bars.items():
            self._progress.update(bar, completed=self._tally.done[kind])
        self._live.update(Group(board(best), Padding(self._progress, (1, 0))), refresh=True)

    async def _follow(self) -> None:
        while True:
            await self.draw()
            await asyncio.sleep(0.1)


# --- the program --------------------------------------------------------------------------------------------


def where() -> str:
    """The server, without a password."""
    url = urlsplit(os.environ.get("RAPYER_URL", "embedded://"))
    if url.scheme == "embedded":
        return "an embedded server"
    return f"{url.scheme}://{url.hostname or url.path}{f':{url.port}' if url.port else ''}"


async def tournament(options: argparse.Namespace, console: Console) -> bool:
    """Plays, draws, checks; whether no update was lost."""
    names = invented(options.players)
    moves = drawn_up(names, options.games, random.Random(options.seed))
    tally = Tally()
    await init_rapyer(prefix=f"leaderboard-demo-{secrets.token_hex(4)}:")
    try:
        console.print(Rule("[bold]leaderboard", style="dark_orange3"))
        console.print(
            f"{len(names)} players, {len(moves):,} moves, {options.tasks} tasks at once, on {where()}",
            style="dim",
            justify="center",
        )
        await save_many(Player(name, items=FIRST_ITEMS) for name in names)
        screen = Screen(moves, tally, console)
        async with screen.following():
            await play(moves, options.tasks, tally)
            champion = (await top(Player, Player.score, 1))[0]
            await append(champion, Player.achievements, Achievement.TOP_PLAYER)
            await screen.draw()
        if not console.is_terminal:
            console.print()
        players = [player for player in await get_many(Player, names) if player is not None]
        lines = account(moves, players, tally)
        console.print(report(lines, tally))
        return len(players) == len(names) and not any(line.lost for line in lines)
    finally:
        # Of a server that is gone, nothing can be deleted; why it is gone is being raised already.
        with suppress(ConnectionFailed):
            await delete_many(ref(Player, name) for name in names)
        await close_rapyer()


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="A live leaderboard on Redis or Valkey, with every update accounted for."
    )
    parser.add_argument("--players", type=int, default=24, help="how many play (2 or more)")
    parser.add_argument("--games", type=int, default=800, help="how many results")
    parser.add_argument("--tasks", type=int, default=50, help="how many tasks play at once")
    parser.add_argument("--seed", type=int, default=7, help="of the dice: the same seed, the same moves")
    options = parser.parse_args(arguments)
    if options.players < 2 or options.games < 1 or options.tasks < 1:
        parser.error("at least 2 players, 1 game and 1 task")
    return options


def main() -> int:
    """0: no update was lost. 1: one was. 2: the server cannot be used. 130: interrupted."""
    options = parsed()
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    status = 2
    try:
        status = 0 if asyncio.run(tournament(options, console)) else 1
    except* KeyboardInterrupt:
        status = 130
    except* (RapyerError, ValueError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        console.print(Text(f"{type(error).__name__}: {error}", "bold red"))
    return status


if __name__ == "__main__":
    sys.exit(main())
