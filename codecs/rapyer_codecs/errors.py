"""Errors of the serialization engine, and the root of every error of the project.

    RapyerError
    ├── DecodeError       (ValueError)                stored bytes are not a value of the type
    ├── EncodeError       (TypeError, ValueError)     a value is not one of the declared type
    ├── UnsupportedType   (TypeError)                 a type that has no codec
    ├── ConstraintError   (ValueError)                a value breaks a rule of its field
    ├── LimitExceeded     (ValueError)                too deep, too many, too long
    ├── PathError         (AttributeError, TypeError) a place that the class does not have
    └── MissingEntry      (KeyError, IndexError)      a place that this object does not have

Data are attributes; the text is made from them when it is asked for. It names types, models, keys and
paths, and never shows a stored or given value: `raw` is for programs, not for logs. Nothing here formats a
value.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConstraintError",
    "DecodeError",
    "EncodeError",
    "LimitExceeded",
    "MissingEntry",
    "PathError",
    "RapyerError",
    "UnsupportedType",
]


class RapyerError(Exception):
    """Root of every error of the project.

    `reason`: what happened, in words without values. All data are optional, keyword only, and may be set
    later: `model` (class name), `pk`, `path` (as `stats.wins`), `target` (name of the type), `raw` (stored
    bytes), `field` (stored name), and whatever a subclass adds.
    """

    model: str | None = None
    pk: Any = None
    path: str | None = None
    target: str | None = None
    raw: bytes | None = None
    field: bytes | None = None

    def __init__(self, reason: str = "", **data: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        for name, value in data.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        place = ".".join(part for part in (self._owner(), self.path) if part)
        reason = self.reason or "failed"
        return f"{place}: {reason}" if place else reason

    def _owner(self) -> str:
        if self.model is None:
            return ""
        return self.model if self.pk is None else f"{self.model}({self.pk})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


class DecodeError(RapyerError, ValueError):
    """Stored bytes are not a value of the declared type. `raw` holds them; `errors` all the bad fields of the
    object.
    """

    errors: tuple[DecodeError, ...] = ()

    def __str__(self) -> str:
        text = super().__str__()
        others = len(self.errors) - 1
        return f"{text} (and {others} more)" if others > 0 else text


class EncodeError(RapyerError, TypeError, ValueError):
    """A value cannot be stored in the place it was given for."""


class UnsupportedType(RapyerError, TypeError):
    """A type that the engine has no codec for. `target` names it; `register_codec` adds one."""


class ConstraintError(RapyerError, ValueError):
    """A value breaks a rule that its field declares."""


class LimitExceeded(RapyerError, ValueError):
    """Nested too deeply, too many fields, or too long. The limits are set on the registry."""


class DecodeLimitExceeded(LimitExceeded, DecodeError):
    """A limit met while reading: the stored bytes are refused before they cost anything."""


class PathError(RapyerError, AttributeError, TypeError):
    """A path to a place that the class does not have."""


class MissingEntry(RapyerError, KeyError, IndexError):
    """A place that the class may have and this object has not: no such key, index or alternative."""


def _rebuild(cls: type[RapyerError], state: dict[str, Any]) -> RapyerError:
    error = cls.__new__(cls, state.get("reason", ""))
    error.__dict__.update(state)
    return error
