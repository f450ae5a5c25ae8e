"""Slots of a cluster: which key belongs to which, and where they are. Pure values; no I/O.

A cluster shares out 16,384 slots to its nodes. The slot of a key follows from its hash tag, the text between the first
``{`` and the next ``}``, or from all of it if there is none. What is in one EXEC must be in one slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import NamedTuple, TypeVar

from rapyer_core.keys import own_key
from rapyer_core.requests import Command, Reply, ServerError

V = TypeVar("V")

SLOTS = 16_384
"""Of every cluster."""

Address = tuple[str, int]
"""Host and port of a node."""

_KEYLESS = frozenset({b"MULTI", b"EXEC", b"PING", b"TIME", b"INFO", b"SCAN", b"PUBLISH"})
"""Commands whose first argument, if they have one, is no key."""


def slot_of(key: bytes) -> int:
    """The slot of a key."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def is_tagged(prefix: str) -> bool:
    """Whether all keys with this prefix are in one slot."""
    return slot_of(f"{prefix}a".encode()) == slot_of(f"{prefix}b".encode())


def suits_cluster(prefix: str) -> bool:
    """Whether what is kept for an object shares its slot: not with some braces in the prefix."""
    key = f"{prefix}name:pk"
    return slot_of(key.encode()) == slot_of(own_key(prefix, key.encode(), "lock:x"))


def by_slot(values: Iterable[V], key: Callable[[V], bytes]) -> list[list[V]]:
    """The values, those together whose keys are in one slot."""
    shares: dict[int, list[V]] = {}
    for value in values:
        shares.setdefault(slot_of(key(value)), []).append(value)
    return list(shares.values())


def key_of(command: Command) -> bytes | None:
    """The key that a command is about, the first one if there are several; None: none."""
    if type(command) is bytes:
        # Packed: *3 $7 HEXISTS $12 Player:alice …
        start = command.index(b"$", command.index(b"$") + 1) + 1
        end = command.index(b"\r\n", start)
        return command[end + 2 : end + 2 + int(command[start:end])]
    if command[0] in _KEYLESS or len(command) < 2:
        return None
    key = command[1]
    assert type(key) is bytes, command[0]
    return key


class Unit(NamedTuple):
    """Commands for one node, in one write. slot: whose keys they are about; None: any node will do."""

    slot: int | None
    commands: Sequence[Command]


def unit_of(commands: Sequence[Command]) -> Unit:
    """One unit of all of them, whose keys are in one slot."""
    keys = (key_of(command) for command in commands)
    return Unit(next((slot_of(key) for key in keys if key is not None), None), commands)


def units_of(commands: Sequence[Command]) -> list[Unit]:
    """A unit for each command; those without a key go with the first one that has one."""
    keys = [key_of(command) for command in commands]
    slots = [None if key is None else slot_of(key) for key in keys]
    first = next((slot for slot in slots if slot is not None), None)
    if first is None:
        return [Unit(None, commands)]
    return [Unit(first if slot is None else slot, (command,)) for slot, command in zip(slots, commands, strict=True)]


class Elsewhere(NamedTuple):
    """Where the slot of a key is, by what a node answered that does not have it.

    asking: for this once only, since the slot is on its way there.
    """

    slot: int
    address: Address
    asking: bool


def elsewhere(replies: Iterable[Reply], asked: Address) -> Elsewhere | None:
    """Where a server says to go, if it does. asked: its own address, whose host it may leave out."""
    for reply in replies:
        if type(reply) is ServerError and reply.code in ("MOVED", "ASK"):
            words = reply.detail.split()
            host, _, port = words[-1].rpartition(":")
            if len(words) == 3 and words[1].isdigit() and port.isdigit():
                return Elsewhere(int(words[1]) % SLOTS, (host or asked[0], int(port)), reply.code == "ASK")
    return None


class Nodes:
    """The nodes of a cluster, as a session has seen them last, in whatever event loop: to ask when one is gone."""

    __slots__ = ("addresses",)

    def __init__(self) -> None:
        self.addresses: Sequence[Address] = ()


class SlotMap:
    """Which node has which slot."""

    def __init__(self) -> None:
        self._owners: list[Address | None] = [None] * SLOTS
        self._mark = 0

    @classmethod
    def read(cls, reply: Sequence[Reply], host: str) -> SlotMap:
        """The map that ``CLUSTER SLOTS`` tells. host: of the node that was asked, which may not know its own name."""
        made = cls()
        for first, last, primary, *_ in reply:
            name = (primary[0] or b"").decode()
            address = (host if name in ("", "?") else name, int(primary[1]))
            made._owners[first : last + 1] = [address] * (last + 1 - first)
        return made

    def owner(self, slot: int) -> Address | None:
        """The node that has a slot; None: none that is known."""
        return self._owners[slot]

    def moved(self, slot: int, address: Address) -> None:
        """A slot is somewhere else now."""
        self._owners[slot] = address
        self._mark = 0

    @property
    def nodes(self) -> list[Address]:
        """All nodes that have slots, in a fixed order."""
        return sorted({owner for owner in self._owners if owner is not None})

    @property
    def mark(self) -> int:
        """Another number, from 1 to 65,535, for, nearly always, another map."""
        if not self._mark:
            # Kept: each step of a scan looks at it.
            digest = sha1(repr(self._owners).encode(), usedforsecurity=False).digest()
            self._mark = 1 + int.from_bytes(digest) % 0xFFFF
        return self._mark
