"""Errors carry their data, name the place, and never show a value."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from rapyer_codecs import (
    ConstraintError,
    DecodeError,
    EncodeError,
    Item,
    LimitExceeded,
    Mapper,
    MissingEntry,
    Packed,
    PathError,
    RapyerError,
    UnsupportedType,
    default_registry,
)

from .type_table import TABLE, Row

CANARY = "s3cr3t-c4n4ry"


@dataclass
class Stats:
    wins: int = 0


@dataclass
class Player:
    name: str
    score: int = 0
    stats: Stats = field(default_factory=Stats)
    squad: list[Stats] = field(default_factory=list)
    metadata: dict[str, int] = field(default_factory=dict)
    best: Stats | None = None
    packed: Packed[dict[str, int]] = field(default_factory=dict)


MAPPER = default_registry.mapper(Player)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({b"score": b"x"}, "score"),
        ({b"stats.wins": b"x"}, "stats.wins"),
        ({b"squad.1.wins": b"x"}, "squad[1].wins"),
        ({b"squad": b"x"}, "squad"),
        ({b"metadata.a%2E": b"x"}, 'metadata["a."]'),
        ({b"metadata": b"x"}, "metadata"),
        ({b"best.wins": b"x"}, "best.wins"),
        ({b"best": b"~Nope:{}"}, "best"),
        ({b"packed": b"x"}, "packed"),
    ],
)
def test_a_bad_field_is_named_with_its_bytes(change: dict[bytes, bytes], path: str) -> None:
    value = Player("a", 1, Stats(1), [Stats(), Stats()], {"a.": 1}, Stats())
    with pytest.raises(DecodeError) as caught:
        MAPPER.load(MAPPER.dump(value) | change)
    error = caught.value
    assert (error.model, error.path, error.raw) == ("Player", path, next(iter(change.values())))
    assert error.target
    assert str(error).startswith(f"Player.{path}: ")


def test_all_bad_fields_are_reported_at_once() -> None:
    with pytest.raises(DecodeError) as caught:
        MAPPER.load({b"score": b"x", b"stats.wins": b"y", b"squad": b"1", b"squad.0.wins": b"z"})
    assert [error.path for error in caught.value.errors] == ["name", "score", "stats.wins", "squad[0].wins"]
    assert str(caught.value) == "Player.name: is missing (and 3 more)"


def test_the_good_fields_can_be_had_without_the_bad() -> None:
    fields = {b"name": b"a", b"score": b"x", b"stats.wins": b"5", b"squad": b"1", b"squad.0.wins": b"z"}
    player, names, errors = MAPPER.load_partly(fields, {"score": 7})
    assert player == Player("a", 7, Stats(5))
    assert names == ("score", "squad")
    assert [(error.model, error.path) for error in errors] == [("Player", "score"), ("Player", "squad[0].wins")]
    player, names, _ = MAPPER.load_partly({b"name": b"\xff", b"score": b"5"}, {})
    assert names == ("name",)
    assert player.score == 5
    assert not hasattr(player, "name")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Player("a", True), "score"),
        (Player("a", 1.5), "score"),  # type: ignore[arg-type]  # what is tested
        (Player(b"a"), "name"),  # type: ignore[arg-type]  # what is tested
        (Player("a\ud800"), "name"),
        (Player("a", stats=None), "stats"),  # type: ignore[arg-type]  # what is tested
        (Player("a", squad=[Stats(), Stats("x")]), "squad[1].wins"),  # type: ignore[arg-type]  # what is tested
        (Player("a", squad=(Stats(),)), "squad"),  # type: ignore[arg-type]  # what is tested
        (Player("a", metadata={"k": "v"}), 'metadata["k"]'),  # type: ignore[dict-item]  # what is tested
        (Player("a", metadata={1: 1}), "metadata"),  # type: ignore[dict-item]  # what is tested
        (Player("a", packed={"k": "v"}), "packed"),  # type: ignore[dict-item]  # what is tested
    ],
)
def test_a_wrong_value_is_refused_by_its_place(value: Player, path: str) -> None:
    with pytest.raises(EncodeError) as caught:
        MAPPER.dump(value)
    assert (caught.value.model, caught.value.path) == ("Player", path)
    assert isinstance(caught.value, TypeError)


def test_a_field_without_a_value_is_refused() -> None:
    value = Player.__new__(Player)
    with pytest.raises(EncodeError, match=r"Player\.name: has no value"):
        MAPPER.dump(value)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.title)
def test_no_text_or_traceback_shows_a_value(row: Row) -> None:
    from .test_types import holder

    cls = holder(row.hint)
    mapper: Mapper[Any] = default_registry.mapper(cls)
    shown = []
    for fields in ({b"x": CANARY.encode()}, {b"x": b"~" + CANARY.encode()}, {b"x.0": CANARY.encode()}):
        try:
            mapper.load(fields)
        except DecodeError as error:
            shown += [str(error), repr(error), str(error.__cause__), *traceback.format_exception(error)]
    for value in (CANARY, [CANARY], {"k": CANARY}, CANARY.encode(), object()):
        try:
            mapper.dump(cls(value))
        except RapyerError as error:
            shown += [str(error), repr(error), *traceback.format_exception(error)]
    assert not [text for text in shown if CANARY in text]


def test_an_error_of_a_users_codec_shows_nothing_either() -> None:
    registry = default_registry.child()

    class Secret:
        pass

    def decode(raw: bytes) -> Secret:
        raise KeyError(raw)

    def encode(value: Secret) -> str:
        raise KeyError(CANARY)

    registry.register(Secret, encode=encode, decode=decode)
    codec = registry.codec(Secret)
    with pytest.raises(DecodeError) as read:
        codec.decode(CANARY.encode())
    with pytest.raises(EncodeError) as written:
        codec.encode(Secret())
    for error in (read.value, written.value):
        assert CANARY not in "".join(traceback.format_exception(error))
        assert error.__context__ is None
    assert read.value.raw == CANARY.encode()


@pytest.mark.parametrize(
    "error",
    [
        DecodeError("is bad", model="Player", pk="a", path="score", target="int", raw=b"x", field=b"score"),
        EncodeError("is bad", path="score"),
        UnsupportedType("no codec"),
        ConstraintError("too low", path="score"),
        LimitExceeded("too long"),
        PathError("no such field"),
        MissingEntry("is not there"),
        RapyerError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel(error: RapyerError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_model_and_key_can_be_filled_in_later() -> None:
    error = DecodeError("is bad", path="score")
    error.model, error.pk = "Player", "alice"
    assert str(error) == "Player(alice).score: is bad"


@pytest.mark.parametrize(
    ("ours", "pythons"),
    [
        (DecodeError, (ValueError,)),
        (EncodeError, (TypeError, ValueError)),
        (UnsupportedType, (TypeError,)),
        (ConstraintError, (ValueError,)),
        (LimitExceeded, (ValueError,)),
        (PathError, (AttributeError, TypeError)),
        (MissingEntry, (KeyError, IndexError)),
    ],
)
def test_each_error_is_the_python_error_that_fits(
    ours: type[RapyerError], pythons: tuple[type[Exception], ...]
) -> None:
    for python in pythons:
        assert issubclass(ours, python)
    assert issubclass(ours, RapyerError)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (("nope",), "Player.nope: Player has no such field; it has name, score"),
        (("score", "x"), "Player.score.x: int has no parts"),
        (("squad", "x"), "only places with an index"),
        (("squad", Item(-1)), "only places with an index"),
        (("metadata", Item(5)), "keys of a dict[str,int] are of type str"),
        (("packed", Item("a")), "has no parts"),
        (("stats", Item("wins")), "no such field"),
    ],
)
def test_a_path_to_nowhere_says_what_there_is(steps: Any, said: str) -> None:
    with pytest.raises(PathError) as caught:
        MAPPER.slot(steps)
    assert said in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("text", ["nope", "score.x", "squad.01", "squad.x", "metadata.a%2e", "", "~", "stats."])
def test_a_text_path_to_nowhere(text: str) -> None:
    with pytest.raises(PathError) as caught:
        MAPPER.parse(text)
    assert caught.value.path == text


@dataclass
class Required:
    number: int


@dataclass
class Careless:
    """A default that cannot be made, as long as nobody needs it."""

    name: str
    part: Required = field(default_factory=cast("Callable[[], Required]", Required))


def test_a_default_that_cannot_be_made_does_not_hide_what_cannot_be_read() -> None:
    mapper = default_registry.mapper(Careless)
    stored = {b"name": b"a", b"part.number": b"1"}
    assert mapper.load(stored) == mapper._load(stored) == Careless("a", Required(1))
    with pytest.raises(DecodeError) as caught:
        mapper.load({**stored, b"name": b"\xff"})
    assert [error.path for error in caught.value.errors] == ["name"]
    assert mapper.load_partly({**stored, b"name": b"\xff"}, {"name": "b"})[0] == Careless("b", Required(1))
