"""What a signal handler raises passes through: it says nothing about a value or a stored text."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated, Any

import annotated_types
import pytest

from rapyer_codecs import Codec, DecodeError, EncodeError, Mapper, default_registry
from rapyer_codecs.framing import unframed

FRONT = "\r\n$1\r\na" * 4


class TimeIsUp(Exception):
    """As a task queue raises it."""


class Queue:
    def end(self, number: int, frame: FrameType | None) -> None:
        self.fail()

    def fail(self) -> None:
        raise TimeIsUp


def raise_it(*arguments: Any) -> None:
    raise TimeIsUp


@pytest.fixture(params=[Queue().end, raise_it], ids=["method", "any arguments"])
def handler(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, request.param)
    yield
    signal.signal(signal.SIGUSR1, before)


class When:
    """When the signal comes, or another error."""

    now = ""
    by_signal = True


def come(when: str) -> None:
    if When.now == when:
        if When.by_signal:
            signal.raise_signal(signal.SIGUSR1)
        raise TimeIsUp


def encode(number: int) -> str:
    come("encode")
    return str(number)


def decode(raw: bytes) -> int:
    come("decode")
    return int(raw)


def is_fine(number: int) -> bool:
    come("rule")
    return True


@dataclass
class Inner:
    number: Annotated[int, Codec(encode, decode)] = 0

    def __post_init__(self) -> None:
        come("init")


@dataclass
class Outer:
    inner: Inner
    numbers: list[Annotated[int, Codec(encode, decode)]] = field(default_factory=list)
    ruled: Annotated[int, annotated_types.Predicate(is_fine)] = 0


MAPPER: Mapper[Outer] = default_registry.mapper(Outer)
FIELDS = MAPPER.dump(Outer(Inner(1), [2], 3))
SOME = {name: text for name, text in FIELDS.items() if name != b"ruled"}
PAIRS = [b"~", b"1", *[text for pair in unframed(MAPPER.frame(MAPPER.load(FIELDS), FRONT)).items() for text in pair]]


def value() -> Outer:
    return MAPPER.load(FIELDS)


CALLS: list[tuple[str, Callable[[Outer], object]]] = [
    ("encode", MAPPER.dump),
    ("encode", lambda obj: MAPPER.frame(obj, FRONT)),
    ("decode", lambda _: MAPPER.load(FIELDS)),
    ("decode", lambda _: MAPPER.load(SOME)),
    ("decode", lambda _: MAPPER.load_partly(FIELDS, {})),
    ("decode", lambda _: MAPPER.load_pairs(PAIRS)),
    ("init", lambda _: MAPPER.load(FIELDS)),
    ("init", lambda _: MAPPER.load(SOME)),
    ("init", lambda _: MAPPER.load_partly(FIELDS, {})),
    ("rule", lambda obj: MAPPER.root.check(obj)),
]


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(("when", "call"), CALLS)
def test_it_passes(when: str, call: Callable[[Outer], object], monkeypatch: pytest.MonkeyPatch) -> None:
    given = value()
    monkeypatch.setattr(When, "now", when)
    with pytest.raises(TimeIsUp):
        call(given)


@pytest.mark.parametrize(
    ("when", "call", "kind"),
    [
        ("encode", MAPPER.dump, EncodeError),
        ("decode", lambda _: MAPPER.load(FIELDS), DecodeError),
        ("init", lambda _: MAPPER.load(FIELDS), DecodeError),
    ],
)
def test_the_same_error_of_a_codec_or_class_is_about_the_value(
    when: str, call: Callable[[Outer], object], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = value()
    monkeypatch.setattr(When, "now", when)
    monkeypatch.setattr(When, "by_signal", False)
    with pytest.raises(kind):
        call(given)
