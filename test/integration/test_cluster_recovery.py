"""What was missed, on whichever node of a cluster a client comes back to: history lives in Redis."""

import json
import random

import pytest

from cluster_fixtures import (Load, kill_node, many, redis, start_nodes, start_redis, wait_away,  # noqa: F401
                              wait_ready, wire)
from hermes_fixtures import eventually, within
from raw import burst, publish_text, since

DEEP = [{"match": "h:>", "history": 100_000}]


def fill(node, topic, numbers):
    """Publishes the numbers through a node; they are kept when it returns."""
    with node.client2() as client:
        client.send(burst(publish_text(topic, str(n)) for n in numbers))
        return client.history(topic, limit=1)["epoch"]


def data_of(answer):
    return [m["data"] for m in answer["messages"]]


# --- one client, another node ---------------------------------------------------------------------

def test_since_brings_on_another_node_exactly_what_was_missed_and_goes_on(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    epoch = fill(nodes[0], "h:t", range(1, 51))
    for missed in range(51):
        with nodes[1 + missed % 2].client2() as client:
            got = client.subscribe("h:t", since=since(epoch, 50 - missed))
            assert (got["recovered"], got["offset"], got["epoch"]) == (True, 50, epoch)
            for n in range(51 - missed, 51):
                client.expect_message("h:t", n, n)
            client.fence()


def test_replay_on_another_node_brings_the_newest(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    fill(nodes[0], "h:t", range(1, 31))
    client = nodes[1].client2()
    for replay in (0, 1, 7, 30, 31, 1000):
        assert client.subscribe("h:t", replay=replay)["offset"] == 30
        for n in range(30 - min(replay, 30) + 1, 31):
            client.expect_message("h:t", n, n)
        client.unsubscribe("h:t")
    client.fence()


def test_history_is_asked_for_on_any_node(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    epoch = fill(nodes[0], "h:t", range(1, 1501))
    for node in nodes:
        client = node.client2()
        assert data_of(client.history("h:t")) == list(range(1401, 1501))
        at, seen = 0, []
        while at < 1500:
            got = client.history("h:t", limit=400, since=since(epoch, at))
            assert got["recovered"] and got["offset"] == 1500
            seen += data_of(got)
            at = seen[-1]
        assert seen == list(range(1, 1501))
        client.fence()


def test_the_retained_message_is_there_on_every_node(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=[{"match": "r:>", "retain": True}])
    writer, reader = nodes[0].client2(), nodes[1].client2()
    for n in range(1, 4):
        writer.publish_acked("r:t", n)
        # The node may not have heard of the newest yet: then it comes behind the one before.
        at = reader.subscribe("r:t", replay=1)["offset"]
        assert n - 1 <= at <= n
        for k in range(max(at, 1), n + 1):
            reader.expect_message("r:t", k, k)
        reader.unsubscribe("r:t")


def test_another_epoch_is_not_recovered(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    epoch = fill(nodes[0], "h:t", range(1, 11))
    client = nodes[1].client2()
    for wrong in (since("0" * 16, 5), since("x", 5), since(epoch[:-1], 5), since(epoch, 11),
                  since(epoch, 999_999_999_999_999_998), since(epoch, 2**63 - 1)):
        got = client.subscribe("h:t", since=wrong)
        assert (got["recovered"], got["offset"], got["epoch"]) == (False, 10, epoch)
        client.unsubscribe("h:t")
    client.fence()


# Broken by a list that is trimmed to one entry less.
@pytest.mark.parametrize("subscribed", [False, True])
def test_no_more_is_kept_than_the_rule_says(start_nodes, redis, subscribed):
    nodes = start_nodes(2, redis, rules=[{"match": "h:t", "history": 10}])
    if subscribed:
        nodes[1].client2().subscribe("h:t")
    epoch = fill(nodes[0], "h:t", range(1, 31))
    assert redis.do("LLEN", "hermes:h:h:t") == 10
    client = nodes[1].client2()
    assert data_of(client.history("h:t")) == list(range(21, 31))
    for offset in range(15, 31):
        got = client.subscribe("h:t", since=since(epoch, offset))
        assert got["recovered"] == (offset >= 20), (offset, got)
        if got["recovered"]:
            for n in range(offset + 1, 31):
                client.expect_message("h:t", n, n)
        client.unsubscribe("h:t")
    client.fence()


@pytest.mark.parametrize("subscribed", [False, True])
def test_nothing_is_kept_for_longer_than_the_rule_says(start_nodes, redis, subscribed):
    nodes = start_nodes(2, redis, rules=[{"match": "h:t", "history": 10, "history_seconds": 1}])
    keeper = nodes[1].client2()
    if subscribed:
        keeper.subscribe("h:t")
    epoch = fill(nodes[0], "h:t", range(1, 6))
    for node in nodes:
        client = node.client2()
        eventually(lambda: data_of(client.history("h:t")) == [], "an empty history")
        assert client.subscribe("h:t", since=since(epoch, 4))["recovered"] is False
        assert client.subscribe("h:t", since=since(epoch, 5))["recovered"] is True
    fill(nodes[0], "h:t", [6])
    with nodes[1].client2() as client:
        got = client.subscribe("h:t", since=since(epoch, 5))
        assert got["recovered"] is True  # behind it, or on its way to that node still
        client.expect_message("h:t", 6, 6)


def test_what_was_published_without_any_subscriber_is_kept(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    for n in range(1, 7):
        with nodes[n % 2].client2() as client:
            assert client.publish_acked("h:t", n) == (n, 0)
    for node in nodes:
        assert data_of(node.client2().history("h:t")) == [1, 2, 3, 4, 5, 6]


def test_history_outlives_all_nodes(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    epoch = fill(nodes[0], "h:t", range(1, 21))
    kill_node(nodes[0])
    assert nodes[1].stop() == 0
    node, = start_nodes(1, redis, rules=DEEP)
    client = node.client2()
    got = client.subscribe("h:t", since=since(epoch, 5))
    assert (got["recovered"], got["offset"]) == (True, 20)
    for n in range(6, 21):
        client.expect_message("h:t", n, n)


def test_data_is_replayed_byte_for_byte(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    data = ["170.50", '{ "a" : 1,"a":2 }', '"ż\U0001f422"', r'"\u0041\/"', "null", '"%s"' % ("y" * 70_000),
            '"%s"' % ("z" * 126), "[ ]"]
    with nodes[0].client2() as writer:
        for value in data:
            writer.publish("h:t", value)
        assert writer.history("h:t", limit=1)["offset"] == len(data)
    client = nodes[1].client2()
    client.say('{"type":"subscribe","topic":"h:t","replay":100}')
    client.recv_json()
    for n, value in enumerate(data, 1):
        assert client.recv_text() == '{"type":"message","topic":"h:t","data":%s,"offset":%d}' % (value, n)
    client.say('{"type":"history","topic":"h:t"}')
    got = client.recv_text()
    for n, value in enumerate(data, 1):
        assert '{"offset":%d,"data":%s}' % (n, value) in got, value[:100]


def test_a_client_that_is_ahead_of_the_node_it_comes_to_is_recovered(start_nodes, redis, wire):
    """What it has got elsewhere is on its way to that node only."""
    way = wire(redis)
    near, = start_nodes(1, redis, rules=DEEP)
    far, = start_nodes(1, redis.url(port=way.port), rules=DEEP)
    for topic in ("h:t", "t"):
        keeper, publisher, client = far.client2(), near.client2(), near.client2()
        epoch = keeper.subscribe(topic)["epoch"]
        client.subscribe(topic)
        for n in range(1, 4):
            publisher.publish_acked(topic, n)
            keeper.expect_message(topic, n, n)
        way.hold()
        for n in range(4, 7):
            publisher.publish_acked(topic, n)
        for n in range(1, 7):
            client.expect_message(topic, n, n)
        late = far.client2()
        number = late.tell("subscribe", topic=topic, since=since(epoch, 6))
        # So that it has come there before the messages do.
        assert far.client2().ask("ping")["type"] == "pong"
        way.let_go()
        got = late.recv_json()
        assert (got["id"], got["type"], got["recovered"]) == (number, "ack_subscribe", True), got
        for n in range(4, 7):
            keeper.expect_message(topic, n, n)
        if topic == "t":  # without a history, what comes before the node has come so far is a gap
            # It is sent at the end of a turn in which 6 was delivered.
            assert late.ask("ping")["type"] == "pong"
        publisher.publish_acked(topic, 7)
        late.expect_message(topic, 7, 7)
        keeper.expect_message(topic, 7, 7)


# --- large ones -----------------------------------------------------------------------------------

def test_a_large_replay_on_another_node_comes_whole_while_others_publish(start_nodes, redis):
    """More than is given in one piece, of a history that the node has never seen."""
    nodes = start_nodes(2, redis, rules=DEEP)
    total, live = many(8000), many(1000)
    filler = "x" * 400
    with nodes[0].client2() as writer:
        writer.send(burst(publish_text("h:t", '[%d,"%s"]' % (n, filler)) for n in range(1, total + 1)))
        epoch = writer.history("h:t", limit=1)["epoch"]
    reader, writer = nodes[1].client2(), nodes[0].client2()
    reader.tell("subscribe", topic="h:t", since=since(epoch, 0))
    sending = within(writer.send, burst(publish_text("h:t", '[%d,"live"]' % n)
                                        for n in range(total + 1, total + live + 1)))
    got = reader.recv_json()
    assert got["type"] == "ack_subscribe" and got["recovered"] is True
    for n in range(1, total + live + 1):
        got = reader.recv_json()
        assert (got["type"], got["offset"], got["data"][0]) == ("message", n, n), str(got)[:200]
    sending.result()
    reader.fence()


# --- large ones, while Redis is not to be asked for a moment ---------------------------------------

# More than what is between a node and a client that does not read: it is in the midst of it.
LARGE = 15_000


@pytest.fixture
def begin_large(start_nodes, redis):
    """A client of a node at `url` that has been told that all comes, and has not read much of it."""
    def begin(url):
        near, = start_nodes(1, redis, rules=DEEP)
        far, = start_nodes(1, url, rules=DEEP)
        filler = "x" * 1500
        with near.client2() as writer:
            writer.send(burst(publish_text("h:t", '[%d,"%s"]' % (n, filler)) for n in range(1, LARGE + 1)))
            epoch = writer.history("h:t", limit=1)["epoch"]
        client = far.client2()
        got = client.subscribe("h:t", since=since(epoch, 0))
        assert (got["recovered"], got["offset"]) == (True, LARGE)
        expect_large(client, 1, 200)
        return near, far, client
    return begin


def expect_large(client, first, last):
    for n in range(first, last + 1):
        got = client.recv_json()
        assert (got["type"], got.get("offset")) == ("message", n), (n, str(got)[:200])
        assert got["data"][0] == n


# Broken (a gap of all the rest) by what takes a break for an answer.
@pytest.mark.parametrize("how", ["links", "scripts"])
def test_a_large_replay_comes_whole_though_what_it_takes_goes_amid_it(begin_large, redis, how):
    near, _, client = begin_large(redis.url())
    at = 200
    for _ in range(4):
        if how == "links":
            eventually(redis.cut_all, "a connection to cut")
        else:
            redis.do("SCRIPT", "FLUSH")
        expect_large(client, at + 1, at + 3000)
        at += 3000
    expect_large(client, at + 1, LARGE)
    wait_ready(near)
    with near.client2() as writer:
        writer.publish_acked("h:t", LARGE + 1)
    client.expect_message("h:t", LARGE + 1, LARGE + 1)
    client.fence()


def test_a_large_replay_waits_for_as_long_as_redis_is_away(begin_large, redis, wire):
    way = wire(redis)
    _, far, client = begin_large(redis.url(port=way.port))
    way.unplug()
    wait_away(far)
    at, quiet = 200, 0
    while quiet < 50:
        before, _ = client.ask_among("ping")
        for got in before:
            at += 1
            assert (got["type"], got.get("offset")) == ("message", at), str(got)[:200]
        quiet = 0 if before else quiet + 1
    assert at < LARGE
    way.plug()
    expect_large(client, at + 1, LARGE)
    wait_ready(far)
    client.fence()


def test_who_waits_for_redis_amid_a_large_replay_does_not_hold_a_node_up(begin_large, redis, wire):
    way = wire(redis)
    _, far, client = begin_large(redis.url(port=way.port))
    way.unplug()
    wait_away(far)
    quiet = 0
    while quiet < 50:
        quiet = 0 if client.ask_among("ping")[0] else quiet + 1
    assert far.stop() == 0


def test_many_topics_recover_on_another_node_at_once(start_nodes, redis):
    nodes = start_nodes(2, redis, rules=DEEP)
    topics = [f"h:{n}" for n in range(many(200))]
    with nodes[0].client2() as writer:
        writer.send(burst(publish_text(topic, str(n)) for n in range(1, 21) for topic in topics))
        epochs = {topic: writer.history(topic, limit=1)["epoch"] for topic in topics}
    reader = nodes[1].client2()
    for n, topic in enumerate(topics):
        reader.tell("subscribe", topic=topic, since=since(epochs[topic], n % 21))
    # Answers come in order; replays come behind them, and not always before the next topic's answer.
    acked, at = [], {}
    while len(acked) < len(topics) or any(offset < 20 for offset in at.values()):
        got = reader.recv_json()
        topic = got["topic"]
        if got["type"] == "ack_subscribe":
            assert (topic, got["recovered"], got["offset"]) == (topics[len(acked)], True, 20), got
            at[topic] = len(acked) % 21
            acked.append(topic)
        else:
            at[topic] += 1
            reader.check_message(got, topic, at[topic])
            assert got["data"] == at[topic]
    reader.fence()


# --- under load -----------------------------------------------------------------------------------

def test_clients_cut_at_any_moment_recover_on_whichever_node_they_land(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b", "h:c"])
    rng = random.Random(7)
    for _ in range(many(60)):
        load.run(rng.randrange(4, 24))
        for one in rng.sample(load.followers, 3):
            one.cut()
    load.end()
    assert sum(one.recovered for one in load.followers) >= many(60)


def test_publishers_that_are_cut_too_publish_nothing_twice(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b"], followers=3)
    rng = random.Random(8)
    for _ in range(many(30)):
        load.run(rng.randrange(4, 24))
        rng.choice(load.publishers).cut()
        rng.choice(load.followers).cut()
    load.end()


def test_nodes_are_killed_under_load_and_nothing_is_lost(start_nodes, redis):
    """kill -9, one after the other, until none of the first ones is left."""
    nodes = start_nodes(3, redis, rules=DEEP)
    load = Load(nodes, ["h:a", "h:b", "h:c"])
    for _ in range(3):
        load.run(100)
        old, nodes = nodes[0], nodes[1:]
        kill_node(old)
        load.set_nodes(nodes)
        load.run(50)
        nodes = nodes + start_nodes(1, redis, rules=DEEP)
        load.set_nodes(nodes)
    load.run(50)
    load.end()
    assert all(one.connections > 1 for one in load.followers)


def test_nodes_are_ended_and_started_under_load_and_nothing_is_lost(start_nodes, redis):
    nodes = start_nodes(3, redis, rules=DEEP, drain_seconds="1s")
    load = Load(nodes, ["h:a", "h:b", "h:c"])
    for _ in range(3):
        load.run(60)
        old, nodes = nodes[0], nodes[1:] + start_nodes(1, redis, rules=DEEP, drain_seconds="1s")
        load.set_nodes(nodes)
        assert old.stop() == 0
    load.run(60)
    load.end()


def test_events_are_recovered_on_another_node(start_nodes, redis):
    """Server-sent events, by Last-Event-ID."""
    nodes = start_nodes(2, redis, rules=DEEP)
    epoch = fill(nodes[0], "h:t", range(1, 11))
    conn = nodes[1].raw()
    conn.send(("GET /sse?topic=h%%3At HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %s:4\r\n\r\n" % epoch).encode())
    assert conn.response().status == 200
    seen = []
    while True:
        text = bytes(conn.buffer)
        seen = [json.loads(line[5:])["data"] for line in text.decode("utf-8", "ignore").split("\n")
                if line.startswith("data:") and '"type":"message"' in line and line.endswith("}")]
        if len(seen) >= 6:
            break
        conn._fill()
    assert seen == list(range(5, 11)) and b'"recovered":true' in text
