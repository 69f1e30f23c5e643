"""Redis is away, slow, full, started anew, another one: what is published is refused or kept, never dropped in
silence; who is connected stays; and afterwards all goes on."""

import contextlib
import itertools
import json
import re
import signal
import socket

import pytest

from cluster_fixtures import (Load, figures, is_ready, many, net, redis, start_nodes,  # noqa: F401
                              start_redis, wait_away, wait_ready, wire)
from hermes_fixtures import HERMES, eventually
from raw import CLOSE, Client2, burst, publish_text, since

DEEP = [{"match": "h:>", "history": 100_000}]


def publish_again(client, topic, data):
    """Until it is taken: the offset. For who is not subscribed."""
    def publish():
        got = client.ask("publish", topic=topic, data=data)
        assert got["type"] == "ack_publish" or got["code"] == "unavailable", got
        return got.get("offset")
    return eventually(publish, "a publish that is taken")


def answered(got):
    assert got["type"] != "error" or got["code"] == "unavailable", got
    return got if got["type"] != "error" else None


def refused(client, topic="h:t"):
    """Waits until a publish is refused: Redis is away."""
    def publish():
        got = client.ask("publish", topic=topic, data="lost?")
        assert got["type"] == "ack_publish" or got["code"] == "unavailable", got
        return got["type"] == "error"
    eventually(publish, "a refusal")


# --- the start ------------------------------------------------------------------------------------

@pytest.mark.parametrize("url", [
    "localhost", "http://localhost", "redis://", "redis://:6379", "redis://localhost:0", "redis://localhost:99999",
    "redis://localhost:x", "redis://localhost/x", "redis://localhost/-1", "redis://localhost/1/2", "redis://a b",
    "redis://localhost,", ",redis://localhost", "redis://a,http://b", "redis://user:%zz@localhost", "redis://[::1",
    "redis://u:pass@localhost:port"])
