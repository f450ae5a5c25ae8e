"""The engine beside others on the same object: flatten and load the post's player, as ratios to hand-written code.

`python bench/engine.py`. CPU time; the sides take turns, and the median of the rounds counts. msgspec and orjson make
one JSON text of the object, cattrs nested dicts: none of them makes fields that a server can change one by one. So
their rows say what such a step costs, not that they do the same.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "codecs")]

from bench.players import Player, flatten_to_bytes, make_player, unflatten
from rapyer_codecs import default_registry

ROUNDS = 60
OBJECTS = 50

MAPPER = default_registry.mapper(Player)


class Side(NamedTuple):
    """One way. store: object -> stored form. load: back."""

    name: str
    store: Callable[[Any], Any]
    load: Callable[[Any], Any]


def sides() -> list[Side]:
    """Ours, by hand, and of the others those that are installed."""
    found = [Side("by hand", flatten_to_bytes, unflatten), Side("rapyer_codecs", MAPPER.dump, MAPPER.load)]
    try:
        import msgspec
    except ImportError:
        pass
    else:
        decoder = msgspec.json.Decoder(Player)
        found.append(Side("msgspec (JSON text)", msgspec.json.Encoder().encode, decoder.decode))
    import cattrs.preconf.json

    converter = cattrs.preconf.json.make_converter()
    found.append(
        Side("cattrs (nested dicts)", converter.unstructure, lambda stored: converter.structure(stored, Player))
    )
    try:
        import orjson
    except ImportError:
        return found
    plain = cattrs.Converter()
    found.append(
        Side(
            "orjson and cattrs (JSON text)",
            lambda player: orjson.dumps(asdict(player)),
            lambda stored: plain.structure(orjson.loads(stored), Player),
        )
    )
    return found


def lap(function: Callable[[Any], Any], values: Sequence[Any]) -> float:
    """Microseconds of CPU for one value."""
    start = time.process_time()
    for _ in range(4):
        for value in values:
            function(value)
    return (time.process_time() - start) / (4 * len(values)) * 1e6


def main() -> None:
    players = [make_player(number) for number in range(OBJECTS)]
    ways = [(side, players, [side.store(player) for player in players]) for side in sides()]
    for side, given, stored in ways:
        assert [side.load(form) for form in stored] == given, side.name
    times: dict[tuple[str, str], list[float]] = {}
    gc.disable()
    for _ in range(ROUNDS):
        for side, given, stored in ways:
            times.setdefault((side.name, "store"), []).append(lap(side.store, given))
            times.setdefault((side.name, "load"), []).append(lap(side.load, stored))
    print(f"{'':32} {'store':>18} {'load':>18}")
    for side, _, _ in ways:
        cells = []
        for step in ("store", "load"):
            ours, hand = times[side.name, step], times["by hand", step]
            ratio = statistics.median(by_hand / mine for by_hand, mine in zip(hand, ours, strict=True))
            cells.append(f"{statistics.median(ours):7.2f} us {ratio:6.2f}x")
        print(f"{side.name:32} {cells[0]:>18} {cells[1]:>18}")


if __name__ == "__main__":
    main()
