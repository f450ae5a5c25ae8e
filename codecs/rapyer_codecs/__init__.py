"""Any Python value to flat, readable fields and back, exactly. Knows nothing of Redis and does no I/O.

    registry.mapper(Player).dump(player)   # {b"username": b"alice", b"stats.wins": b"7", ...}

The stored forms are written down in docs/storage.md.
"""

from __future__ import annotations

from .changes import Diff
from .codec import Codec
from .default import default_registry, register_codec
from .errors import (
    ConstraintError,
    DecodeError,
    EncodeError,
    LimitExceeded,
    MissingEntry,
    PathError,
    RapyerError,
    UnsupportedType,
)
from .limits import Limits
from .mapper import FieldInfo, Mapper
from .markers import Alias, Packed
from .older import StoredFields
from .paths import Item, Steps
from .registry import Registry
from .shape import Shape
from .slot import Slot

__all__ = [
    "Alias",
    "Codec",
    "ConstraintError",
    "DecodeError",
    "Diff",
    "EncodeError",
    "FieldInfo",
    "Item",
    "LimitExceeded",
    "Limits",
    "Mapper",
    "MissingEntry",
    "Packed",
    "PathError",
    "RapyerError",
    "Registry",
    "Shape",
    "Slot",
    "Steps",
    "StoredFields",
    "UnsupportedType",
    "default_registry",
    "register_codec",
]