def test_an_address_that_is_none_is_one_line_and_no_start(url):
    import subprocess
    from hermes_fixtures import clean_environment
    done = subprocess.run([str(HERMES), "serve"], env=clean_environment(
        WS_PORT=0, WS_HOST="127.0.0.1", WS_ADMIN_PORT="off", WS_REDIS_URL=url), capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert len(said.splitlines()) == 1 and re.search("WS_REDIS_URL|--redis-url", said), said
    assert "pass@" not in said and "redis://" in said, said


def test_a_node_starts_before_its_redis_and_is_ready_when_that_is_there(start_redis, start_nodes):
    redis = start_redis()
    redis.kill()
    nodes = start_nodes(2, redis, wait=False, rules=DEEP)
    for node in nodes:
        assert node.get("/readyz").status == 503 and node.get("/healthz").status == 200
        assert b"redis" in node.get("/readyz").text.lower()
        with node.client2() as client:
            client.refused("unavailable", "publish", topic="h:t", data=1)
            client.refused("unavailable", "subscribe", topic="h:t")
            client.refused("unavailable", "subscribe", pattern="h:*")
            client.refused("unavailable", "history", topic="h:t")
            assert client.ask("ping")["type"] == "pong"
        with node.client() as client:
            client.publish("t", 1)
            client.expect_error()
            client.say('{"type":"subscribe","topic":"t"}')
            client.expect_error()
    redis.start()
    wait_ready(*nodes)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    reader.subscribe("h:t")
    publisher.publish_acked("h:t", 1)
    reader.expect_message("h:t", 1, 1)


def test_a_wrong_password_is_said_once_and_tried_again(start_redis, start_nodes):
    redis = start_redis(password="right")
    node, = start_nodes(1, redis.url(password="wrong"), wait=False)
    found = node.wait_log("(?i)(WRONGPASS|password)")
    assert found
    assert node.get("/readyz").status == 503
    failed = lambda: int(re.search(r"total_connections_received:(\d+)", redis.do("INFO", "stats").decode())[1])
    first = failed()
    eventually(lambda: failed() >= first + 4, "more attempts")
    said = [line for line in node.lines() if re.search("(?i)WRONGPASS|password", line)]
    assert len(said) <= 2, said
    assert not any("wrong@" in line or ":wrong" in line for line in node.lines())
    redis.do("CONFIG", "SET", "requirepass", "wrong")
    wait_ready(node)


def test_a_password_that_is_missing_is_said(start_redis, start_nodes):
    redis = start_redis(password="right")
    node, = start_nodes(1, f"redis://127.0.0.1:{redis.port}", wait=False)
    node.wait_log("(?i)NOAUTH|password")
    assert node.get("/readyz").status == 503


# --- away -----------------------------------------------------------------------------------------

def test_when_redis_stops_publishes_are_refused_and_afterwards_all_goes_on(start_nodes, redis):
    """SIGSTOP: nothing answers, and no connection ends."""
    nodes = start_nodes(2, redis, rules=DEEP + [{"match": "mine:>", "local": True}])
    readers = [node.client2() for node in nodes]
    plain = nodes[0].client()
    epoch = readers[0].subscribe("h:t")["epoch"]
    for client in readers[1:]:
        assert client.subscribe("h:t")["epoch"] == epoch
    plain.subscribe("h:t")
    publishers = [node.client2() for node in nodes]
    publishers[0].publish_acked("h:t", "before")
    for client in readers:
        client.expect_message("h:t", "before", 1)
    up = [figures(node).total("hermes_cluster_servers_up") for node in nodes]
    assert up == [1, 1]
    redis.pause()
    try:
        for node, publisher in zip(nodes, publishers):
            publisher.refused("unavailable", "publish", topic="h:t", data="lost?")
            wait_away(node)
            assert b"redis" in node.get("/readyz").text.lower() and node.get("/healthz").status == 200
            assert figures(node).total("hermes_cluster_servers_up") == 0
            publisher.refused("unavailable", "subscribe", topic="h:new")
            # What stays here has nothing to do with it.
            publisher.subscribe("mine:t")
            publisher.say(publish_text("mine:t", "1"))
            publisher.expect_message("mine:t", 1, 1)
            publisher.unsubscribe("mine:t")
        for client in readers:
            before, got = client.ask_among("ping")
            assert got["type"] == "pong"
    finally:
        redis.resume()
    wait_ready(*nodes)
    offset = publish_again(publishers[1], "h:t", "after")
    for client in readers:
        # What had been refused may have been taken all the same, but then it is in its place for all.
        for n in range(2, offset + 1):
            got = client.recv_json()
            client.check_message(got, "h:t", n)
        assert got["data"] == "after"
    eventually(lambda: plain.recv_json() == "after", "the message at level 1")
    for node in nodes:
        assert figures(node).total("hermes_cluster_servers_up") == 1


def test_when_redis_stops_under_load_nothing_is_lost(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b"])
    load.run(50)
    redis.pause()
    try:
        for one in load.publishers:
            one.wait(lambda: one.refused, "a refusal")
    finally:
        redis.resume()
    load.run(100)
    load.end()
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]


def test_memory_is_bounded_while_redis_does_not_answer(start_nodes, redis):
    node, = start_nodes(1, redis, rules=DEEP)
    clients = [node.client2() for _ in range(4)]
    clients[0].publish_acked("h:t", 0)
    before = node.memory()
    node.reset_peak()
    redis.pause()
    try:
        one = burst([publish_text("h:t", '"%s"' % ("x" * 60_000))])
        for client in clients:
            client.sock.settimeout(0.5)
            with contextlib.suppress(socket.timeout):
                for _ in range(500):
                    client.sock.sendall(one)
        assert node.peak_memory() - before < 100 << 20
    finally:
        redis.resume()
    wait_ready(node)
    with node.client2() as client:
        publish_again(client, "h:t", "after")


def test_a_short_pause_is_only_waited_for(start_nodes, redis):
    """CLIENT PAUSE: Redis reads, and answers late."""
    nodes = start_nodes(2, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "b"], followers=4, publishers=2)
    for _ in range(3):
        load.run(20)
        redis.do("CLIENT", "PAUSE", 300, "ALL")
    load.run(20)
    assert not any(one.refused for one in load.publishers)
    load.end()


# --- started anew ---------------------------------------------------------------------------------

