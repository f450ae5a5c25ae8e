"""`make bench-peers`: rapyer_core beside other mappers, on one server with the modules that some of them need.

    python -m bench.peers.run --rows increment --rounds 3 --json FILE

RAPYER_PEERS_URL names another server (`redis://…`); its database must be empty and is emptied again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.machine import machine
from bench.measure import in_turn, rate, ratio
from bench.peers.ours import Ours, OursBlocking
from bench.peers.peer import Peer
from bench.peers.result import OTHER_ROWS, PACKAGES, Entry, PeerResult, times
from bench.peers.rows import ROWS, PeerRow, Runner
from bench.peers.server import server
from bench.report import console, progress

ROUNDS = 4
WIDTH = 150
TARGET = 3.0
PEERS = (
    ("rapyer_peer", "Rapyer"),
    ("redis_om_peer", "RedisOmHash"),
    ("redis_om_peer", "RedisOmJson"),
    ("redis_om_peer", "RedisOmBlocking"),
    ("pydantic_redis_peer", "PydanticRedis"),
    ("pydantic_redis_peer", "PydanticRedisBlocking"),
    ("walrus_peer", "Walrus"),
    ("popoto_peer", "Popoto"),
)
"""Modules of this folder and their classes. Imported when the server is there, since one connects by being imported."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and show."""
    options = _parser().parse_args(arguments)
    out = console(WIDTH)
    with server() as url, ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(url, protocol=2))
        if client.dbsize():
            raise SystemExit("the database is not empty, and would be emptied: name another one in RAPYER_PEERS_URL")
        os.environ["REDIS_URL"] = url
        peers: list[Peer] = [Ours(), OursBlocking(), *_peers()]
        runners = [Runner(peer, url, client.flushdb) for peer in peers]
        for runner in runners:
            stack.callback(runner.close)
        stack.callback(client.flushdb)
        found = {**machine(url), **{package: version(package) for package in PACKAGES}}
        results = []
        for row in _chosen(options):
            with progress(out, row.title):
                results.append(_measured(row, runners, options.rounds))
        notes = {runner.peer.name: runner.peer.note for runner in runners if runner.peer.note}
    out.print(_table(results))
    for name, note in notes.items():
        out.print(f"{name}: {note}", style="dim", highlight=False)
    out.print(", ".join(f"{name} {text}" for name, text in found.items()), style="dim", highlight=False)
    if options.json is not None:
        written = {
            "machine": found,
            "rounds": options.rounds,
            "notes": notes,
            "rows": [result.as_json() for result in results],
        }
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


def _peers() -> Iterator[Peer]:
    for module, name in PEERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer: Peer = getattr(importlib.import_module(f"bench.peers.{module}"), name)()
        yield peer


def _chosen(options: argparse.Namespace) -> list[PeerRow]:
    wanted = [text.lower() for text in options.rows]
    rows = [row for row in ROWS if not wanted or any(text in row.title.lower() for text in wanted)]
    return [row.smaller(64) for row in rows] if options.quick else rows


def _measured(row: PeerRow, runners: Sequence[Runner], rounds: int) -> PeerResult:
    refusals = [(runner, row.refusal(runner.peer)) for runner in runners]
    able = {runner.peer.name: runner for runner, refusal in refusals if refusal is None}
    ours = "rapyer_core"
    laps = {name: partial(runner.prepare, row) for name, runner in able.items()}
    errors: dict[str, str] = {}
    for name in list(laps):
        try:
            able[name].prove(row)
            in_turn({name: laps[name]}, 1)
        except Exception as error:
            if name == ours:
                raise
            errors[name] = f"{type(error).__name__}: {error}"[:200]
            del laps[name], able[name]
    done = in_turn(laps, rounds)
    entries = {
        name: Entry(
            rate(done, name, row.operations),
            ratio(done, ours, name).median,
            runner.loses(row.operation),
        )
        for name, runner in able.items()
    }
    return PeerResult(row.group, row.operation, entries, _reasons(refusals, able) | errors)


def _reasons(refusals: Sequence[tuple[Runner, str | None]], able: Mapping[str, Any]) -> dict[str, str]:
    """By mapper. Of two forms of one, what keeps it out counts for more than that it has other rows."""
    named: dict[str, str] = {}
    for runner, refusal in refusals:
        name = runner.peer.name
        if refusal is not None and name not in able and named.get(name) in (None, *OTHER_ROWS):
            named[name] = refusal
    return named


def _table(results: Sequence[PeerResult]) -> Table:
    names = list(dict.fromkeys(name for result in results for name in (*result.entries, *result.reasons)))
    made = Table(
        title="operations a second; *: loses updates made at the same time; safest: the best of those without *",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    made.add_column("row", no_wrap=True)
    for name in (*names, "ours / best", "ours / safest"):
        made.add_column(name, justify="right")
    for result in results:
        cells = [result.cell(name) for name in names]
        made.add_row(f"{result.group}: {result.words}", *cells, _ratio(result.best), _ratio(result.safest))
    return made


def _ratio(found: float | None) -> Text:
    style = "bold green" if found is not None and found >= TARGET else "yellow"
    return Text(times(found), style=style)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.peers.run", description="rapyer_core beside other mappers")
    parser.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="those with a TEXT in their title")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"laps of each mapper; {ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="few operations: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
