"""Identifiers and addresses: UUID, IP addresses and networks, paths. All have one canonical spelling."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..codec import plain_type

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]

SPELLED = (
    UUID,
    ipaddress.IPv4Address,
    ipaddress.IPv4Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Address,
    ipaddress.IPv6Network,
    ipaddress.IPv6Interface,
)
PATHS = (
    pathlib.PurePath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.Path,
    type(pathlib.Path()),
)


def _register_spelled(registry: Registry, cls: type) -> None:
    """A type whose `str` is the value, and which takes its `str`."""

    def encode(value: Any) -> bytes:
        if plain_type(value) is not cls:
            raise TypeError
        return str(value).encode()

    def decode(raw: bytes) -> Any:
        value = cls(raw.decode("ascii"))
        if str(value).encode() != raw:
            raise ValueError
        return value

    registry.leaf(cls, encode, decode)


def _register_path(registry: Registry, cls: type[pathlib.PurePath]) -> None:
    """Path is written as what it is on this system: its instances are of another class than itself."""
    made = type(cls())

    def encode(value: Any) -> bytes:
        if plain_type(value) is not made:
            raise TypeError
        return str(value).encode("utf-8", "surrogateescape")

    def decode(raw: bytes) -> pathlib.PurePath:
        value = cls(raw.decode("utf-8", "surrogateescape"))
        if encode(value) != raw:
            raise ValueError
        return value

    registry.leaf(cls, encode, decode, in_any=cls is made)


def register(registry: Registry) -> None:
    """Each for exactly its class."""
    for cls in SPELLED:
        _register_spelled(registry, cls)
    for path in PATHS:
        _register_path(registry, path)