def test_redis_is_killed_under_load_and_what_it_had_answered_for_is_not_lost(start_redis, start_nodes):
    """With its log of commands (AOF)."""
    redis = start_redis(aof=True)
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b"])
    for _ in range(3):
        load.run(60)
        redis.restart()
    load.run(60)
    load.end()
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]
    epochs = {epoch for one in load.followers for topic in one.topics for epoch, _, _ in one.got[topic]}
    assert len(epochs) == 2, "an epoch has changed"


def test_while_redis_is_not_there_subscribers_stay(start_redis, start_nodes):
    redis = start_redis(aof=True)
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    epoch = reader.subscribe("h:t")["epoch"]
    publisher.publish_acked("h:t", 1)
    reader.expect_message("h:t", 1, 1)
    redis.kill()
    wait_away(*nodes)
    publisher.refused("unavailable", "publish", topic="h:t", data="lost")
    publisher.refused("unavailable", "subscribe", topic="h:new")
    assert reader.ask("ping")["type"] == "pong"
    redis.start()
    wait_ready(*nodes)
    assert publish_again(publisher, "h:t", 2) == 2
    reader.expect_message("h:t", 2, 2)
    assert nodes[1].client2().subscribe("h:t")["epoch"] == epoch


@pytest.mark.parametrize("topic", ["h:t", "t"])
def test_redis_that_comes_back_empty_begins_a_new_epoch_and_all_are_told(start_nodes, redis, topic):
    nodes = start_nodes(2, redis, rules=DEEP)
    readers = [node.client2() for node in nodes]
    epoch = [client.subscribe(topic)["epoch"] for client in readers][0]
    publisher = nodes[1].client2()
    for n in range(1, 6):
        publisher.publish_acked(topic, n)
        for client in readers:
            client.expect_message(topic, n, n)
    redis.kill()
    wait_away(*nodes)
    redis.start()
    wait_ready(*nodes)
    epochs = set()
    first = publish_again(publisher, topic, "new")
    for client in readers:
        got = client.recv_json()
        assert got["type"] == "gap" and got["topic"] == topic and got["from"] == 1, got
        assert got["epoch"] != epoch and got["to"] < first, got
        epochs.add(got["epoch"])
        at = got["to"]
        while at < first:
            got = client.recv_json()
            client.check_message(got, topic, at + 1)
            at += 1
        assert got["data"] == "new"
    assert len(epochs) == 1
    for node in nodes:
        with node.client2() as client:
            got = client.subscribe(topic, since=since(epoch, 5))
            assert got["recovered"] is False and {got["epoch"]} == epochs


def test_redis_is_started_empty_under_load_and_nobody_misses_it(start_nodes, redis):
    """Whatever is lost, is told; and what comes after that is whole."""
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "b"])
    for _ in range(2):
        load.run(50)
        redis.restart()
    load.run(50)
    load.end(gaps=True, resets=True)
    for one in load.followers:
        assert any(epoch for _, _, _, epoch in one.gaps), one


