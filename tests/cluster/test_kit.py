"""The clusters of the tests: what a test does to one is done when the call returns, and nothing else is."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import AskError, MovedError, NoPermissionError

from tests.support.builds import Build
from tests.support.clusters import SLOTS, Cluster, running_cluster, slot_of
from tests.support.rights import as_user


def test_all_slots_are_shared_and_each_key_is_on_its_node(cluster: Cluster) -> None:
    owners = cluster.owners()
    assert sorted(owners) == list(range(SLOTS))
    assert set(owners.values()) == set(cluster.masters)
    for node in cluster.masters:
        key = cluster.key_on(node)
        cluster.client_of(key).set(key, "v")
        assert node.client.get(key) == b"v"
        for other in set(cluster.masters) - {node}:
            with pytest.raises(MovedError, match=f"{slot_of(key)} 127.0.0.1:{node.port}"):
                other.client.get(key)
    assert len(cluster.dump()) == 3
    cluster.flush()
    assert cluster.dump() == {}


def test_a_client_of_redis_py_finds_all_nodes(cluster: Cluster) -> None:
    with redis.RedisCluster.from_url(cluster.urls[1]) as client:
        assert {node.port for node in client.get_primaries()} == {node.port for node in cluster.masters}
        for number in range(30):
            client.hset(f"h{number}", "f", number)
    assert cluster.dump() == {b"h%d" % number: {b"f": b"%d" % number} for number in range(30)}


def test_a_slot_that_is_half_moved_answers_ask_for_what_has_left(cluster: Cluster) -> None:
    source, target = cluster.masters[0], cluster.masters[1]
    gone = cluster.key_on(source)
    tag = f"{{{gone}}}"
    slot = slot_of(gone)
    source.client.mset({gone: "1", f"{tag}a": "2", f"{tag}b": "3"})
    cluster.begin_move(slot, target)
    moved = cluster.move_keys(slot, target, 2)
    assert len(moved) == 2
    for key in moved:
        with pytest.raises(AskError, match=f"{slot} 127.0.0.1:{target.port}"):
            source.client.get(key)
        with pytest.raises(MovedError):
            target.client.get(key)
    assert cluster.node_of(gone) is source
    cluster.move_keys(slot, target)
    cluster.end_move(slot, target)
    assert source.run("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
    assert cluster.node_of(gone) is target
    assert target.client.mget(gone, f"{tag}a", f"{tag}b") == [b"1", b"2", b"3"]
    assert cluster.move(slot, source) is source
    assert source.client.get(gone) == b"1"


def test_flushing_ends_a_move_that_was_only_begun(cluster: Cluster) -> None:
    source, target = cluster.masters[2], cluster.masters[0]
    key = cluster.key_on(source)
    cluster.begin_move(slot_of(key), target)
    cluster.flush()
    assert source.client.get(key) is None
    for node in cluster.masters:
        assert "[" not in node.table()


def test_only_commands_with_keys_are_counted(cluster: Cluster) -> None:
    key = cluster.key_on(cluster.masters[1])
    with cluster.counting() as nothing:
        assert cluster.client_of(key).ping()
    assert not nothing
    with cluster.counting() as sent:
        cluster.client_of(key).hset(key, "f", "v")
        cluster.client_of(key).hget(key, "f")
    assert sent == {"hset": 1, "hget": 1}
    assert sent.by_node[cluster.masters[1].port] == {"hset": 1, "hget": 1}
    assert not sent.by_node[cluster.masters[0].port]


def test_a_replica_takes_over_from_a_dead_master_and_has_what_was_replicated(build: Build) -> None:
    with running_cluster(replicas=True, binary=build.binary, requirepass="secret") as cluster:
        dead, kept = cluster.masters[0], cluster.masters[1]
        keys = {node: cluster.key_on(node) for node in cluster.masters}
        for node, key in keys.items():
            node.client.set(key, "v")
        cluster.wait_until_replicated()
        dead.kill()
        assert dead not in cluster.nodes
        cluster.promote(cluster.replica_of(dead), "TAKEOVER")
        assert cluster.node_of(keys[dead]) is cluster.replica_of(dead)
        assert cluster.client_of(keys[dead]).get(keys[dead]) == b"v"
        # While its master lives, nothing is lost at all.
        cluster.promote(cluster.replica_of(kept))
        assert cluster.client_of(keys[kept]).get(keys[kept]) == b"v"
        cluster.wait_until_ok()


def test_users_are_made_on_every_node(cluster: Cluster) -> None:
    cluster.create_user(["+get"], names="app:*")
    for node in cluster.masters:
        key = cluster.key_on(node, "app:{}")
        with redis.Redis.from_url(as_user(node.url)) as client:
            assert client.get(key) is None
            with pytest.raises(NoPermissionError):
                client.set(key, "v")
