"""Nodes (asyncio): where requests go. One server, or a cluster of them, with the same methods.

``rapyer_core.sync.nodes`` is the blocking twin, made of this file by ``make sync``.

In a cluster each key is on one node. What is asked goes there; a node that does not have the key says who does, and has
done nothing then, so that the same is asked there. Which slot is where is read from any node that answers, at the first
request and whenever something was not where it should be.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from hashlib import sha1
from itertools import islice
from typing import Any, Protocol

from rapyer_core.errors import CrossSlot, ServerRefused, SessionClosed
from rapyer_core.operations.reading import run_of
from rapyer_core.requests import (
    ALONE,
    EXEC,
    MULTI,
    READ,
    Batch,
    Blind,
    Command,
    Decide,
    Failed,
    Flow,
    Lost,
    Others,
    Reply,
    ServerError,
    Update,
    Watch,
    outcome,
)
from rapyer_core.settings import Settings
from rapyer_core.slots import (
    Address,
    Elsewhere,
    Nodes,
    SlotMap,
    Unit,
    elsewhere,
    key_of,
    slot_of,
    unit_of,
    units_of,
)
from rapyer_core.transports.aio import Pool
from rapyer_core.transports.wire import ASKING, BEGIN, END, lent_nodes, own_address
from rapyer_core.waiting import Guard, sleep, together
from rapyer_core.watches import Answer, Watches

HOPS = 16
"""Times that one request is sent on to another node, at most."""

ASIDE = 0.05
"""Seconds before a commit looks again whether a slot that was on its way to another node has arrived there."""

AGAIN = 0.1
"""Seconds before it is asked again where the slots are."""

WINDOW = 64
"""Parts of a flow that are sent together."""

Replies = list[Reply]

Found = list[Reply] | None
"""What was read under a watch; None: nothing was."""

NOWHERE = ServerError("CLUSTERDOWN")
"""Instead of a reply: no node has the slot right now. Operations know that this passes."""

MustWait = Callable[[Sequence[bytes]], bool]


class Watching(Protocol):
    """A block under WATCH, as of ``Watcher``."""

    def replies(self) -> Awaitable[Found]:
        """The replies to the reads. None: nothing is watched."""
        ...

    def more(self, watch: Watch) -> Awaitable[Found]:
        """The replies to further reads. None: nothing is watched."""
        ...

    def commit(self, decide: Decide) -> Awaitable[Answer]:
        """Write what is decided on, if nothing watched has changed. Ends the watching."""
        ...

    def leave(self) -> None:
        """End the watching without writing."""
        ...


class Node:
    """One server."""

    def __init__(self, settings: Settings, must_wait: MustWait) -> None:
        self._settings = settings
        self.pool = Pool(settings)
        self.watches = Watches(self.pool, must_wait)
        self.begin: Callable[[int, bytes, int], Awaitable[Any]] = self.pool.send
        """The answer to so many packed commands: of READ, WRITE or ALONE."""
        self.held = self.watches.held
        """Keys of what is tried again by now: blind writes wait for it."""

    @functools.cached_property
    def address(self) -> Address:
        """Where it is; only clusters need to know."""
        return own_address(self._settings)

    def ask(self, request: Batch) -> Awaitable[Replies]:
        """The answer to a request; this and the next three."""
        return self.pool.ask(request.commands)

    def write(self, request: Blind) -> Awaitable[Any]:
        return self.pool.write(request.commands, request.alone)

    def update(self, request: Update) -> Awaitable[Answer]:
        return self.watches.update(request)

    def flow(self, request: Flow) -> Awaitable[None]:
        return self.pool.flow(request.parts, request.take)

    def enter(self, watch: Watch) -> Watching:
        """Watch and read for a block. ``replies`` waits for what is read."""
        return self.watches.enter(watch)

    def let_finish(self, keys: Sequence[bytes]) -> Awaitable[None]:
        """Wait for what is tried again under one of these keys by now."""
        return self.watches.let_finish(keys)

    def drained(self, keys: Sequence[bytes], timeout: float) -> Awaitable[None]:
        """Wait until no operation that is under way by now writes one of these keys; no longer than timeout seconds."""
        return self.watches.drained(keys, timeout)

    async def close(self) -> None:
        """No block writes any more; close the connections."""
        self.watches.closed = True
        await self.pool.close()


class Cluster:
    """The nodes of a cluster: those that have slots, made when something is asked of them."""

    def __init__(self, settings: Settings, seed: Node, seen: Nodes, must_wait: MustWait) -> None:
        """seed: the server that the session was told of. It or one of the nodes seen is asked where the slots are."""
        self._settings, self._seed, self._seen, self._must_wait = settings, seed, seen, must_wait
        self._nodes: dict[Address, Node] = {}
        self._map = SlotMap()
        self._is_current = False
        """Whether nothing was met that the map does not say."""
        self._read_at = -math.inf
        """When the map was read."""
        self._lost: list[Address] = []
        """Nodes that did not answer since the map was read: they are asked last."""
        self._reading = Guard()
        self._closed = False

    @property
    def held(self) -> bool:
        """Whether anything is tried again by now."""
        return any(node.held for node in self._nodes.values())

    # -- requests --

    async def begin(self, kind: int, packed: bytes, count: int) -> Any:
        """The answer to so many packed commands, of READ or WRITE, whose keys are in one slot."""
        key = key_of(packed)
        assert key is not None
        node, asking = await self._node_of(slot_of(key)), False
        hops = 0
        while node is not None and hops < HOPS:
            hops += 1
            try:
                answer = await _send_packed(node, kind, packed, count, asking)
            except Lost:
                self.not_answered(node)
                raise
            there = elsewhere(answer if type(answer) is list else (answer,), node.address)
            if there is None:
                return answer
            self.note(there)
            node, asking = self._node_at(there.address), there.asking
        return [NOWHERE] * count if kind is READ else NOWHERE

    async def ask(self, request: Batch) -> list[Reply]:
        """Each command where its key is."""
        commands = request.commands
        if (b"SCAN",) in [command[:1] for command in commands]:
            return [await self._ask_all(command) for command in commands]
        units = units_of(commands)
        if units[0].slot is None:
            return await self._ask_any(units[0])
        return [reply for answer in await self._send(units) for reply in answer]

    async def write(self, request: Blind) -> Any:
        """Where the keys are."""
        commands = request.commands
        slot = _one_slot([*request.keys, *filter(None, map(key_of, commands))])
        unit = Unit(slot, [MULTI, *commands, EXEC])
        return outcome((await self._send([unit]))[0], 0, len(commands), alone=True)

    async def update(self, request: Update) -> Any:
        """Where the keys are; again there, if they are somewhere else by now: nothing was written then."""
        slot = _one_slot(request.keys)
        end = time.monotonic() + request.timeout
        node = await self._node_of(slot)
        while node is not None and time.monotonic() < end:
            decide = functools.partial(_decide, node, request.decide)
            try:
                answer = await node.watches.update(request._replace(decide=decide))
            except Lost:
                self.not_answered(node)
                raise
            there = _elsewhere(answer, node)
            if there is None:
                return answer
            if there.asking:
                # Where it goes to, only what asks for it each time would be served.
                await sleep(ASIDE)
            else:
                self.note(there)
            node = await self._node_of(slot)
        return NOWHERE

    async def flow(self, request: Flow) -> None:
        """Some parts after others, each where its keys are. A part that is a MULTI/EXEC is on one node."""
        parts = iter(request.parts)
        while window := list(islice(parts, WINDOW)):
            shares = [[unit_of(part)] if part[0] == MULTI else units_of(part) for part in window]
            try:
                answers = iter(await self._send([unit for units in shares for unit in units]))
            except Lost as lost:
                raise Lost(sent=True, timed_out=lost.timed_out) from None
            for units in shares:
                request.take([reply for answer in islice(answers, len(units)) for reply in answer])

    def enter(self, watch: Watch) -> Watching:
        """Watch and read for a block, whose keys are in one slot."""
        address = self._map.owner(_one_slot(watch[0]))
        return _Follower(self, None if address is None else self._node_at(address), watch)

    async def let_finish(self, keys: Sequence[bytes]) -> None:
        """As of ``Node``."""
        for node in list(self._nodes.values()):
            if node.watches.held:
                await node.let_finish(keys)

    async def drained(self, keys: Sequence[bytes], timeout: float) -> None:
        """As of ``Node``."""
        for node in list(self._nodes.values()):
            await node.drained(keys, timeout)

    async def close(self) -> None:
        """As of ``Node``."""
        self._closed = True
        for node in [*self._nodes.values(), self._seed]:
            await node.close()

    # -- sending --

    async def _send(self, units: Sequence[Unit]) -> list[list[Reply]]:
        """The replies to each unit, from the node that has its slot."""
        answers: list[list[Reply]] = [[] for _ in units]
        left: dict[int, Elsewhere | None] = dict.fromkeys(range(len(units)))
        for _ in range(HOPS):
            shares: dict[Node, list[int]] = {}
            for place, there in left.items():
                if there is not None:
                    node: Node | None = self._node_at(there.address)
                else:
                    slot = units[place].slot
                    assert slot is not None
                    node = await self._node_of(slot)
                if node is None:
                    answers[place] = [NOWHERE] * len(units[place].commands)
                else:
                    shares.setdefault(node, []).append(place)
            calls = [
                functools.partial(self._exchange, node, [(units[place], left[place]) for place in places])
                for node, places in shares.items()
            ]
            came = await together(calls)
            if (error := next((each for each in came if isinstance(each, BaseException)), None)) is not None:
                if len(calls) > 1 and isinstance(error, Lost):
                    raise Lost(sent=True, timed_out=error.timed_out)
                raise error
            left = {}
            for (node, places), replies in zip(shares.items(), came, strict=True):
                for place, own in zip(places, replies, strict=True):
                    answers[place] = own
                    there = elsewhere(own, node.address)
                    if there is not None:
                        left[place] = there
                        self.note(there)
            if not left:
                return answers
        for place in left:
            answers[place] = [NOWHERE] * len(units[place].commands)
        return answers

    async def _exchange(self, node: Node, units: Sequence[tuple[Unit, Elsewhere | None]]) -> list[list[Reply]]:
        """The replies of one node to each unit."""
        commands: list[Command] = []
        for unit, there in units:
            if there is not None and there.asking:
                commands.append(ASKING)
            commands += unit.commands
        try:
            replies = iter(await node.pool.ask(commands))
        except Lost:
            self.not_answered(node)
            raise
        answers = []
        for unit, there in units:
            asked = next(replies) if there is not None and there.asking else None
            own = list(islice(replies, len(unit.commands)))
            answers.append([asked] * len(own) if isinstance(asked, ServerError) else own)
        return answers

    async def _ask_any(self, unit: Unit) -> list[Reply]:
        """The replies of whichever node answers, to what is about no key."""
        await self._current()
        failure = Lost(sent=False)
        for address in sorted(self._map.nodes, key=self._lost.__contains__):
            try:
                (replies,) = await self._exchange(self._node_at(address), [(unit, None)])
            except Lost as lost:
                failure = lost
            else:
                return replies
        raise failure

    # -- all nodes --

    async def _ask_all(self, command: Command) -> Reply:
        """A command about all nodes."""
        if command[0] == b"SCAN":
            return await self._scan(command)
        return await self._info(command)

    async def _scan(self, command: Command) -> Reply:
        """SCAN of one node after the other. The cursor says where it stands, and by which map: when that has changed,
        it begins anew, since keys may have gone to a node that was scanned before.
        """
        cursor = command[1]
        assert isinstance(cursor, int)
        if not cursor:
            await self._read_map(again=True)
        mark = self._map.mark
        position, place, former = cursor >> 32, cursor >> 16 & 0xFFFF, cursor & 0xFFFF
        nodes = self._map.nodes
        if (cursor and former != mark) or place >= len(nodes):
            position = place = 0
        if not nodes:
            return NOWHERE
        node = self._node_at(nodes[place])
        (reply,) = (await self._exchange(node, [(Unit(None, [(b"SCAN", position, *command[2:])]), None)]))[0]
        if isinstance(reply, ServerError):
            return reply
        position, keys = int(reply[0]), reply[1]
        if not position:
            place += 1
            if place == len(nodes):
                await self._read_map(again=True)
                if self._map.mark == mark:
                    return [0, keys]
                place, mark = 0, self._map.mark
        return [position << 32 | place << 16 | mark, keys]

    async def _info(self, command: Command) -> Reply:
        """INFO as of one server that is another one when any of the nodes is."""
        await self._current()
        runs = []
        for address in self._map.nodes:
            (reply,) = (await self._exchange(self._node_at(address), [(Unit(None, [command]), None)]))[0]
            runs.append(run_of(reply))
        return b"run_id:" + sha1(" ".join(runs).encode(), usedforsecurity=False).hexdigest().encode()

    # -- nodes --

    async def _node_of(self, slot: int) -> Node | None:
        """The node that has a slot. None: none that is known."""
        await self._current()
        address = self._map.owner(slot)
        if address is None:
            self._is_current = False
            return None
        return self._node_at(address)

    def _node_at(self, address: Address) -> Node:
        if self._closed:
            raise SessionClosed("the session was closed")
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Node(self._settings.at(address), self._must_wait)
        return node

    def note(self, there: Elsewhere) -> None:
        """A slot is somewhere else than we thought, and others may be, too."""
        if not there.asking:
            self._map.moved(there.slot, there.address)
            self._is_current = False

    def not_answered(self, node: Node) -> None:
        """A node was lost: another one may have its slots soon."""
        self._is_current = False
        if node.address not in self._lost:
            self._lost.append(node.address)

    async def _current(self) -> None:
        """Read the map, if it has never been read, or is known to be old; not again and again."""
        if not self._is_current and time.monotonic() - self._read_at > AGAIN:
            await self._read_map()

    async def _read_map(self, again: bool = False) -> None:
        """Ask one node after the other where the slots are. again: also if that is known.

        Lost, when none answers; ServerRefused.
        """
        async with self._reading:
            if not again and time.monotonic() - self._read_at <= AGAIN:
                return  # somebody else did so meanwhile
            failure: Exception = Lost(sent=False)
            for node in self._to_ask():
                try:
                    (reply,) = await node.pool.ask([(b"CLUSTER", b"SLOTS")])
                except (Lost, ServerRefused) as error:
                    failure = error
                    continue
                if isinstance(reply, ServerError):
                    failure = ServerRefused(code=reply.code, reason=_NO_MAP)
                    continue
                self._map = SlotMap.read(reply, node.address[0])
                self._seen.addresses = self._map.nodes
                self._lost.clear()
                self._is_current, self._read_at = True, time.monotonic()
                return
            raise failure

    def _to_ask(self) -> Iterator[Node]:
        seen = [address for address in self._seen.addresses if address not in self._lost]
        lent = [address for address in lent_nodes(self._settings) if address not in seen]
        for address in [*seen, *lent]:
            yield self._node_at(address)
        yield self._seed
        for address in list(self._lost):
            yield self._node_at(address)


async def _send_packed(node: Node, kind: int, packed: bytes, count: int, asking: bool) -> Any:
    # In a cluster a MULTI/EXEC is of one slot.
    if not asking:
        return await node.begin(READ if kind is READ else ALONE, packed, count)
    if kind is READ:
        asked, *replies = await node.begin(READ, ASKING + packed, count + 1)
        return [asked] * count if isinstance(asked, ServerError) else replies
    asked, *replies = await node.begin(READ, ASKING + BEGIN + packed + END, count + 3)
    return asked if isinstance(asked, ServerError) else outcome(replies, 0, count, alone=True)


_NO_MAP = "the server does not tell where the slots of its cluster are: the user needs the right to CLUSTER SLOTS"


class _Follower:
    """A block under WATCH on a node of a cluster: when the slot has gone elsewhere, nothing is watched any more."""

    __slots__ = ("_cluster", "_node", "_watcher")

    def __init__(self, cluster: Cluster, node: Node | None, watch: Watch) -> None:
        """node: which has the slot, if that is known."""
        self._cluster, self._node = cluster, node
        self._watcher = None if node is None else node.watches.enter(watch)

    async def replies(self) -> Found:
        watcher = self._watcher
        return None if watcher is None else self._checked(await watcher.replies())

    async def more(self, watch: Watch) -> Found:
        watcher = self._watcher
        return None if watcher is None else self._checked(await watcher.more(watch))

    def _checked(self, replies: Found) -> Found:
        assert self._node is not None
        there = elsewhere(replies or (), self._node.address)
        if there is None:
            return replies
        self._cluster.note(there)
        self.leave()
        return None

    async def commit(self, decide: Decide) -> Answer:
        if self._watcher is None or self._node is None:
            return None
        try:
            answer = await self._watcher.commit(decide)
        except Lost:
            self._cluster.not_answered(self._node)
            raise
        there = _elsewhere(answer, self._node)
        if there is None:
            return answer
        self._cluster.note(there)
        return None

    def leave(self) -> None:
        if self._watcher is not None:
            self._watcher.leave()


class _Redirected(Exception):
    """What is to be decided on is on another node."""

    def __init__(self, there: Elsewhere) -> None:
        self.there = there


def _decide(node: Node, decide: Decide, replies: list[Reply], others: Others) -> Sequence[Command] | None:
    there = elsewhere(replies, node.address)
    if there is not None:
        raise _Redirected(there)
    return decide(replies, others)


def _elsewhere(answer: Answer, node: Node) -> Elsewhere | None:
    """Where the slot of an Update is, by what a node answered; None where it is there."""
    if isinstance(answer, Failed) and isinstance(answer.error, _Redirected):
        return answer.error.there
    return elsewhere([answer], node.address)


def _one_slot(keys: Sequence[bytes]) -> int:
    """The slot of all these keys. CrossSlot."""
    slot = slot_of(keys[0])
    if any(slot_of(key) != slot for key in keys[1:]):
        raise CrossSlot
    return slot