def test_while_redis_loads_its_data_it_is_away(start_redis, start_nodes):
    """-LOADING."""
    redis = start_redis(aof=True)
    nodes = start_nodes(2, redis, rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    epoch = reader.subscribe("h:t")["epoch"]
    publisher.publish_acked("h:t", 1)
    reader.expect_message("h:t", 1, 1)
    for n in range(400):
        redis.do("SET", f"x{n}", "y" * 3000)
    redis.restart("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024", wait=False)
    refused(publisher)
    wait_away(*nodes)
    with nodes[0].client2() as client:
        client.refused("unavailable", "subscribe", topic="h:new")
    wait_ready(*nodes)
    offset = publish_again(publisher, "h:t", "after")
    last = 1
    while last < offset:
        got = reader.recv_json()
        reader.check_message(got, "h:t", last + 1)
        last += 1
    with nodes[1].client2() as client:
        assert client.subscribe("h:t")["epoch"] == epoch


# --- connections that break -----------------------------------------------------------------------

def test_subscriptions_are_cut_under_load_and_with_history_nothing_is_lost(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b", "h:c"], listeners=2)
    cut = 0
    for _ in range(many(12)):
        load.run(25)
        cut += redis.cut_subscribers()
    load.run(25)
    load.end()
    assert cut >= many(6)
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]


def test_all_connections_are_cut_under_load_and_with_history_nothing_is_lost(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b", "h:c"])
    for _ in range(many(12)):
        load.run(25)
        redis.cut_all()
    load.run(25)
    load.end()
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]


def test_without_history_what_was_missed_is_told_exactly(start_nodes, redis, wire):
    """To level 2 by a gap; at level 1, where nothing can be told, by an end with 1012."""
    away = wire(redis)
    near, = start_nodes(1, redis, rules=DEEP)
    far, = start_nodes(1, redis.url(port=away.port), rules=DEEP)
    here, there, plain, kept = near.client2(), far.client2(), far.client(), far.client2()
    for client in (here, there):
        client.subscribe("t")
    plain.subscribe("t")
    kept.subscribe("h:t")
    calm = far.client()
    calm.subscribe("quiet")
    publisher = near.client2()
    for topic in ("t", "h:t"):
        publisher.publish_acked(topic, 1)
    for client, topic in ((here, "t"), (there, "t"), (kept, "h:t")):
        client.expect_message(topic, 1, 1)
    assert plain.recv_json() == 1
    away.unplug()
    wait_away(far)
    assert is_ready(near)
    for n in range(2, 12):
        for topic in ("t", "h:t"):
            assert publisher.publish_acked(topic, n)[0] == n
        here.expect_message("t", n, n)
    away.plug()
    wait_ready(far)
    assert there.recv_json() == {"type": "gap", "topic": "t", "from": 2, "to": 11}
    for n in range(2, 12):
        kept.expect_message("h:t", n, n)
    plain.expect_close(1012)
    for topic in ("t", "h:t"):
        publisher.publish_acked(topic, 12)
    for client, topic in ((here, "t"), (there, "t"), (kept, "h:t")):
        client.expect_message(topic, 12, 12)
    calm.fence()


def test_subscriptions_are_cut_under_load_and_without_history_all_is_told(start_nodes, redis):
    nodes = start_nodes(3, redis)
    load = Load(nodes, ["a", "b"])
    for _ in range(many(12)):
        load.run(25)
        redis.cut_subscribers()
    load.run(25)
    load.end(gaps=True)
    # What is not in a gap is there, and has its place: followers check that as it comes.
    assert all(one.connections == 1 and epoch is None for one in load.followers for _, _, _, epoch in one.gaps)


def test_a_history_that_does_not_reach_back_far_enough_is_filled_up_by_a_gap(start_nodes, redis, wire):
    away = wire(redis)
    rules = [{"match": "h:>", "history": 5}]
    near, = start_nodes(1, redis, rules=rules)
    far, = start_nodes(1, redis.url(port=away.port), rules=rules)
    reader, publisher = far.client2(), near.client2()
    reader.subscribe("h:t")
    publisher.publish_acked("h:t", 1)
    reader.expect_message("h:t", 1, 1)
    away.unplug()
    wait_away(far)
    for n in range(2, 21):
        publisher.publish_acked("h:t", n)
    away.plug()
    assert reader.recv_json() == {"type": "gap", "topic": "h:t", "from": 2, "to": 15}
    for n in range(16, 21):
        reader.expect_message("h:t", n, n)
    publisher.publish_acked("h:t", 21)
    reader.expect_message("h:t", 21, 21)


def test_many_topics_are_subscribed_again(start_nodes, redis, wire):
    away = wire(redis)
    near, = start_nodes(1, redis, rules=DEEP)
    far, = start_nodes(1, redis.url(port=away.port), rules=DEEP)
    topics = [f"{'h' if n % 2 else 'x'}:{n}" for n in range(many(3000))]
    readers = {}
    for k in range(0, len(topics), 1000):
        client = far.client2()
        client.say(json.dumps({"type": "subscribe", "topics": topics[k : k + 1000]}))
        for topic in topics[k : k + 1000]:
            assert client.recv_json()["type"] == "ack_subscribe"
            readers[topic] = client
    publisher = near.client2()
    away.unplug()
    wait_away(far)
    for topic in topics[::3]:
        publisher.publish(topic, 1)
    publisher.publish_acked("none", 1)
    away.plug()
    wait_ready(far)
    publisher.send(burst(publish_text(topic, "2") for topic in topics))
    by_client = {}
    for topic in topics:
        by_client.setdefault(readers[topic], []).append(topic)
    for client, mine in by_client.items():
        seen = {topic: [] for topic in mine}
        while not all(rows and rows[-1] == 2 for rows in seen.values()):
            got = client.recv_json()
            seen[got["topic"]].append(got["data"] if got["type"] == "message" else ("gap", got["from"], got["to"]))
        for n, topic in enumerate(topics):
            if topic in seen:
                first = [] if n % 3 else [1] if topic[0] == "h" else [("gap", 1, 1)]
                assert seen[topic] == [*first, 2], (topic, seen[topic])


def test_a_tiny_buffer_for_subscribers_cuts_them_and_nothing_is_lost(start_nodes, redis):
    """client-output-buffer-limit: Redis ends the connection of who does not keep up."""
    nodes = start_nodes(2, redis, rules=DEEP)
    redis.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 60000 20000 1")
    load = Load(nodes, ["h:a", "h:b"], followers=4, publishers=2, size=6000, window=40)
    load.run(150)
    redis.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    load.end()
    killed = re.search(r"client_output_buffer_limit_disconnections:(\d+)", redis.do("INFO", "stats").decode())
    assert killed is None or int(killed[1]) > 0, "no connection was cut: this test tests nothing"


def test_one_of_several_servers_is_away(start_redis, start_nodes):
    servers = [start_redis() for _ in range(2)]
    nodes = start_nodes(2, servers, rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    topics = [f"h:{n}" for n in range(20)]
    for topic in topics:
        reader.subscribe(topic)
        publisher.publish_acked(topic, 1)
        reader.expect_message(topic, 1, 1)
    here = [{key[9:].decode() for key in one.do("KEYS", "hermes:h:*")} for one in servers]
    assert len(here[0]) + len(here[1]) == len(topics) and here[0] and here[1], here
    servers[1].kill()
    wait_away(*nodes)
    for topic in topics:
        got = publisher.ask("publish", topic=topic, data=2)
        if topic in here[0]:
            assert got["offset"] == 2
            reader.expect_message(topic, 2, 2)
        else:
            assert got["code"] == "unavailable", got
    servers[1].start()
    wait_ready(*nodes)


# --- another server -------------------------------------------------------------------------------

def start_replica(start_redis, primary):
    replica = start_redis("--replicaof", f"127.0.0.1 {primary.port}")
    eventually(lambda: b"master_link_status:up" in replica.do("INFO", "replication"), "a replica in step")
    return replica


def test_a_replica_takes_over(start_redis, start_nodes, wire):
    """The primary dies; its replica is promoted, at the same address."""
    primary = start_redis()
    replica = start_replica(start_redis, primary)
    way = wire(primary)
    nodes = start_nodes(2, redis_url(primary, way), rules=DEEP)
    load = Load(nodes, ["h:a", "h:b"], followers=4, publishers=2)
    load.run(60)
    # So that nothing has been answered for that the replica does not have: that would be told by a new
    # epoch or a gap, not lost in silence, but here it is to be whole.
    primary.do("CLIENT", "PAUSE", 20_000, "WRITE")
    eventually(lambda: in_step(primary, replica), "a replica with all of it")
    way.plug(replica.port)
    replica.do("REPLICAOF", "NO", "ONE")
    primary.kill()
    way.cut()
    load.run(60)
    load.end()
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]


def redis_url(redis, way):
    return redis.url(port=way.port)


def in_step(primary, replica):
    """Whether the replica has come as far as the primary."""
    offsets = [int(re.search(rb"%s:(\d+)" % name, one.do("INFO", "replication"))[1])
               for one, name in ((primary, b"master_repl_offset"), (replica, b"slave_repl_offset"))]
    return offsets[0] == offsets[1]


def test_a_primary_that_becomes_a_replica_is_left(start_redis, start_nodes, wire):
    """-READONLY: a failover in which nobody dies."""
    primary = start_redis()
    replica = start_replica(start_redis, primary)
    way = wire(primary)
    nodes = start_nodes(2, redis_url(primary, way), rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    epoch = reader.subscribe("h:t")["epoch"]
    publisher.publish_acked("h:t", 1)
    reader.expect_message("h:t", 1, 1)
    eventually(lambda: in_step(primary, replica), "a replica with all of it")
    replica.do("REPLICAOF", "NO", "ONE")
    primary.do("REPLICAOF", "127.0.0.1", replica.port)
    way.plug(replica.port)
    # Connections to the old one are still there: it refuses, and is left for that.
    offset = publish_again(publisher, "h:t", "after")
    last, data = 1, None
    while last < offset:
        got = reader.recv_json()
        reader.check_message(got, "h:t", last + 1)
        last, data = got["offset"], got["data"]
    assert data == "after"
    wait_ready(*nodes)
    assert nodes[0].client2().subscribe("h:t")["epoch"] == epoch
    assert replica.clients("pubsub") and not [c for c in primary.clients("pubsub")]


def test_a_replica_that_lacks_the_last_messages_is_noticed(start_redis, start_nodes, wire):
    """What it has never heard of cannot be whole: a gap with another epoch tells."""
    primary = start_redis()
    replica = start_replica(start_redis, primary)
    way = wire(primary)
    nodes = start_nodes(2, redis_url(primary, way), rules=DEEP)
    reader, publisher = nodes[0].client2(), nodes[1].client2()
    epoch = reader.subscribe("h:t")["epoch"]
    for n in range(1, 4):
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n)
    eventually(lambda: in_step(primary, replica), "a replica with all of it")
    replica.do("REPLICAOF", "NO", "ONE")
    for n in range(4, 7):
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n)
    way.plug(replica.port)
    way.cut()
    # Published elsewhere before the reader's node looks: its numbers must not pass for the old ones.
    publish_again(publisher, "h:t", "other")
    got = reader.recv_json()
    assert got["type"] == "gap" and got["from"] == 1 and got["epoch"] != epoch, got
    publish_again(publisher, "h:t", "last")
    at = got["to"]
    while got.get("data") != "last":
        got = reader.recv_json()
        reader.check_message(got, "h:t", at + 1)
        at += 1
    with nodes[1].client2() as client:
        got = eventually(lambda: answered(client.ask("subscribe", topic="h:t", since=since(epoch, 6))), "an answer")
        assert got["recovered"] is False


