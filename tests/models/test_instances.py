"""Decorated classes stay plain classes: instances, subclasses, copies, pickles."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

import attrs
import pytest

from rapyer_core import Index, Key, UnsupportedType, evolve, paths, pk_of, redis_model, register_codec
from rapyer_core.states import State, attach, state_of

T = TypeVar("T")


@redis_model
@dataclass
class Plain:
    pk: int = 0
    key: str = ""
    save: list[int] = field(default_factory=list)
    model: str = "m"


@redis_model
@dataclass(slots=True)
class Slots:
    name: str = "n"
    count: int = 0


@redis_model
@dataclass(frozen=True)
class Frozen:
    name: str = "n"


@redis_model
@dataclass(frozen=True, slots=True)
class FrozenSlots:
    name: str = "n"


@redis_model
@dataclass(kw_only=True)
class Keywords:
    name: str
    count: int = 0


@redis_model
@dataclass
class Base(ABC):
    name: str = "base"

    @abstractmethod
    def shout(self) -> str: ...

    def describe(self) -> str:
        return f"{self.__class__.__name__} {self.name}"


@redis_model
@dataclass
class Child(Base):
    extra: int = 1

    def shout(self) -> str:
        return self.name.upper()

    def describe(self) -> str:
        return super().describe() + "!"


@dataclass
class PlainChild(Plain):
    more: int = 7


@redis_model
@dataclass
class Box(Generic[T]):
    item: T
    label: str = ""


@redis_model
@attrs.define
class Attrs:
    name: str = "n"
    count: int = 0


@redis_model
@attrs.frozen
class FrozenAttrs:
    name: str = "n"


INSTANCES: list[Any] = [
    Plain(), Slots(), Frozen(), FrozenSlots(), Keywords(name="k"), Child(), Box(3), Attrs(), FrozenAttrs(),
]  # fmt: skip


@pytest.mark.parametrize("obj", INSTANCES, ids=lambda obj: type(obj).__name__)
def test_what_was_loaded_travels_with_copies_and_pickles_and_is_seen_by_nobody(obj: Any) -> None:
    twin = copy.copy(obj)
    text = repr(obj)
    attach(obj, State("pk", {b"name": b"x"}))
    assert obj == twin
    assert repr(obj) == text
    if dataclasses.is_dataclass(obj):
        assert set(asdict(obj)) == {f.name for f in fields(obj)}  # type: ignore[arg-type]  # an instance
    for made in (copy.copy(obj), copy.deepcopy(obj), pickle.loads(pickle.dumps(obj))):
        assert made == obj
        assert state_of(made) == State("pk", {b"name": b"x"})


@pytest.mark.parametrize("obj", INSTANCES, ids=lambda obj: type(obj).__name__)
def test_evolve_keeps_the_identity_and_replace_does_not(obj: Any) -> None:
    evolved = evolve(obj)
    pk = pk_of(obj)
    assert pk_of(evolved) == pk_of(evolve(obj)) == pk
    if dataclasses.is_dataclass(obj):
        assert state_of(replace(obj)) == State()  # type: ignore[type-var]  # an instance


def test_frozen_stays_frozen() -> None:
    for obj in (Frozen(), FrozenSlots()):
        with pytest.raises(FrozenInstanceError):
            obj.name = "x"  # type: ignore[misc]  # that is the point
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            obj.other = 1  # type: ignore[union-attr]  # that is the point


class Outer:
    @redis_model
    @dataclass
    class Inner:
        x: int = 0


def test_a_decorated_class_keeps_its_place() -> None:
    assert (Outer.Inner.__qualname__, Outer.Inner.__module__) == ("Outer.Inner", __name__)
    assert pickle.loads(pickle.dumps(Outer.Inner(3))) == Outer.Inner(3)


def test_field_names_that_our_functions_have_are_free() -> None:
    obj = Plain(pk=3, key="k", save=[1], model="x")
    assert (obj.pk, obj.key, obj.save, obj.model) == (3, "k", [1], "x")
    assert repr(Plain.pk) == "Plain.pk"


def test_abstract_bases_super_and_inheritance_work() -> None:
    assert Child(name="c").describe() == "Child c!"
    assert isinstance(Child(), Base)
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]  # that is the point
    assert repr(Child.name) == "Child.name"
    assert repr(Base.name) == "Base.name"


def test_an_undecorated_subclass_has_defaults_not_paths() -> None:
    assert PlainChild().more == 7
    assert PlainChild(key="x").key == "x"
    assert PlainChild.more == 7
    assert PlainChild.model == "m"


def test_slots_classes_have_slots_and_no_dict() -> None:
    assert not hasattr(Slots(), "__dict__")
    with pytest.raises(AttributeError):
        Slots().other = 1  # type: ignore[attr-defined]  # that is the point


def test_generated_keys_are_unique_sortable_and_stay() -> None:
    made = [pk_of(Plain()) for _ in range(2000)]
    assert made == sorted(set(made))
    assert {len(pk) for pk in made} == {26}
    obj = Plain()
    assert pk_of(obj) == pk_of(obj) == pk_of(copy.copy(obj))


def test_decoration_refuses_what_cannot_be_stored() -> None:
    class Strange: ...

    with pytest.raises(UnsupportedType, match=r"register_codec") as caught:

        @redis_model
        @dataclass
        class Bad:
            fine: int
            odd: list[Strange]

    assert "odd" in str(caught.value)
    assert "Strange" in str(caught.value)

    register_codec(Strange, encode=lambda _: "strange", decode=lambda _: Strange())

    @redis_model
    @dataclass
    class Good:
        odd: list[Strange]


def test_decoration_refuses_a_class_that_is_no_dataclass() -> None:
    with pytest.raises(TypeError, match="@dataclass under @redis_model"):

        @redis_model
        class Nothing:
            name: str = ""


@pytest.mark.parametrize("name", ["", "1x", "a:b", "~x", "a b", "é"])
def test_decoration_refuses_a_name_that_would_make_keys_ambiguous(name: str) -> None:
    with pytest.raises(ValueError, match="model name"):

        @redis_model(name=name)
        @dataclass
        class Named:
            x: int = 0


def test_decoration_refuses_two_keys() -> None:
    with pytest.raises(TypeError, match=r"more than one Key field \(a, b\)"):

        @redis_model
        @dataclass
        class Two:
            a: Key[str] = ""
            b: Key[str] = ""


@pytest.mark.parametrize("annotation", [Key[list[int]], Index[str], Index[bool]])
def test_decoration_refuses_what_cannot_be_a_key_or_an_index(annotation: Any) -> None:
    plain = dataclasses.make_dataclass("Odd", [("field", annotation)])
    with pytest.raises(UnsupportedType, match=r"Odd\.field"):
        redis_model(plain)


def test_a_name_that_does_not_exist_yet_is_looked_up_at_first_use() -> None:
    @redis_model
    @dataclass
    class Early:
        later: Later | None = None

    assert repr(paths(Early).later) == "Early.later"


@dataclass
class Later:
    x: int = 0
