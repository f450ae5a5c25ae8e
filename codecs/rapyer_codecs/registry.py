"""Registry: which shape a type has. A cattrs Converter does the dispatch; rules are registered here, those of the
families in `types/`.

A rule is a predicate on hints and a factory of shapes; a later rule wins. A shape is what the converter's
structure hook is for its hint, so that `registry.converter` is an ordinary Converter to everybody else. cattrs is
imported with the first type that is looked up, not before: a program that only imports us does not pay for it.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, overload

from .classes import is_record_class
from .codec import Codec, Decode, Encode
from .errors import EncodeError, UnsupportedType
from .hints import identity, imported, is_exactly, name_of, origin_of, peel
from .limits import Limits
from .mapper import Mapper
from .markers import PackedMarker
from .rules import check_fit, rules_of
from .shape import FOREIGN, Leaf, Shape
from .types.packed import PackedLeaf
from .types.records import RecordShape
from .types.unions import AnyShape

if TYPE_CHECKING:
    import cattrs
    from cattrs.dispatch import StructureHook

__all__ = ["Registry"]

T = TypeVar("T")

Predicate: TypeAlias = Callable[[Any], bool]
"""Whether a rule is for a hint (without Annotated and aliases)."""

Factory: TypeAlias = Callable[[Any, "Registry"], Shape]
"""The shape of a hint; asks the registry for the shapes of its parts."""


class _Compiled:
    """What follows from the rules of one version."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.shapes: dict[Any, Shape] = {}
        self.mappers: dict[Any, Mapper[Any]] = {}
        self.converter: cattrs.Converter | None = None


class _Place:
    """A hint on its way through the converter.

    cattrs hands the hook of a class to its subclasses too (an int's to a bool, a date's to a datetime). A
    _Place is no class, so that only predicates see it, and they compare exactly. It is equal only to
    itself: `int | str` and `str | int` are equal, and are not stored alike.
    """

    __slots__ = ("hint",)

    def __init__(self, hint: Any) -> None:
        self.hint = hint