def test_no_number_is_given_twice_by_a_server_that_has_lost_some(start_redis, start_nodes):
    """Though the publisher tries again as soon as there is somebody to try it with. Seen to fail when a topic of
    another run of the server is published to at once: the new 4, 5 and 6 were taken for the old ones."""
    redis = start_redis()
    node, = start_nodes(1, redis, rules=DEEP)
    reader, publisher = node.client2(), node.client2()
    epoch = reader.subscribe("h:t")["epoch"]
    for n in range(1, 4):
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n)
    redis.do("SAVE")
    for n in range(4, 7):
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n)
    redis.restart()
    acked = []
    for n in itertools.count():
        got = publisher.ask("publish", topic="h:t", data=f"new {n}")
        assert got["type"] == "ack_publish" or got["code"] == "unavailable", got
        if got["type"] == "ack_publish":
            acked.append((got["offset"], f"new {n}"))
        if len(acked) == 8:
            break
    got = reader.recv_json()
    assert got["type"] == "gap" and got["from"] == 1 and got["epoch"] != epoch, got
    last = got["to"]
    seen = []
    while last < acked[-1][0]:
        got = reader.recv_json()
        reader.check_message(got, "h:t", last + 1)
        last += 1
        seen.append((last, got["data"]))
    assert seen == acked
    got = node.client2().ask("subscribe", topic="h:t", since=since(epoch, 6))
    assert got["recovered"] is False


