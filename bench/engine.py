"""`make bench-engine`: flatten and load the post's player by the engine, by hand and by others, without a server.

msgspec and orjson make one JSON text of the object, cattrs nested dicts: none of them makes fields that a server can
change one by one. So their rows say what such a step costs, not that they do the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.machine import machine, server
from bench.measure import Lap, cpu_each, in_turn, ratio, timed
from bench.players import Player, flatten_to_bytes, make_player, unflatten
from bench.report import console
from rapyer_codecs import default_registry

ROUNDS = 60
OBJECTS = 50
TIMES = 8
"""How often a lap goes over the objects."""

OURS, HAND = "rapyer_codecs", "by hand"


@dataclass(frozen=True, slots=True)
class Way:
    """store: object -> stored form. load: back."""

    store: Callable[[Any], Any]
    load: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Microseconds of CPU time for one object, the median; ratio: how much faster it is than by hand."""

    microseconds: float
    ratio: float


def ways() -> dict[str, Way]:
    """Ours, by hand, and of the others those that are installed."""
    mapper = default_registry.mapper(Player)
    found = {OURS: Way(mapper.dump, mapper.load), HAND: Way(flatten_to_bytes, unflatten)}
    return found | _msgspec() | _cattrs()


def _msgspec() -> dict[str, Way]:
    try:
        import msgspec
    except ImportError:
        return {}
    return {"msgspec (JSON text)": Way(msgspec.json.Encoder().encode, msgspec.json.Decoder(Player).decode)}


def _cattrs() -> dict[str, Way]:
    import cattrs.preconf.json

    converter = cattrs.preconf.json.make_converter()
    found = {"cattrs (nested dicts)": Way(converter.unstructure, lambda stored: converter.structure(stored, Player))}
    try:
        import orjson
    except ImportError:
        return found
    plain = cattrs.Converter()
    both = Way(lambda obj: orjson.dumps(asdict(obj)), lambda stored: plain.structure(orjson.loads(stored), Player))
    return found | {"orjson and cattrs (JSON text)": both}


def measured(rounds: int) -> dict[str, dict[str, Step]]:
    """Of each way its two steps, by the names of Way. ValueError if one does not give the objects back."""
    players = [make_player(number) for number in range(OBJECTS)]
    every = ways()
    stored = {name: [way.store(player) for player in players] for name, way in every.items()}
    for name, way in every.items():
        if [way.load(form) for form in stored[name]] != players:
            raise ValueError(f"{name} gives other objects back")
    store = _steps({name: (way.store, players) for name, way in every.items()}, rounds)
    load = _steps({name: (way.load, stored[name]) for name, way in every.items()}, rounds)
    return {name: {"store": store[name], "load": load[name]} for name in every}


def _steps(sides: Mapping[str, tuple[Callable[[Any], Any], list[Any]]], rounds: int) -> dict[str, Step]:
    def prepare(function: Callable[[Any], Any], values: list[Any]) -> Lap[None]:
        return partial(timed, partial(_lap, function, values))

    laps = {name: partial(prepare, *side) for name, side in sides.items()}
    in_turn(laps, 1)
    done = in_turn(laps, rounds)
    each = {name: cpu_each(done, name, TIMES * OBJECTS) * 1e6 for name in sides}
    return {name: Step(each[name], ratio(done, name, HAND).cpu) for name in sides}


def _lap(function: Callable[[Any], Any], values: list[Any]) -> None:
    for _ in range(TIMES):
        for value in values:
            function(value)


def main(arguments: list[str] | None = None) -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="bench.engine", description="flatten and load one object")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"laps of each way; {ROUNDS} by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    options = parser.parse_args(arguments)
    found = measured(options.rounds)
    out = console()
    made = Table(title="microseconds of CPU time for one player, and times as fast as by hand", box=SIMPLE_HEAD)
    made.add_column("way")
    for step in ("store", "load"):
        made.add_column(step, justify="right")
    for name, steps in found.items():
        made.add_row(name, *map(said, steps.values()))
    out.print(made)
    if options.json is not None:
        with server() as url:
            written = {"machine": machine(url), "rounds": options.rounds, "ways": _as_json(found)}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


def said(step: Step) -> str:
    """Both numbers."""
    return f"{step.microseconds:.1f} us, {step.ratio:.2f}x"


def _as_json(found: Mapping[str, Mapping[str, Step]]) -> dict[str, Any]:
    return {name: {step: asdict(value) for step, value in steps.items()} for name, steps in found.items()}


if __name__ == "__main__":
    raise SystemExit(main())