class Registry:
    """A set of codecs. `child()` makes one that adds to it; a registration counts from then on, everywhere.

    `latest`: another one after each registration, on whatever registry: while it is the same, nothing has changed.
    """

    latest: ClassVar[object] = object()

    def __init__(self, *, limits: Limits | None = None, parent: Registry | None = None) -> None:
        """`limits`: of the parent unless given. `parent`: whose rules count where this registry has none of
        its own.
        """
        self.limits: Limits = limits or (parent.limits if parent else Limits())
        self._parent = parent
        self._rules: list[tuple[Predicate, Factory]] = []
        self._any: list[Any] = []
        self._names: dict[Any, Mapping[str, Any]] = {}
        self._version = 0
        self._compiled = _Compiled(-1)

    # -- registration ----------------------------------------------------------------------------------------

    def factory(self, predicate: Predicate, factory: Factory) -> None:
        """Add a rule: hints that the predicate accepts get the factory's shape."""
        self._rules.append((predicate, factory))
        self._changed()

    def leaf(self, cls: type | str, encode: Encode, decode: Decode, *, in_any: bool = True, **options: Any) -> None:
        """Add a codec for exactly this class, whose functions check the type themselves.

        `cls`: the class, or the text `module.Class` of one of a module that is not to be imported for it.
        `in_any`: values of it may stand in Any. `options`: of Leaf.
        """
        codec: Codec[Any] = Codec(encode, decode)
        self.factory(is_exactly(cls), lambda hint, r: Leaf(hint, codec, r.limits, **options))
        if in_any:
            self._any.append(cls)

    def container(self, classes: tuple[type, ...], factory: Factory) -> None:
        """Add a rule for these classes, bare or with parameters."""
        self.factory(lambda hint: origin_of(hint) in classes, factory)

    def in_any(self, *hints: Any) -> None:
        """Let values of these types stand in Any."""
        self._any.extend(hints)
        self._changed()

    def _changed(self) -> None:
        self._version += 1
        Registry.latest = object()

    @overload
    def register(self, cls: type[T], *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]) -> None: ...

    @overload
    def register(
        self, *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]
    ) -> Callable[[type[T]], type[T]]: ...

    def register(self, cls: type[T] | None = None, *, encode: Encode, decode: Decode) -> Any:
        """Store a type in one field. `encode`: T -> str or bytes, stored as it is; `decode`: bytes -> T.

        `decode(encode(x)) == x` must hold. Values of subclasses are given to `encode` too, unless the
        subclass has a codec of its own. Without a class: a decorator of one.
        """
        if cls is None:

            def decorate(decorated: type[T]) -> type[T]:
                self.register(decorated, encode=encode, decode=decode)
                return decorated

            return decorate
        if not isinstance(cls, type) and type(cls).__module__ == "builtins":
            raise TypeError(f"a codec is registered for a type, not for one {type(cls).__name__}")
        codec = Codec(encode, decode)
        self.factory(lambda hint: hint is cls, lambda hint, r: r.shape_of_codec(hint, codec))
        return None

    def shape_of_codec(self, hint: Any, codec: Codec[Any]) -> Leaf:
        """The leaf of a codec that somebody gave: its type is checked before the codec is asked."""
        leaf = Leaf(hint, codec, self.limits)

        def encode(value: Any) -> bytes:
            if has_class and leaf.kin(value) is FOREIGN:
                leaf.refuse(value)
            text = codec.encode(value)
            if isinstance(text, str):
                return text.encode()
            if isinstance(text, (bytes, bytearray, memoryview)):
                return bytes(text)
            # bytes() would make something of an int, or of a list of ints.
            reason = f"its codec gave {type(text).__name__}, and must give str or bytes"
            raise EncodeError(reason, target=leaf.tag)

        has_class = isinstance(hint, type)
        leaf.codec = Codec(encode, codec.decode)
        return leaf

    def names(self, cls: type, names: Mapping[str, Any]) -> None:
        """Give names in which the annotations of a class are looked up before its module's: a function's locals.

        They count for the other classes of the same function too.
        """
        self._names[_scope(cls)] = {**self._names.get(_scope(cls), {}), **names}

    def child(self, *, limits: Limits | None = None) -> Registry:
        """A registry that starts with everything of this one; what is registered on it counts there only."""
        return type(self)(limits=limits, parent=self)

    # -- use -------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with every registration here or on a parent."""
        return self._version + (self._parent.version if self._parent else 0)

    @property
    def converter(self) -> cattrs.Converter:
        """The cattrs Converter that dispatches, as of all registrations so far. It structures stored fields to record
        classes too, and unstructures their instances to stored fields.
        """
        compiled = self._current()
        if compiled.converter is None:
            compiled.converter = self._build_converter()
        return compiled.converter

    def shape(self, hint: Any) -> Shape:
        """The shape of a hint. UnsupportedType if nothing is registered for it."""
        compiled = self._current()
        key = identity(hint)
        found = compiled.shapes.get(key)
        if found is None:
            found = compiled.shapes[key] = self._dispatch(hint)
        return found

    def codec(self, hint: Any) -> Leaf:
        """The codec of a type that is stored in one field: `encode(value)` and `decode(raw)`."""
        shape = self.shape(hint)
        if not isinstance(shape, Leaf):
            raise UnsupportedType(f"{shape.tag} is stored in several fields", target=shape.tag)
        return shape

    def mapper(self, cls: type[T]) -> Mapper[T]:
        """The compiled mapper of a class; made again after a registration."""
        compiled = self._current()
        found: Mapper[T] | None = compiled.mappers.get(cls)
        if found is None:
            shape = self.shape(cls)
            if not isinstance(shape, RecordShape):
                raise UnsupportedType(f"{shape.tag} is not a class with fields", target=shape.tag)
            found = compiled.mappers[cls] = Mapper(shape)
        return found

    def check(self, cls: type) -> bool:
        """Raise UnsupportedType if a field of the class, at any depth, has a type without a codec.

        Names that cannot be resolved yet are left for first use. Whether there are none.
        """
        return self.mapper(cls).check()

    def any_shape(self) -> Shape:
        """The shape of Any."""
        return AnyShape(self)

    def any_types(self) -> list[Any]:
        """The types whose values may stand in Any, str first."""
        return [*(self._parent.any_types() if self._parent else ()), *map(imported, self._any)]

    def names_for(self, cls: type) -> Mapping[str, Any]:
        """The names given for a class, or for one of the same function."""
        inherited = self._parent.names_for(cls) if self._parent else {}
        return {**inherited, **self._names.get(_scope(cls), {})}

    # -- dispatch --------------------------------------------------------------------------------------------

    def _current(self) -> _Compiled:
        """What is compiled, thrown away whole if something was registered since."""
        version = self.version
        if self._compiled.version != version:
            self._compiled = _Compiled(version)
        return self._compiled

    def _build_converter(self) -> cattrs.Converter:
        import cattrs

        converter = cattrs.Converter(detailed_validation=False)
        converter.register_structure_hook_factory(is_record_class, self.shape)
        converter.register_unstructure_hook_factory(is_record_class, lambda cls: self.mapper(cls).dump)
        for predicate, factory in self._all_rules():
            self._install(converter, predicate, factory)
        return converter

    def _all_rules(self) -> list[tuple[Predicate, Factory]]:
        return [*(self._parent._all_rules() if self._parent else ()), *self._rules]

    def _install(self, converter: cattrs.Converter, predicate: Predicate, factory: Factory) -> None:
        def accepts(place: Any) -> bool:
            return isinstance(place, _Place) and predicate(place.hint)

        def make(place: Any) -> StructureHook:
            return factory(place.hint, self)

        converter.register_structure_hook_factory(accepts, make)

    def _dispatch(self, hint: Any) -> Shape:
        peeled, metadata = peel(hint)
        rules = rules_of(metadata)
        check_fit(peeled, rules)
        shape = self._shape_of(hint, peeled, metadata)
        return shape.with_rules(rules) if rules else shape

    def _shape_of(self, hint: Any, peeled: Any, metadata: tuple[Any, ...]) -> Shape:
        codec = next((extra for extra in metadata if isinstance(extra, Codec)), None)
        if codec is not None:
            return self.shape_of_codec(peeled, codec)
        if any(isinstance(extra, PackedMarker) for extra in metadata):
            return PackedLeaf(self.shape(peeled))
        if peeled is not hint:
            return self.shape(peeled)
        shape = self._hook_of(peeled)
        if isinstance(shape, Shape):
            return shape
        name = name_of(peeled) if typing.get_args(peeled) == () else str(peeled)
        raise UnsupportedType(
            f"no codec for {name}; register_codec adds one, Annotated[..., Codec(...)] does for one field",
            target=name,
        )

    def _hook_of(self, hint: Any) -> Any:
        """The structure hook of the latest rule that accepts the hint; None if there is none."""
        converter = self.converter
        from cattrs import StructureHandlerNotFoundError

        try:
            return converter.get_structure_hook(_Place(hint), cache_result=False)
        except StructureHandlerNotFoundError:
            return None


def _scope(cls: type) -> Any:
    """The function that a class was made in, by name; the class itself if it was made in a module or a class."""
    scope = cls.__qualname__.rpartition(".")[0]
    return (cls.__module__, scope) if scope.endswith("<locals>") else cls