@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_node_that_comes_when_lost_numbers_were_given_again_begins_anew(start_redis, start_nodes, count):
    """It was away for longer than it is waited for. Seen to fail where offsets are compared and nothing else: with 5
    its subscriber was never told, with 9 it was given the last four."""
    redis = start_redis()
    late, other = start_nodes(2, redis, rules=DEEP)
    reader, publisher = late.client2(), other.client2()
    epoch = reader.subscribe("h:t")["epoch"]
    for n in range(1, 11):
        if n == 6:
            redis.do("SAVE")
        publisher.publish_acked("h:t", n)
        reader.expect_message("h:t", n, n)
    late.kill(signal.SIGSTOP)
    try:
        redis.restart()
        assert publish_again(publisher, "h:t", "new 0") == 6
        for n in range(1, count):
            assert publisher.publish_acked("h:t", f"new {n}")[0] == 6 + n
    finally:
        late.kill(signal.SIGCONT)
    got = reader.recv_json()
    assert got["type"] == "gap" and got["from"] == 1 and got["epoch"] != epoch, got
    assert got["to"] == 0
    assert publisher.publish_acked("h:t", "next")[0] == 1
    reader.expect_message("h:t", "next", 1)
    for node in (late, other):
        got = node.client2().ask("subscribe", topic="h:t", since=since(epoch, 10))
        assert got["recovered"] is False, got


