"""Real clusters for tests, each made fresh and gone afterwards: masters with all slots among them, perhaps replicas.

Joined from Python, since the programs that tests run on bring no command-line client. What a test does to a cluster
(a slot moves, a node dies, a replica takes over) is here, too. No fixtures.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec

import redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError

from rapyer_core.embedded import EmbeddedServer, ServerStartFailed
from tests.support.rights import create_user

P = ParamSpec("P")

SLOTS = 16384

PATIENCE = 30.0
"""Seconds until what a cluster should do by itself counts as not done."""

SETTLING = 0.03
"""Seconds between the end of one move and the beginning of the next."""

NOT_DATA = frozenset(
    {
        *("auth", "client", "hello", "ping", "select"),
        *("acl", "cluster", "command", "config", "info", "time"),
        *("psync", "replconf"),
    }
)
"""Commands that touch no key: of connections, of whoever looks at the cluster, and between its nodes."""


class Node:
    """One server of a cluster. url: `redis://127.0.0.1:…`. id: by which the cluster knows it."""

    def __init__(self, port: int, bus: int, binary: str | None, options: dict[str, str | int]) -> None:
        self.port = port
        self.bus = bus
        self.password = str(options.get("requirepass", ""))
        own: dict[str, str | int] = {"port": port, "bind": "127.0.0.1", "cluster-enabled": "yes", "cluster-port": bus}
        self._server = EmbeddedServer(binary=binary, options=own | options)
        self._server.start()
        self.alive = True
        # Made from an address a client sends nothing again: no command is counted twice.
        self.client = redis.Redis.from_url(self.url)
        self.id = self.ask("CLUSTER", "MYID")

    def __repr__(self) -> str:
        return f"<node {self.port}{'' if self.alive else ', dead'}>"

    @property
    def url(self) -> str:
        """Its address, with the password if it wants one."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    @property
    def admin_url(self) -> str:
        """Its address on a Unix socket, where no client of the library comes along."""
        return self._server.url

    def run(self, *words: str | bytes | int) -> Any:
        """One command, word by word, and its reply: bytes, nothing decoded."""
        client: Any = self.client
        return client.execute_command(*words)

    def ask(self, *words: str | bytes | int) -> str:
        """One command whose reply is text."""
        found = self.run(*words)
        return found.decode() if isinstance(found, bytes) else str(found)

    def ok(self, *words: str | bytes | int) -> None:
        """One command that must succeed."""
        found = self.run(*words)
        assert found in (True, b"OK"), (self, words, found)

    def facts(self) -> dict[str, str]:
        """CLUSTER INFO, by name."""
        return dict(line.split(":", 1) for line in self.ask("CLUSTER", "INFO").split())

    def table(self) -> str:
        """CLUSTER NODES: a line for each node that it knows."""
        # By two words, for which redis-py has no callback that would parse the reply.
        return self.ask("CLUSTER", "NODES")

    def kill(self) -> None:
        """End it by ``kill -9``. The node stays dead."""
        self.alive = False
        os.kill(self._server.pid, signal.SIGKILL)
        wait_until(f"{self} to end", self._ended)

    def _ended(self) -> bool:
        return not self._server.listening

    def pause(self) -> None:
        """The process stands still: it takes connections and answers nothing."""
        os.kill(self._server.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``pause``."""
        os.kill(self._server.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and give back what it held."""
        self.alive = False
        self.client.close()
        self._server.stop()


class Sent(Counter[str]):
    """How often each node ran commands with keys, by `name` and in all. Filled at the end of ``Cluster.counting``."""

    by_node: dict[int, Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.by_node = {}


class Cluster:
    """Servers that form one cluster. masters: those that had slots at the start. replicas: in their order, or none."""

    def __init__(self, masters: list[Node], replicas: list[Node]) -> None:
        self.masters = masters
        self.replicas = replicas
        self._moved_at = 0.0

    @property
    def nodes(self) -> list[Node]:
        """Those that run."""
        return [node for node in (*self.masters, *self.replicas) if node.alive]

    @property
    def url(self) -> str:
        """The address of the first node."""
        return self.masters[0].url

    @property
    def urls(self) -> list[str]:
        """The addresses of all masters of the start."""
        return [node.url for node in self.masters]

    # -- where things are --

    def owners(self) -> dict[int, Node]:
        """Which node has which slot, as the first node that runs sees it. Slots of dead nodes are left out."""
        by_port = {node.port: node for node in self.nodes}
        found = self.nodes[0].run("CLUSTER", "SLOTS")
        owners = {}
        for first, last, (_, port, *_), *_ in found:
            if port in by_port:
                owners.update(dict.fromkeys(range(first, last + 1), by_port[port]))
        return owners

    def node_of(self, key: str | bytes) -> Node:
        """The master that has the key."""
        return self.owners()[slot_of(key)]

    def client_of(self, key: str | bytes) -> redis.Redis:
        """A plain client of that master: bytes, nothing decoded."""
        return self.node_of(key).client

    def key_on(self, node: Node, pattern: str = "key:{}") -> str:
        """A key of this form that the node has."""
        owners = self.owners()
        return next(key for key in map(pattern.format, range(10**6)) if owners[slot_of(key)] is node)

    def dump(self) -> dict[bytes, Any]:
        """Everything stored, by key: hashes and sorted sets whole, of others the type."""
        return {key: value for node in self.primaries() for key, value in stored(node.client).items()}

    def flush(self) -> None:
        """Nothing is stored any more, and no slot is on the move."""
        for node in self.primaries():
            # In its own line, which says "myself": `[93-<-id]`.
            mine = next(line for line in node.table().splitlines() if "myself" in line)
            for word in mine.split():
                if word.startswith("["):
                    node.ok("CLUSTER", "SETSLOT", word[1:].split("-")[0], "STABLE")
            node.ok("FLUSHALL")

    def primaries(self) -> list[Node]:
        """Those that run and are nobody's replica, with or without slots."""
        return [node for node in self.nodes if "master" in node.client.info("replication")["role"]]

    # -- slots that move --

    def begin_move(self, slot: int, to: Node) -> None:
        """The slot is half moved from here on: what is not on its master any more is on `to`, by ASK."""
        # What nodes told each other of the move before is on its way: Redis 8.2 can be left without an owner by it.
        time.sleep(max(0.0, self._moved_at + SETTLING - time.monotonic()))
        source = self.owners()[slot]
        to.ok("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ok("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)

    def move_keys(self, slot: int, to: Node, count: int | None = None) -> list[bytes]:
        """Move keys of a slot that is on the move, all or as many as said; which."""
        source = self.owners()[slot]
        moved: list[bytes] = []
        while count is None or len(moved) < count:
            wanted = 100 if count is None else count - len(moved)
            keys: list[bytes] = source.run("CLUSTER", "GETKEYSINSLOT", slot, wanted)
            if not keys:
                break
            login = ("AUTH", source.password) if source.password else ()
            source.run("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, *login, "KEYS", *keys)
            moved += keys
        return moved

    def end_move(self, slot: int, to: Node) -> None:
        """`to` is the slot's master, and all know it."""
        # The new one first: while nobody has the slot, nobody can be sent on.
        for node in (to, *(other for other in self.primaries() if other is not to)):
            node.ok("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        self._moved_at = time.monotonic()

    def move(self, slot: int, to: Node | None = None) -> Node:
        """A whole move, to any other master by default; to which."""
        source = self.owners()[slot]
        others = [node for node in self.masters if node.alive and node is not source]
        to = to or others[slot % len(others)]
        self.begin_move(slot, to)
        self.move_keys(slot, to)
        self.end_move(slot, to)
        return to

    # -- nodes that come and go --

    def replica_of(self, node: Node) -> Node:
        """The replica that was made for this master."""
        return self.replicas[self.masters.index(node)]

    def promote(self, replica: Node, how: str = "FORCE") -> None:
        """The replica takes over from its master, alive or dead, and all that run know it.

        how: FORCE or TAKEOVER; "": of a master that lives and waits for it, so that nothing is lost.
        """
        replica.ok("CLUSTER", "FAILOVER", *filter(None, [how]))
        wait_until(f"{replica} to take over", self._has_slots, replica)

    def _has_slots(self, node: Node) -> bool:
        lines = [line.split() for other in self.nodes for line in other.table().splitlines()]
        own = [words for words in lines if words[0] == node.id]
        return len(own) == len(self.nodes) and all("master" in words[2] and len(words) > 8 for words in own)

    def wait_until_replicated(self) -> None:
        """Every replica has what its master had."""
        for master, replica in zip(self.masters, self.replicas, strict=True):
            offset = int(master.client.info("replication")["master_repl_offset"])
            wait_until(f"{replica} to catch up", _has_replicated, replica, offset)

    def wait_until_ok(self) -> None:
        """Every node that runs says that the cluster is well, and knows all that run."""
        for node in self.nodes:
            wait_until(f"{node} to be well", _says, node, "cluster_state", "ok")

    # -- users, and what was asked --

    def create_user(self, commands: list[str], *, names: str = "*") -> None:
        """The restricted user of `tests.support.rights`, on every node."""
        for node in self.nodes:
            create_user(node.admin_url, commands, names=names)

    @contextmanager
    def counting(self) -> Iterator[Sent]:
        """Counts the commands with keys that the nodes ran in the block, whoever sent them."""
        before = {node: _calls(node) for node in self.nodes}
        sent = Sent()
        yield sent
        for node, calls in before.items():
            if node.alive:
                sent.by_node[node.port] = _calls(node) - calls
                sent.update(sent.by_node[node.port])

    def stop(self) -> None:
        """End all of them."""
        for node in (*self.masters, *self.replicas):
            node.stop()


@contextmanager
def running_cluster(
    masters: int = 3, *, replicas: bool = False, binary: str | None = None, **options: str | int
) -> Iterator[Cluster]:
    """A cluster of so many masters, each with the same share of the slots and, if asked for, one replica.

    `options` are settings of every node, with underscores for hyphens: `running_cluster(requirepass="secret")`.
    It takes about 2 s until it is well, with replicas about 3.
    """
    settings: dict[str, str | int] = {
        # Seconds of a loaded machine must not look like a dead node, unless a test says so.
        "cluster-node-timeout": 5000,
        "repl-diskless-sync-delay": 0,
    }
    settings |= {name.replace("_", "-"): value for name, value in options.items()}
    if "requirepass" in settings:
        settings["masterauth"] = settings["requirepass"]
    count = masters * 2 if replicas else masters
    with ExitStack() as stack:
        nodes = _started(count, binary, settings, stack)
        cluster = Cluster(nodes[:masters], nodes[masters:])
        _join(cluster)
        yield cluster


def _started(count: int, binary: str | None, settings: dict[str, str | int], stack: ExitStack) -> list[Node]:
    nodes = []
    for attempt in range(count + 5):
        port, bus = free_ports(2)
        try:
            node = Node(port, bus, binary, settings)
        except ServerStartFailed:
            # Somebody else may have taken a port between the look and the start.
            if attempt == count + 4:
                raise
            continue
        stack.callback(node.stop)
        nodes.append(node)
        if len(nodes) == count:
            break
    return nodes


def _join(cluster: Cluster) -> None:
    first, *others = cluster.nodes
    for number, node in enumerate(cluster.masters):
        start, end = (SLOTS * part // len(cluster.masters) for part in (number, number + 1))
        node.ok("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
        # Otherwise two nodes may begin with the same epoch, and settle that while tests run.
        node.ok("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node in others:
        node.ok("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus)
    everybody = str(len(cluster.nodes))
    for node in cluster.nodes:
        wait_until(f"{node} to know all others", _says, node, "cluster_known_nodes", everybody)
    for master, replica in zip(cluster.masters, cluster.replicas, strict=bool(cluster.replicas)):
        wait_until(f"{replica} to follow {master}", _follows, replica, master)
    for replica in cluster.replicas:
        wait_until(f"{replica} to be fed", _is_fed, replica)
    cluster.wait_until_ok()
    for node in cluster.nodes:
        wait_until(f"{node} to see the replicas", _sees, node, len(cluster.replicas))


def _follows(replica: Node, master: Node) -> bool:
    try:
        replica.ok("CLUSTER", "REPLICATE", master.id)
    except RedisError:
        return False  # it does not know yet that this one is a master
    return True


def _sees(node: Node, replicas: int) -> bool:
    return node.table().count("slave") == replicas


def _says(node: Node, name: str, value: str) -> bool:
    return node.facts().get(name) == value


def _is_fed(replica: Node) -> bool:
    return bool(replica.client.info("replication").get("master_link_status") == "up")


def _has_replicated(replica: Node, offset: int) -> bool:
    return int(replica.client.info("replication").get("slave_repl_offset", -1)) >= offset


def _calls(node: Node) -> Counter[str]:
    found: Any = node.client.info("commandstats")
    names = {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in found.items()}
    return Counter({name: calls for name, calls in names.items() if name.partition("|")[0] not in NOT_DATA})


# --- keys and values ----------------------------------------------------------------------------------------


def slot_of(key: str | bytes) -> int:
    """The cluster slot of a key."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def stored(client: redis.Redis) -> dict[bytes, Any]:
    """Everything that one server holds, by key: hashes and sorted sets whole, of others the type."""
    found: dict[bytes, Any] = {}
    for key in client.scan_iter(count=1000):
        kind: Any = client.type(key)
        if kind == b"hash":
            found[key] = client.hgetall(key)
        elif kind == b"zset":
            found[key] = client.zrange(key, 0, -1, withscores=True)
        else:
            found[key] = kind
    return found


# --- waiting and ports --------------------------------------------------------------------------------------


def wait_until(what: str, holds: Callable[P, bool], *args: P.args, **named: P.kwargs) -> None:
    """Looks again and again until it holds. what: is waited for, in words, for the error."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if holds(*args, **named):
                return
        except Unreachable:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nobody listened on a moment ago."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