def test_both_connections_are_to_one_server(start_redis, start_nodes, wire):
    """There may be another behind the name by now, for the one that was lost. Seen to fail without the look whose
    they are: what was published there was never heard of here."""
    first, second = start_redis(), start_redis()
    way = wire(first)
    node, = start_nodes(1, redis_url(first, way), rules=DEEP)
    reader, publisher = node.client2(), node.client2()
    reader.subscribe("t")
    publisher.publish_acked("t", 1)
    reader.expect_message("t", 1, 1)
    way.plug(second.port)
    first.cut_subscribers()
    eventually(lambda: second.clients("pubsub"), "a subscriber of the second server")
    publish_again(publisher, "t", "there")
    while (got := reader.recv_json())["type"] == "gap" or got["data"] != "there":
        pass
    with node.client2() as late:
        late.subscribe("u")
        publish_again(publisher, "u", "too")
        late.expect_message("u", "too", None)


# --- the network ----------------------------------------------------------------------------------

def test_a_cable_is_pulled_and_plugged_in_again(net, start_redis, start_nodes):
    """Two nodes, each with a cable of its own to Redis: nothing passes through one of them, and nobody is
    told."""
    place = net(2)
    redis = start_redis(net=place)
    nodes = [start_nodes(1, redis.url(host=place.address(k)), rules=DEEP)[0] for k in range(2)]
    readers = [node.client2() for node in nodes]
    for client in readers:
        client.subscribe("h:t")
    publishers = [node.client2() for node in nodes]
    publishers[0].publish_acked("h:t", 1)
    for client in readers:
        client.expect_message("h:t", 1, 1)
    place.pull(0)
    wait_away(nodes[0])
    publishers[0].refused("unavailable", "publish", topic="h:t", data="lost?")
    assert is_ready(nodes[1])
    for n in range(2, 22):
        publishers[1].publish_acked("h:t", n)
        readers[1].expect_message("h:t", n, n)
    assert readers[0].ask("ping")["type"] == "pong"
    place.plug(0)
    wait_ready(*nodes)
    offset = publish_again(publishers[0], "h:t", "after")
    for client, last in zip(readers, (1, 21)):
        while last < offset:
            got = client.recv_json()
            client.check_message(got, "h:t", last + 1)
            last += 1
            assert got["data"] in (last, "lost?", "after"), got


def test_the_network_is_cut_under_load_and_nothing_is_lost(net, start_redis, start_nodes):
    place = net(3)
    redis = start_redis(net=place)
    nodes = [start_nodes(1, redis.url(host=place.address(k)), rules=DEEP)[0] for k in range(3)]
    load = Load(nodes, ["h:a", "h:b"])
    for k in range(3):
        load.run(40)
        place.pull(k)
        wait_away(nodes[k])
        place.plug(k)
        wait_ready(nodes[k])
    load.run(40)
    load.end()
    assert all(one.connections == 1 for one in load.followers), [one.closes for one in load.followers]
